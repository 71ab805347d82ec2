"""Providers and endpoints of a profile, those that are written and those that tiers and models imply.

A tier or model that names a provider is served by the provider's endpoints as written; when none is written, by one at
the tier's `base_url` or the provider's own address. Tiers with the same provider and address share it.
"""

import re
from collections.abc import Mapping

import msgspec

from ostler.config.draft import Draft
from ostler.config.ladder import TIERS
from ostler.config.mistakes import SettingPath
from ostler.config.models import SOURCES, Models, model_reference, model_references, tier_model_names
from ostler.config.providers import (
    Provider,
    endpoint_name,
    endpoint_spec,
    known_providers,
    normal_url,
    same_server,
    split_url,
)
from ostler.config.schema import EndpointSection, ProviderSection
from ostler.domain.catalog import EndpointKind, EndpointSpec, Reach
from ostler.domain.errors import nearest

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_providers(draft: Draft) -> dict[str, Provider]:
    """Known and declared providers by name. Reports declarations that say too little or a bad address."""
    providers = known_providers()
    for name, section in draft.file.providers.items():
        path = ("providers", name)
        known = providers.get(name)
        kind = section.kind or (known.kind if known else None)
        if kind is None:
            if not draft.mistakes.is_damaged(path):
                choices = ", ".join(EndpointKind)
                draft.mistakes.add(path, "it is not known which protocol it speaks", f"add `kind:` ({choices})")
            kind = EndpointKind.OPENAI
        providers[name] = _provider(name, kind, section, known)
        _check_url(draft, section.base_url, (*path, "base_url"))
        _check_variable(draft, section.api_key_env, (*path, "api_key_env"))
    return {**providers, **_introduced(draft, providers)}


def _introduced(draft: Draft, providers: Mapping[str, Provider]) -> dict[str, Provider]:
    """Providers that an endpoint introduces by saying kind and address itself. A slip of a known name is none."""
    found: dict[str, Provider] = {}
    for section in draft.file.endpoints.values():
        name, kind, url = section.provider, section.kind, section.url
        if name is None or kind is None or url is None or name in providers:
            continue
        if not nearest(name, providers).startswith("did you mean"):
            found[name] = Provider(name=name, kind=kind, base_url=url, local=kind is EndpointKind.OLLAMA)
    return found


def _provider(name: str, kind: EndpointKind, section: ProviderSection, known: Provider | None) -> Provider:
    base = known or Provider(name=name, kind=kind, local=kind is EndpointKind.OLLAMA)
    return Provider(
        name=name,
        kind=kind,
        base_url=section.base_url or base.base_url,
        api_key_env=section.api_key_env or base.api_key_env,
        local=base.local if section.local is None else section.local,
        local_is_stated=section.local is not None,
        key_host=None if section.api_key_env is not None else base.key_host,
        slots=section.slots,
    )


def read_endpoints(draft: Draft, providers: Mapping[str, Provider], models: Models) -> dict[str, EndpointSpec]:
    """All endpoints by name. Reports unknown providers, bad addresses, and one server given as two endpoints.

    One server with two keys is two endpoints: its limits are those of the accounts.
    """
    endpoints: dict[str, EndpointSpec] = {}
    servers: dict[tuple[str, str | None], str] = {}
    for name, section in draft.file.endpoints.items():
        spec = _explicit(draft, providers, models, name, section)
        if spec is None:
            continue
        # The loopback address of each machine is another server.
        place = f"{spec.host} " if spec.reached_by is Reach.WORKER else ""
        other = servers.setdefault((place + same_server(spec.url), spec.api_key_env), name)
        if other != name:
            what = f"is the same server as endpoint '{other}': its slots would count twice"
            draft.mistakes.add(("endpoints", name, "url"), what, "keep one of the two")
        endpoints[name] = spec
    for name, spec in _implied(draft, providers, models, endpoints).items():
        endpoints.setdefault(name, spec)
    return endpoints


def _explicit(
    draft: Draft, providers: Mapping[str, Provider], models: Models, name: str, section: EndpointSection
) -> EndpointSpec | None:
    path = ("endpoints", name)
    wanted = section.provider or section.kind
    if wanted is None:
        if not draft.mistakes.is_damaged(path):
            draft.mistakes.add(path, "it is not known what serves there", f"add `provider:` ({', '.join(providers)})")
        return None
    provider = provider_reference(draft, providers, wanted, (*path, "provider"))
    if provider is None:
        return None
    url = section.url or provider.base_url
    if url is None:
        if not draft.mistakes.is_damaged(path, ("providers", provider.name)):
            draft.mistakes.add(path, "has no address", "add `url: http://host:port`")
        return None
    if not _check_url(draft, section.url, (*path, "url")) or split_url(url) is None:
        return None
    _check_variable(draft, section.api_key_env, (*path, "api_key_env"))
    spec = _spec(draft, name, provider, url)
    if section.host != spec.host:
        _check_host(draft, section.host, (*path, "host"))
    per_model = {
        model: slots
        for raw, slots in section.slots_per_model.items()
        if (model := model_reference(draft, models, raw, (*path, "slots_per_model", raw))) is not None
    }
    return msgspec.structs.replace(
        spec,
        kind=section.kind or spec.kind,
        host=section.host or spec.host,
        local=spec.local if section.local is None else section.local,
        slots=section.slots or spec.slots,
        slots_per_model=per_model,
        models=model_references(draft, models, section.models, (*path, "models")),
        api_key_env=section.api_key_env or spec.api_key_env,
        enabled=section.enabled,
        reached_by=section.reached_by,
    )


def _spec(draft: Draft, name: str, provider: Provider, url: str) -> EndpointSpec:
    """An endpoint as its provider makes it, with the origins of what nobody wrote."""
    path = ("endpoints", name)
    for key in ("kind", "base_url", "api_key_env", "local", "slots"):
        target = "url" if key == "base_url" else key
        draft.note_as((*path, target), ("providers", provider.name, key), f"provider {provider.name}")
    draft.note((*path, "host"), "the host of its url")
    draft.note((*path, "provider"), "the name of its kind")
    return endpoint_spec(name, provider, url)


def _implied(
    draft: Draft, providers: Mapping[str, Provider], models: Models, written: Mapping[str, EndpointSpec]
) -> dict[str, EndpointSpec]:
    implied: dict[str, EndpointSpec] = {}
    for provider_name, base_url, names, path in _wishes(draft, models):
        provider = providers.get(provider_name)
        url = base_url or (provider.base_url if provider else None)
        if provider is None or not _check_url(draft, base_url, (*path, "base_url")):
            continue
        serving = [
            spec
            for spec in written.values()
            if spec.provider == provider.name and (base_url is None or same_server(spec.url) == same_server(base_url))
        ]
        if serving:
            _check_listed(draft, names, serving, path)
            continue
        if url is None:
            if not draft.mistakes.is_damaged(path, ("providers", provider.name)):
                what = f"provider '{provider.name}' has no address"
                draft.mistakes.add(path, what, f"add `base_url` under providers.{provider.name}, or an endpoint")
            continue
        name = endpoint_name(provider.name, normal_url(url))
        origin = f"implied by {'.'.join(path)} ({draft.mistakes.place_of(path)})"
        for key in ("name", "provider", "models", "url") if base_url else ("name", "provider", "models"):
            draft.note(("endpoints", name, key), origin)
        spec = implied.get(name) or _spec(draft, name, provider, url)
        listed = () if spec.local else tuple(dict.fromkeys((*spec.models, *names)))
        implied[name] = msgspec.structs.replace(spec, models=listed)
    return implied


def _wishes(draft: Draft, models: Models) -> list[tuple[str, str | None, tuple[str, ...], SettingPath]]:
    """(provider, address, models, setting) of every tier and model that names a provider and is not disabled."""
    wishes: list[tuple[str, str | None, tuple[str, ...], SettingPath]] = []
    idle: set[str] = set()
    used: set[str] = set()
    for tier, section in draft.file.routing.tiers.items():
        names = tuple(models.names[name] for name in tier_model_names(section) if name in models.names)
        (used if section.enabled else idle).update(names)
        if section.provider is not None and section.enabled:
            wishes.append((section.provider, section.base_url, names, (*TIERS, tier)))
    wishes.extend(
        (provider, None, (model,), ("models", model))
        for model, provider in models.providers.items()
        if model in used or model not in idle
    )
    return wishes


def provider_reference(
    draft: Draft, providers: Mapping[str, Provider], name: str, path: SettingPath
) -> Provider | None:
    """The provider a setting names. Reports an unknown one."""
    provider = providers.get(name)
    if provider is None and not draft.mistakes.may_lack(("providers",)):
        remedy = nearest(name, providers)
        draft.mistakes.add(path, f"there is no provider '{name}'", f"{remedy} or declare it under `providers`")
    return provider


def _check_listed(draft: Draft, names: tuple[str, ...], serving: list[EndpointSpec], path: SettingPath) -> None:
    for model in names:
        listed = any(not spec.models or model in spec.models for spec in serving)
        if not listed and not draft.mistakes.may_lack(*SOURCES):
            endpoints = ", ".join(spec.name for spec in serving)
            what = f"'{model}' is not among the models of {endpoints}"
            draft.mistakes.add(path, what, f"add it to endpoints.{serving[0].name}.models")


def _check_url(draft: Draft, url: str | None, path: SettingPath) -> bool:
    if url is None:
        return True
    parts = split_url(url)
    if "@" in url:
        draft.mistakes.add(path, "an address must not hold a name or password", "use api_key_env")
    elif parts is None:
        draft.mistakes.add(path, f"'{url}' is no address", "write http://host:port or https://host")
    return parts is not None and "@" not in url


def _check_variable(draft: Draft, name: str | None, path: SettingPath) -> None:
    """The value is not repeated: what is no name of a variable here is often the key itself."""
    if name is not None and not _VARIABLE_NAME.fullmatch(name):
        what = "this is no name of an environment variable"
        draft.mistakes.add(path, what, "put the key into a variable and write the name of that variable")


def _check_host(draft: Draft, host: str | None, path: SettingPath) -> None:
    hosts = draft.file.hosts
    if host is not None and hosts and host not in hosts and not draft.mistakes.may_lack(("hosts",)):
        draft.mistakes.add(path, f"there is no host '{host}'", nearest(host, hosts))
