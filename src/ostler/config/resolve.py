"""Draft -> catalogue: tiers, models, endpoints and hosts with every reference resolved and every default filled in."""

from collections.abc import Mapping

import msgspec

from ostler.config.draft import Draft
from ostler.config.ladder import TIERS, Ladder, read_ladder
from ostler.config.mistakes import SettingPath
from ostler.config.models import Models, model_references, read_models, tier_model_names
from ostler.config.providers import Provider
from ostler.config.schema import ContextSize, TierSection
from ostler.config.supply import provider_reference, read_endpoints, read_providers
from ostler.config.units import size_text
from ostler.config.vocabulary import CONTEXT_SIZES
from ostler.domain.catalog import DIRECT, Catalog, CostClass, EndpointSpec, HostSpec, TierSpec


def resolve_catalog(draft: Draft) -> tuple[Catalog, Ladder]:
    """The catalogue of a draft; it is valid if no mistake was reported."""
    ladder = read_ladder(draft)
    providers = read_providers(draft)
    models = read_models(draft, ladder)
    for model, provider in models.providers.items():
        provider_reference(draft, providers, provider, ("models", model, "provider"))
    endpoints = read_endpoints(draft, providers, models)
    direct = draft.file.routing.tiers.get(DIRECT, TierSection())
    tiers = [TierSpec(name=DIRECT, rank=0, aliases=direct.aliases, cost=CostClass.FREE)]
    tiers.extend(_tier(draft, ladder, providers, models, name) for name in ladder.order)
    tiers = [_priced(draft, tier, models, endpoints) for tier in tiers]
    catalog = Catalog(
        tiers=tuple(tiers),
        models=models.specs,
        endpoints=endpoints,
        hosts=_hosts(draft, models),
        model_aliases={name: model for name, model in models.names.items() if name != model},
        tier_aliases={name: tier for name, tier in ladder.names.items() if name != tier},
    )
    return catalog, ladder


def _tier(draft: Draft, ladder: Ladder, providers: Mapping[str, Provider], models: Models, name: str) -> TierSpec:
    section = draft.file.routing.tiers[name]
    path = (*TIERS, name)
    _check_tier(draft, section, path)
    filters = (section.provider,) if section.provider is not None else section.providers
    for provider in filters:
        provider_reference(draft, providers, provider, (*path, "provider" if section.provider else "providers"))
    written = (*path, "models" if section.model is None else "model")
    found = model_references(draft, models, tier_model_names(section), written)
    for model in found:
        own = models.providers.get(model)
        if filters and own is not None and own not in filters:
            what = f"model '{model}' belongs to provider '{own}', the tier takes {', '.join(filters)} only"
            draft.mistakes.add(written, what, "change one of the two")
    draft.note_as((*path, "models"), written)
    draft.note_as((*path, "providers"), (*path, "provider"))
    draft.note((*path, "rank"), "the order of the tiers")
    return TierSpec(
        name=name,
        rank=ladder.rank(name),
        aliases=section.aliases,
        models=found,
        cost=section.cost or CostClass.LOCAL,
        choose=section.choose,
        providers=filters,
        context_tokens=_context_tokens(draft, ladder, name),
        max_output_tokens=section.max_output_tokens,
        max_iterations=section.max_iterations,
        enabled=section.enabled,
    )


def _check_tier(draft: Draft, section: TierSection, path: SettingPath) -> None:
    if section.model is not None and section.models:
        draft.mistakes.add((*path, "models"), "`model` and `models` are two ways to say one thing", "keep one of them")
    if section.provider is not None and section.providers:
        what = "`provider` and `providers` are two ways to say one thing"
        draft.mistakes.add((*path, "providers"), what, "keep one of them")
    if section.base_url is not None and section.provider is None and not draft.mistakes.is_damaged(path):
        what = "it is not known what serves there"
        draft.mistakes.add((*path, "base_url"), what, "add `provider:` to this tier, or describe an endpoint")
    if not tier_model_names(section) and not draft.mistakes.is_damaged(path):
        draft.mistakes.add(path, f"tier '{path[-1]}' has no models", "add `model:` or `models:`, or remove the tier")


def _context_tokens(draft: Draft, ladder: Ladder, name: str) -> int | None:
    """Prompt budget of a tier: as written, else what the tier's classic name stands for."""
    value = draft.file.routing.tiers[name].context_tokens
    path = (*TIERS, name, "context")
    if isinstance(value, int):
        return value
    if value is None:
        meant = {word: size for word, size in CONTEXT_SIZES.items() if ladder.names.get(word) == name}
        if not meant:
            return None
        word, value = max(meant.items(), key=lambda pair: list(ContextSize).index(pair[1]))
        draft.note(path, f"context.budget.{value}, as for '{word}'")
    budget = draft.file.context.budget
    return {
        ContextSize.SMALL: budget.small_tokens,
        ContextSize.MODERATE: budget.moderate_tokens,
        ContextSize.LARGE: budget.large_tokens,
    }[value]


def _priced(draft: Draft, tier: TierSpec, models: Models, endpoints: Mapping[str, EndpointSpec]) -> TierSpec:
    """The tier with its cost class: as written, else `metered` as soon as one of its models may run in a cloud."""
    path = (*TIERS, tier.name, "cost")
    if tier.name == DIRECT or draft.is_written(*path):
        return tier
    serving = [
        spec for model in tier.models for spec in endpoints.values() if _may_serve(spec, model, models, tier.providers)
    ]
    draft.note(path, "where its endpoints are")
    cost = CostClass.LOCAL if all(spec.local for spec in serving) else CostClass.METERED
    return msgspec.structs.replace(tier, cost=cost)


def _may_serve(spec: EndpointSpec, model: str, models: Models, filters: tuple[str, ...]) -> bool:
    own = models.providers.get(model)
    wanted = filters or ((own,) if own is not None else ())
    return (not wanted or spec.provider in wanted) and (not spec.models or model in spec.models)


def _hosts(draft: Draft, models: Models) -> dict[str, HostSpec]:
    hosts: dict[str, HostSpec] = {}
    for name, section in draft.file.hosts.items():
        path = ("hosts", name)
        host = HostSpec(
            name=name,
            memory_bytes=section.memory_bytes,
            reserve_bytes=section.reserve_bytes,
            max_resident_models=section.max_resident_models,
            pinned=model_references(draft, models, section.pinned, (*path, "pinned")),
            preload=model_references(draft, models, section.preload, (*path, "preload")),
        )
        _check_host(draft, host, models)
        hosts[name] = host
    return hosts


def _check_host(draft: Draft, host: HostSpec, models: Models) -> None:
    path = ("hosts", host.name)
    for key, names in (("pinned", host.pinned), ("preload", host.preload)):
        if host.max_resident_models is not None and len(names) > host.max_resident_models:
            what = f"{len(names)} models, but only {host.max_resident_models} may be resident"
            draft.mistakes.add((*path, key), what, "raise max_resident_models or shorten the list")
    if host.memory_bytes is None:
        return
    free = host.memory_bytes - host.reserve_bytes
    if free <= 0:
        what = f"the reserve leaves nothing of {size_text(host.memory_bytes)}"
        draft.mistakes.add((*path, "reserve"), what, "make it smaller than the memory")
        return
    for key, names in (("pinned", host.pinned), ("preload", host.preload)):
        needed = sum(models.specs[name].memory_bytes or 0 for name in names)
        if needed > free:
            what = f"these models need {size_text(needed)} together, the host has {size_text(free)} for models"
            draft.mistakes.add((*path, key), what, "shorten the list")
