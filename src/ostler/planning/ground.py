"""The machines a plan may use, from what a profile declares. Pure.

A machine with endpoints of its own holds models in memory. An endpoint elsewhere is a cloud: a host without a memory
limit, whose models are always ready. Commands need no model: the workers that run them count as a cloud of their own,
whose only model is `command`.

What the profile does not say is filled in on the cautious side and told in `notes`: a model of unknown size takes the
whole memory of its host, and a machine of unknown memory holds all its models at once.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ostler.domain.catalog import Catalog, CostClass, EndpointSpec, HostSpec, ModelSpec
from ostler.planning.instance import PlanHost, Serving

WORKERS, COMMAND = "workers", "command"
"""The host of commands, and the one model it has."""
CLOUD_COSTS = (CostClass.METERED, CostClass.SUBSCRIPTION)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts of a plan, and what had to be assumed about them."""

    hosts: tuple[PlanHost, ...]
    notes: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = {}
    """Endpoint -> the host that stands for it here."""
    providers: Mapping[str, frozenset[str]] = {}
    """Host -> whose endpoints it has."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine to plan with instead of the declared ones."""

    name: str
    memory_bytes: int


def ground(
    catalog: Catalog,
    *,
    slots: Mapping[str, int],
    sizes: Mapping[str, int],
    resident: Mapping[str, Sequence[str]] | None,
    command_slots: int,
) -> Ground:
    """The hosts of a catalogue, in order of name, clouds and commands last.

    `slots`: model -> at most so many tasks at once. `sizes`: guesses for models whose memory nobody wrote. `resident`:
    host -> models in memory at the start; `None` = those that a host preloads. Pinned models always are.
    """
    notes: list[str] = []
    served = {spec.name: _served(spec, catalog) for spec in _enabled(catalog)}
    by_host: dict[str, list[EndpointSpec]] = {}
    for spec in _enabled(catalog):
        if _holds_models(spec, catalog):
            by_host.setdefault(spec.host, []).append(spec)
    hosts = []
    for name in sorted(by_host):
        declared = catalog.hosts.get(name, HostSpec(name=name))
        models = _models(by_host[name], served, catalog, slots)
        sized = _sized(models, declared, catalog, sizes, notes)
        wanted = declared.preload if resident is None else resident.get(name, ())
        hosts.append(_with_residents(declared, sized, wanted, notes))
    clouds = [spec for spec in _enabled(catalog) if not _holds_models(spec, catalog)]
    names = {host.name for host in hosts}
    stands_for = {spec.name: name for name, specs in by_host.items() for spec in specs}
    for spec in clouds:
        stands_for[spec.name] = spec.name if spec.name not in names else f"{spec.name} (cloud)"
        hosts.append(_cloud(stands_for[spec.name], _models([spec], served, catalog, slots)))
    if command_slots:
        hosts.append(workers(command_slots))
    providers: dict[str, set[str]] = {}
    for spec in _enabled(catalog):
        providers.setdefault(stands_for[spec.name], set()).add(spec.provider)
    return Ground(
        hosts=tuple(hosts),
        notes=tuple(notes),
        endpoints=stands_for,
        providers={name: frozenset(whose) for name, whose in providers.items()},
    )


def workers(slots: int) -> PlanHost:
    """The host of commands."""
    return PlanHost(name=WORKERS, models={COMMAND: Serving(slots=slots)}, cloud=True)


def holds_memory(host: PlanHost) -> bool:
    """Whether it is a machine with models of its own."""
    return not host.cloud


def with_machines(base: Ground, machines: Sequence[Machine]) -> Ground:
    """The same with other machines, each with all models of the declared ones. Clouds and commands stay.

    How many models a declared machine may hold at once says nothing of another one: memory alone limits those.

    Raises `ValueError` when no machine is declared whose models they could have.
    """
    declared = [host for host in base.hosts if holds_memory(host)]
    if not declared:
        raise ValueError("no machine of the profile holds models")
    models: dict[str, Serving] = {}
    for host in declared:
        for name, serving in host.models.items():
            other = models.get(name)
            models[name] = serving if other is None or serving.slots > other.slots else other
    whose = frozenset[str]().union(*(base.providers.get(host.name, frozenset()) for host in declared))
    hosts = [
        PlanHost(
            name=machine.name,
            memory_bytes=machine.memory_bytes,
            models={name: msgspec.structs.replace(serving, pinned=False) for name, serving in sorted(models.items())},
        )
        for machine in machines
    ]
    return msgspec.structs.replace(
        base,
        hosts=(*hosts, *(host for host in base.hosts if not holds_memory(host))),
        endpoints={name: host for name, host in base.endpoints.items() if host not in {gone.name for gone in declared}},
        providers={**base.providers, **{machine.name: whose for machine in machines}},
    )


def with_copies(base: Ground, count: int) -> Ground:
    """The same with `count` of each declared machine; copies are called `NAME-2`, `NAME-3` ..."""
    hosts: list[PlanHost] = []
    providers = dict(base.providers)
    for host in base.hosts:
        hosts.append(host)
        for number in range(2, count + 1) if holds_memory(host) else ():
            copy = msgspec.structs.replace(host, name=f"{host.name}-{number}")
            hosts.append(copy)
            providers[copy.name] = providers.get(host.name, frozenset())
    return msgspec.structs.replace(base, hosts=tuple(hosts), providers=providers)


def _enabled(catalog: Catalog) -> list[EndpointSpec]:
    return [catalog.endpoints[name] for name in sorted(catalog.endpoints) if catalog.endpoints[name].enabled]


def _holds_models(spec: EndpointSpec, catalog: Catalog) -> bool:
    """Whether its models take memory of a machine we know: the user's own, or one whose memory the profile states."""
    host = catalog.hosts.get(spec.host)
    return spec.local or (host is not None and host.memory_bytes is not None)


def _served(spec: EndpointSpec, catalog: Catalog) -> tuple[str, ...]:
    """Models of an endpoint: as declared; one of the user's own that declares none may have every local model."""
    if spec.models or not spec.local:
        return spec.models
    elsewhere = {model for other in catalog.endpoints.values() if not other.local for model in other.models}
    elsewhere |= {model for tier in catalog.tiers if tier.cost in CLOUD_COSTS for model in tier.models}
    tiers = [tier for tier in catalog.tiers if tier.cost in (CostClass.LOCAL, CostClass.FREE)]
    local = {model for tier in tiers if not tier.providers or spec.provider in tier.providers for model in tier.models}
    return tuple(sorted(name for name in {*catalog.models, *local} if name in local or name not in elsewhere))


def _models(
    endpoints: Iterable[EndpointSpec],
    served: Mapping[str, Sequence[str]],
    catalog: Catalog,
    slots: Mapping[str, int],
) -> dict[str, Serving]:
    models: dict[str, Serving] = {}
    for spec in endpoints:
        for name in served[spec.name]:
            speeds = catalog.models.get(name, ModelSpec(name=name)).speeds
            offered = spec.slots_per_model.get(name, spec.slots)
            serving = Serving(
                load_ms=round(speeds.load_s * 1000),
                unload_ms=round(speeds.unload_s * 1000),
                slots=max(1, min(offered, slots.get(name, offered))),
            )
            if name not in models or models[name].slots < serving.slots:
                models[name] = serving
    return dict(sorted(models.items()))


def _sized(
    models: Mapping[str, Serving], host: HostSpec, catalog: Catalog, sizes: Mapping[str, int], notes: list[str]
) -> dict[str, Serving]:
    free = _free(host)
    if free is None and models:
        notes.append(f"host {host.name}: its memory is not stated; all its models count as fitting at once")
    sized = {}
    for name, serving in models.items():
        spec = catalog.models.get(name)
        memory = spec.memory_bytes if spec is not None else None
        if memory is None:
            memory = sizes.get(name, free or 0)
            if free is not None:
                how = f"taken as {memory / 1e9:.1f} GB" if name in sizes else f"taken as all of {host.name}"
                notes.append(f"model {name}: its memory is not stated; {how}")
        sized[name] = msgspec.structs.replace(serving, memory_bytes=memory)
    return sized


def _free(host: HostSpec) -> int | None:
    return None if host.memory_bytes is None else max(0, host.memory_bytes - host.reserve_bytes)


def _with_residents(host: HostSpec, models: Mapping[str, Serving], wanted: Sequence[str], notes: list[str]) -> PlanHost:
    """The host with what is in memory at the start, as far as it fits: pinned models first."""
    free = _free(host)
    resident: list[str] = []
    for name in dict.fromkeys((*host.pinned, *wanted)):
        if name not in models:
            continue
        held = sum(models[other].memory_bytes for other in resident)
        full = host.max_resident_models is not None and len(resident) >= host.max_resident_models
        if full or (free is not None and held + models[name].memory_bytes > free):
            notes.append(
                f"host {host.name}: {name} does not fit beside {', '.join(resident) or 'nothing'} at the start"
            )
        else:
            resident.append(name)
    return PlanHost(
        name=host.name,
        memory_bytes=free,
        models={
            name: msgspec.structs.replace(serving, pinned=name in host.pinned and name in resident)
            for name, serving in models.items()
        },
        resident=tuple(resident),
        max_resident=host.max_resident_models,
    )


def _cloud(name: str, models: Mapping[str, Serving]) -> PlanHost:
    free = {
        model: msgspec.structs.replace(serving, memory_bytes=0, load_ms=0, unload_ms=0)
        for model, serving in models.items()
    }
    return PlanHost(name=name, models=free, cloud=True)
