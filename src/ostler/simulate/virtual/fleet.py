"""From a profile to simulated machines and clouds: hosts with memory, endpoints with slots, models with sizes.

A machine is a host; all local endpoints of it share its memory. A model has one size, that of the profile, which counts
its context and its slots, and is loaded with one context: what a policy says of windows never makes the machine reload.
A load may use all memory that is free (Ollama itself keeps a fifth back, for estimates that are off; the profile's
sizes count as true here).
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import Policy
from ostler.simulate.spec import (
    BYTES_PER_GIB,
    SimulatedCloudModelSpec,
    SimulatedCloudSpec,
    SimulatedHostSpec,
    SimulatedModelSpec,
)

KEEP_ALIVE_S = 300.0
"""How long an idle model stays in memory: Ollama's default."""
QUEUE_MAX = 10_000_000
"""A machine turns nobody away: the rivals get all the patience there is."""
SPARE_BYTES = BYTES_PER_GIB
CLOUD_CALLS = 100
"""Calls a provider lets in at once."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated machines by host, simulated providers by endpoint, and what each endpoint serves."""

    name: str
    policy: Policy
    """The profile that it was made from: models with their speeds, endpoints, hosts."""
    machines: Mapping[str, SimulatedHostSpec]
    providers: Mapping[str, SimulatedCloudSpec]
    offers: Mapping[str, tuple[str, ...]]
    """Endpoint -> models it serves, sorted."""

    def endpoint(self, name: str) -> EndpointSpec:
        """The endpoint of that name."""
        return self.policy.catalog.endpoints[name]

    def slots(self, endpoint: str, model: str) -> int:
        """Calls of a model that an endpoint works on at once."""
        spec = self.endpoint(endpoint)
        return min(spec.slots, spec.slots_per_model.get(model, spec.slots))

    def serving(self, model: str) -> tuple[str, ...]:
        """Endpoints that serve a model, by name."""
        return tuple(name for name in sorted(self.offers) if model in self.offers[name])


def fleet_of(policy: Policy, *, name: str = "", keep_alive_s: float = KEEP_ALIVE_S) -> Fleet:
    """The simulated fleet of a profile. Raises `InvalidInputError` for what the profile leaves open."""
    catalog = policy.catalog
    offers = {
        spec.name: tuple(sorted(_offer(spec, catalog)))
        for spec in catalog.endpoints.values()
        if spec.enabled and _offer(spec, catalog)
    }
    if not offers:
        remedy = "declare endpoints with models, and hosts with memory (docs/how-to/what-if.md)"
        raise InvalidInputError("the profile has no endpoint to simulate", where=name or policy.profile, remedy=remedy)
    by_host: dict[str, list[EndpointSpec]] = {}
    for endpoint in sorted(offers):
        spec = catalog.endpoints[endpoint]
        if spec.local:
            by_host.setdefault(spec.host, []).append(spec)
    return Fleet(
        name=name or policy.profile,
        policy=policy,
        machines={
            host: _machine(host, specs, offers, catalog, keep_alive_s) for host, specs in sorted(by_host.items())
        },
        providers={
            endpoint: _provider(catalog.endpoints[endpoint], offers[endpoint])
            for endpoint in sorted(offers)
            if not catalog.endpoints[endpoint].local
        },
        offers=offers,
    )


def on_fleet(policy: Policy, fleet: Fleet) -> Policy:
    """A policy moved onto a fleet: ladder, rules, names and windows stay; endpoints, hosts, speeds are the fleet's."""
    ours, theirs = policy.catalog, fleet.policy.catalog
    models = dict(theirs.models)
    for name, model in ours.models.items():
        there = theirs.models.get(name)
        if there is not None:
            model = msgspec.structs.replace(  # noqa: PLW2901 -- the same model, as large and fast as it is there
                model, memory_bytes=there.memory_bytes, speeds=there.speeds
            )
        models[name] = model
    catalog = msgspec.structs.replace(ours, models=models, endpoints=theirs.endpoints, hosts=theirs.hosts)
    return msgspec.structs.replace(policy, catalog=catalog)


def _offer(spec: EndpointSpec, catalog: Catalog) -> frozenset[str]:
    """What an endpoint serves: as declared; a local one without a declaration serves every local model."""
    if spec.models:
        return frozenset(spec.models)
    if not spec.local:
        return frozenset()
    remote = {model for other in catalog.endpoints.values() if not other.local for model in other.models}
    tiers = {model for tier in catalog.tiers if tier.cost in (CostClass.LOCAL, CostClass.FREE) for model in tier.models}
    sized = {name for name, model in catalog.models.items() if model.memory_bytes is not None}
    return frozenset((tiers | sized) - remote)


def _machine(
    host: str, specs: list[EndpointSpec], offers: Mapping[str, tuple[str, ...]], catalog: Catalog, keep_alive_s: float
) -> SimulatedHostSpec:
    slots: dict[str, int] = {}
    for spec in specs:
        for model in offers[spec.name]:
            own = min(spec.slots, spec.slots_per_model.get(model, spec.slots))
            slots[model] = max(slots.get(model, 0), own)
    declared = catalog.hosts.get(host)
    memory_bytes = declared.memory_bytes if declared is not None else None
    limit = declared.max_resident_models if declared is not None else None
    models = tuple(
        _model(catalog.models.get(name) or ModelSpec(name=name), slots[name], host, sized=memory_bytes is not None)
        for name in sorted(slots)
    )
    if memory_bytes is None:
        memory_bytes = sum(model.weights_bytes for model in models) + SPARE_BYTES
    reserve_bytes = declared.reserve_bytes if declared is not None else 0
    return SimulatedHostSpec(
        name=host,
        memory_gib=memory_bytes / BYTES_PER_GIB,
        reserve_gib=reserve_bytes / BYTES_PER_GIB,
        models=models,
        max_loaded=limit or len(models),
        max_queue=QUEUE_MAX,
        keep_alive_s=keep_alive_s,
        fit_percent=100,
    )


def _model(spec: ModelSpec, slots: int, host: str, *, sized: bool) -> SimulatedModelSpec:
    if spec.memory_bytes is None and sized:
        what = f"it is not known what model '{spec.name}' takes of the memory of host {host}"
        remedy = "say it in the profile, such as `memory: 20GB`: weights, context and slots together"
        raise InvalidInputError(what, where=f"models.{spec.name}.memory", remedy=remedy)
    context = spec.context_tokens or 4096
    speeds = spec.speeds
    return SimulatedModelSpec(
        name=spec.name,
        weights_gib=(spec.memory_bytes or 1) / BYTES_PER_GIB,
        context_length=context,
        num_ctx=context,
        kv_bytes_per_token=0,
        load_s=speeds.load_s,
        unload_s=speeds.unload_s,
        slots=slots,
    )


def _provider(spec: EndpointSpec, models: tuple[str, ...]) -> SimulatedCloudSpec:
    return SimulatedCloudSpec(
        name=spec.name,
        models=tuple(
            SimulatedCloudModelSpec(name=name, api="anthropic" if spec.kind is EndpointKind.ANTHROPIC else "openai")
            for name in models
        ),
        concurrency=max(CLOUD_CALLS, spec.slots),
    )
