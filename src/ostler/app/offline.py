"""What can be answered without a hub: where a task would go by the profile alone, and whether an endpoint answers."""

import os
from pathlib import Path

from ostler.app.kinds import shipped_reader
from ostler.app.loop import clock
from ostler.config.load import load_profile
from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import RouteRequest, Verdict
from ostler.domain.errors import NotFoundError, nearest
from ostler.domain.fleet import EndpointView, FleetSnapshot, Health, Probe
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskSpec
from ostler.hub.explaining import verdict_why
from ostler.hub.views import Why
from ostler.routing.decide import decide
from ostler.routing.facts import describe


def route(spec: TaskSpec, profile: str | None) -> tuple[Verdict, Why]:
    """Decide as if every enabled endpoint were up and idle and served the models that the profile names for it."""
    policy = load_profile(profile, os.environ).policy
    now_ms = clock().now_ms()
    request = RouteRequest(
        facts=describe(spec, policy, reader=shipped_reader() if policy.learning.read_types else None),
        now_ms=now_ms,
        queued_ms=now_ms,
    )
    verdict = decide(request, declared_fleet(policy, now_ms), policy)
    return verdict, verdict_why(spec.id, verdict, now_ms)


def declared_fleet(policy: Policy, now_ms: int) -> FleetSnapshot:
    """The fleet as declared. A local endpoint without a list of models counts as serving all local ones."""
    local = frozenset(model for tier in policy.catalog.tiers if tier.cost in ("local", "free") for model in tier.models)
    views = {
        spec.name: EndpointView(
            spec=spec,
            health=Health.UP,
            models=frozenset(spec.models) or (local if spec.local else frozenset()),
            checked_ms=now_ms,
            slots=spec.slots,
        )
        for spec in policy.catalog.endpoints.values()
        if spec.enabled
    }
    by_model: dict[str, tuple[str, ...]] = {}
    for name in sorted(views):
        for model in views[name].models:
            by_model[model] = (*by_model.get(model, ()), name)
    return FleetSnapshot(endpoints=views, by_model=by_model, taken_ms=now_ms)


async def check(name: str, profile: str | None, *, force: bool) -> Probe:
    """List an endpoint, or the first of a provider. The answer of the last minutes is used again unless `force`."""
    from ostler.fleet.cache import STATUS_TTL_MS, ProbeCache, check_endpoints
    from ostler.fleet.drivers import DriverSet

    loaded = load_profile(profile, os.environ)
    spec = _endpoint(loaded.policy, name)
    timing = clock()
    drivers = DriverSet(os.environ, timing)
    try:
        cache = ProbeCache(Path(loaded.hub.data_dir), os.environ)
        ttl_ms = 0 if force else STATUS_TTL_MS
        (checked,) = await check_endpoints([spec], drivers.probe, cache, timing.now_ms(), ttl_ms=ttl_ms)
    finally:
        await drivers.close()
    return checked.probe


def _endpoint(policy: Policy, name: str) -> EndpointSpec:
    endpoints = policy.catalog.endpoints
    if name in endpoints:
        return endpoints[name]
    for spec in sorted(endpoints.values(), key=lambda spec: spec.name):
        if spec.provider == name:
            return spec
    names = {*endpoints, *(spec.provider for spec in endpoints.values())}
    raise NotFoundError(f"the profile has no endpoint or provider {name}", remedy=nearest(name, names))
