"""A ladder fitted to what was found on this machine and network, for people who start without a profile. Pure.

1. Endpoints: those that answered, and the clouds whose key is there.
2. Local tiers get the local models by size: the first tier small ones, the others strong ones. Where one kind is
   missing, the nearest of the other kind stands in, so that every local tier works as soon as one model is there.
3. Cloud tiers keep the models that an endpoint serves; a tier without models is disabled.
4. Work that would go to a disabled tier with nothing enabled above it goes to the highest enabled tier.

Everything it does is said in `lines`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from ostler.config.providers import Provider, endpoint_name, endpoint_spec, known_providers, normal_url
from ostler.config.settings import LoadedProfile, policy_version
from ostler.config.show import effective_settings
from ostler.config.sizes import STRONG_BILLIONS, FoundModel, is_embedding, runs_in_cloud, size_billions
from ostler.domain.catalog import (
    DIRECT,
    Catalog,
    CostClass,
    EndpointKind,
    EndpointSpec,
    ModelSpec,
    TierSpec,
    normal_model,
)
from ostler.domain.policy import RoutingPolicy

DISCOVERED = "found on this machine"


class FoundEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that answered its listing."""

    provider: str
    url: str
    models: tuple[FoundModel, ...] = ()
    slots: int | None = None
    host: str | None = None
    """What the worker on its machine calls that machine; `None` = the host of the address."""


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """The fitted profile and what was done, one plain sentence a line."""

    profile: LoadedProfile
    lines: tuple[str, ...]


def profile_with_endpoints(base: LoadedProfile, found: Sequence[FoundEndpoint], keys: Collection[str]) -> Fitted:
    """`base` fitted to the endpoints found and the names of the environment variables in `keys` that hold a key."""
    lines: list[str] = []
    catalog = base.policy.catalog
    endpoints = {**_answering(found, lines), **_clouds(catalog, keys)}
    local = _local_models(found, endpoints, lines)
    models = _model_specs(catalog, endpoints, local)
    tiers = _tiers(catalog, endpoints, local, keys, lines)
    routing = _rerouted(base.policy.routing, tiers, lines)
    fitted = msgspec.structs.replace(
        catalog,
        tiers=tiers,
        models=models,
        endpoints=endpoints,
        model_aliases={alias: model for alias, model in catalog.model_aliases.items() if model in models},
    )
    policy = msgspec.structs.replace(base.policy, catalog=fitted, routing=routing)
    policy = msgspec.structs.replace(policy, version=policy_version(policy))
    profile = msgspec.structs.replace(base, policy=policy)
    return Fitted(profile=msgspec.structs.replace(profile, origins=_origins(base, profile)), lines=tuple(lines))


def _answering(found: Sequence[FoundEndpoint], lines: list[str]) -> dict[str, EndpointSpec]:
    providers = known_providers()
    endpoints: dict[str, EndpointSpec] = {}
    for item in found:
        provider = providers.get(item.provider) or Provider(name=item.provider, kind=EndpointKind.OPENAI)
        name = endpoint_name(item.provider, normal_url(item.url))
        spec = endpoint_spec(name, provider, item.url)
        endpoints[name] = msgspec.structs.replace(spec, slots=item.slots or spec.slots, host=item.host or spec.host)
        count = f"{len(item.models)} model{'' if len(item.models) == 1 else 's'}"
        lines.append(f"{item.provider} at {spec.url} answers with {count}")
    return endpoints


def _clouds(catalog: Catalog, keys: Collection[str]) -> dict[str, EndpointSpec]:
    return {
        name: spec
        for name, spec in catalog.endpoints.items()
        if not spec.local and (spec.api_key_env is None or spec.api_key_env in keys)
    }


def _local_models(
    found: Sequence[FoundEndpoint], endpoints: Mapping[str, EndpointSpec], lines: list[str]
) -> list[FoundModel]:
    """Models that can chat and stay on the user's machines, the largest first, each once."""
    usable: dict[str, FoundModel] = {}
    for item in found:
        name = endpoint_name(item.provider, normal_url(item.url))
        for model in item.models:
            if not endpoints[name].local or runs_in_cloud(model):
                lines.append(f"{model.name} is left out: it does not run on your machines")
            elif is_embedding(model):
                lines.append(f"{model.name} is left out: it makes embeddings")
            else:
                usable.setdefault(normal_model(model.name), model)
    return sorted(usable.values(), key=lambda model: (-(size_billions(model) or 0.0), model.name))


def _model_specs(
    catalog: Catalog, endpoints: Mapping[str, EndpointSpec], local: Iterable[FoundModel]
) -> dict[str, ModelSpec]:
    served = {model for spec in endpoints.values() for model in spec.models}
    specs = {name: spec for name, spec in catalog.models.items() if name in served}
    for model in local:
        name = normal_model(model.name)
        spec = catalog.models.get(name) or ModelSpec(name=name)
        specs[name] = msgspec.structs.replace(
            spec,
            context_tokens=spec.context_tokens or model.context_tokens,
            memory_bytes=spec.memory_bytes or model.size_bytes,
        )
    return specs


def _tiers(
    catalog: Catalog,
    endpoints: Mapping[str, EndpointSpec],
    local: Sequence[FoundModel],
    keys: Collection[str],
    lines: list[str],
) -> tuple[TierSpec, ...]:
    served = {model for spec in endpoints.values() for model in spec.models}
    small, strong = _by_size(local)
    cheapest = next((tier.name for tier in catalog.tiers if _is_local(tier)), "")
    tiers: list[TierSpec] = []
    for tier in catalog.tiers:
        if tier.name == DIRECT or not tier.enabled:
            tiers.append(tier)
            continue
        if _is_local(tier):
            models = small if tier.name == cheapest else strong
            providers: tuple[str, ...] = ()
            reason = "no local model was found"
        else:
            models = tuple(model for model in tier.models if model in served)
            providers = tier.providers
            reason = _missing_keys(catalog, tier, keys)
        lines.append(f"{tier.name}: {', '.join(models)}" if models else f"{tier.name} is disabled: {reason}")
        tiers.append(msgspec.structs.replace(tier, models=models, providers=providers, enabled=bool(models)))
    if not any(tier.enabled for tier in tiers if tier.name != DIRECT):
        lines.append("no model can be used: start Ollama, or set the key of a cloud; commands need no model")
    return tuple(tiers)


def _is_local(tier: TierSpec) -> bool:
    return tier.enabled and tier.cost is CostClass.LOCAL


def _by_size(local: Sequence[FoundModel]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(small, strong) names. Unknown sizes count as small; an empty kind gets the nearest of the other."""
    sizes = {normal_model(model.name): size_billions(model) or 0.0 for model in local}
    small = tuple(name for name, size in sizes.items() if size < STRONG_BILLIONS)
    strong = tuple(name for name, size in sizes.items() if size >= STRONG_BILLIONS)
    return small or strong[-1:], strong or small[:1]


def _missing_keys(catalog: Catalog, tier: TierSpec, keys: Collection[str]) -> str:
    names = sorted(
        {
            spec.api_key_env
            for spec in catalog.endpoints.values()
            if spec.api_key_env is not None and spec.api_key_env not in keys and set(spec.models) & set(tier.models)
        }
    )
    return f"set {' or '.join(names)} to use it" if names else "no endpoint serves its models"


def _rerouted(routing: RoutingPolicy, tiers: Sequence[TierSpec], lines: list[str]) -> RoutingPolicy:
    """The rules with every tier that cannot run, nor anything above it, replaced by the highest that can."""
    enabled = [tier for tier in tiers if tier.enabled and tier.name != DIRECT]
    if not enabled:
        return routing
    highest = enabled[-1]
    lost = {tier.name for tier in tiers if tier.rank > highest.rank}

    def rerouted(wishes: Mapping[str, str]) -> dict[str, str]:
        return {key: highest.name if tier in lost else tier for key, tier in wishes.items()}

    moved = [level for level, tier in routing.complexity_tiers.items() if tier in lost]
    moved += [kind for kind, tier in routing.type_minimums.items() if tier in lost]
    if moved:
        lines.append(f"{', '.join(moved)} work goes to {highest.name}: no higher tier can run")
    return msgspec.structs.replace(
        routing,
        complexity_tiers=rerouted(routing.complexity_tiers),
        type_minimums=rerouted(routing.type_minimums),
        task_overrides=rerouted(routing.task_overrides),
        unclassified_tier=highest.name if routing.unclassified_tier in lost else routing.unclassified_tier,
    )


def _origins(base: LoadedProfile, fitted: LoadedProfile) -> dict[str, str]:
    """Origins of the base where a value is still the base's."""
    before = {row.setting: (row.value, row.origin) for row in effective_settings(base)}
    origins: dict[str, str] = {}
    for row in effective_settings(fitted):
        value, origin = before.get(row.setting, ("", ""))
        origins[row.setting] = origin if value == row.value and origin else DISCOVERED
    return origins
