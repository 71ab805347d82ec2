"""Generated policies, fleets and requests: small worlds in which everything that can go wrong does.

Names come from small pools, so that tasks, models and endpoints really meet. A world is built from one drawn seed: it
cannot be shrunk much, but thousands are made in the time of a hundred drawn piece by piece. Shared with other tests by
`from tests.routing import strategies`.
"""

import random
from collections.abc import Callable
from itertools import chain, combinations, permutations, product
from typing import TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import (
    DIRECT,
    Capability,
    Catalog,
    ChoiceRule,
    CostClass,
    EndpointSpec,
    HostSpec,
    ModelSpec,
    Speeds,
    TierSpec,
)
from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import GIB, BreakerState, EndpointView, FleetSnapshot, Health, HostReport, Resident
from ostler.domain.policy import FallbackDirection, Policy, RoutingPolicy
from ostler.domain.tasks import Classification, Complexity, ErrorCount, TaskFacts, TaskKind
from tests.routing import fleets
from tests.routing.fleets import NOW

TIERS = ("T0", "T1", "T2", "T3")
MODELS = ("m0", "m1", "m2")
ENDPOINTS = ("e0", "e1", "e2", "e3")
HOSTS = ("h0", "h1")
PROVIDERS = ("ollama", "openai")
TYPES = ("general", "coding", "final_polish")
UNLISTED = "unlisted"
"""A model no catalogue names."""
WINDOWS = (4_000, 8_000, 32_000)
NEEDS = (frozenset[Capability](), frozenset({Capability.TOOLS}), frozenset({Capability.TOOLS, Capability.VISION}))


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All selections of names, the empty one first."""
    return list(chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


_MODEL_KINDS = [
    ModelSpec(
        name="",
        context_tokens=window,
        memory_bytes=memory,
        capabilities=skills,
        input_usd_per_mtok=price,
        output_usd_per_mtok=price,
        speeds=Speeds(load_s=load_s),
    )
    for window, memory, skills, price, load_s in product(
        (None, *WINDOWS), (None, 8 * GIB, 8 * GIB, 40 * GIB), (None, *NEEDS), (None, 0.0, 20.0), (0.0, 60.0)
    )
]
_TIER_KINDS = [
    TierSpec(name="", rank=0, models=models, cost=cost, choose=choose, providers=providers, enabled=enabled)
    for models, cost, choose, providers, enabled in product(
        [*((model,) for model in MODELS * 3), *permutations(MODELS, 2), MODELS],
        CostClass,
        ChoiceRule,
        ((), (), (), (), ("ollama",), ("openai",)),
        (True, True, True, False),
    )
]
_SPECS = [
    fleets.endpoint("", local=local, host=host, provider=provider, enabled=enabled, slots_per_model=slots)
    for local, host, provider, enabled, slots in product(
        (True, False), HOSTS, PROVIDERS, (*[True] * 7, False), ({}, {}, {}, {}, {"m0": 1}, {"m0": 0})
    )
]
_STATES = [
    EndpointView(
        spec=_SPECS[0],
        health=health,
        breaker=breaker,
        blocked_until_ms=blocked,
        slots=slots,
        unusable_since_ms=since,
        checked_ms=None if since is None else NOW - 1_000,
    )
    for health, breaker, blocked, slots, since in product(
        (Health.UP, Health.UP, Health.UP, *Health),
        (BreakerState.CLOSED, BreakerState.CLOSED, *BreakerState),
        (None, None, NOW, NOW + 5),
        (0, 1, 2, 2),
        (None, NOW - 60_000, NOW - 3_000),
    )
]
_ORDINARY = [
    EndpointView(spec=_SPECS[0], health=Health.UP, slots=2, checked_ms=NOW - 1_000),
    EndpointView(spec=_SPECS[0], health=Health.UP, slots=3, checked_ms=NOW - 1_000),
    EndpointView(spec=_SPECS[0], health=Health.DOWN, slots=2, unusable_since_ms=NOW - 60_000),
]
_SERVED = [frozenset(models) for models in (*subsets((*MODELS, UNLISTED)), *subsets(MODELS)[1:4] * 2, *[MODELS] * 4)]
_RESIDENTS = [
    tuple(Resident(model=model, context_tokens=window) for model in models)
    for models, window in product(subsets(MODELS)[:5], (None, *WINDOWS))
]
_HOST_KINDS = [
    HostSpec(name="", memory_bytes=memory, max_resident_models=most)
    for memory, most in product((None, 16 * GIB, 64 * GIB), (None, 1))
]
_REPORTS = [
    HostReport(host="", at_ms=at_ms, cpu_percent=cpu, ram_total_bytes=memory)
    for at_ms, cpu, memory in product((NOW, NOW - 100_000), (None, 0.0, 40.0, 45.0, 100.0), (None, 64 * GIB))
]


_PINS: list[tuple[str | None, str | None, str | None]] = [
    *((tier, None, None) for tier in (*TIERS, *TIERS)),
    *((None, model, None) for model in (*MODELS, UNLISTED)),
    *((None, None, endpoint) for endpoint in (*ENDPOINTS, "gone")),
    *product(("T0", "T2"), ("m0", None), ("e0", "e1")),
]
_PLACES = [(), (), (), *((place,) for place in (*ENDPOINTS, "e0/m0", "e1/m1")), ("e0", "e1"), ENDPOINTS]
_ALLOWED: list[tuple[frozenset[str], frozenset[str]]] = [
    (frozenset({"m0", "m1"}), frozenset()),
    (frozenset({"m2"}), frozenset({"T1", "T2"})),
    (frozenset(), frozenset({"T0"})),
    (frozenset(), frozenset({"T2", "T3"})),
]
_WAYS = tuple(FallbackDirection)


def make_catalog(rng: random.Random) -> Catalog:
    """A ladder of one to four model tiers, some disabled, over models of which much may be unknown."""
    names = TIERS[: rng.choice([1, 3, 3, 4, 4])]
    return Catalog(
        tiers=(
            TierSpec(name=DIRECT, rank=0, cost=CostClass.FREE),
            *(replace(rng.choice(_TIER_KINDS), name=name, rank=rank) for rank, name in enumerate(names, start=1)),
        ),
        models={name: replace(rng.choice(_MODEL_KINDS), name=name) for name in rng.choice(subsets(MODELS))},
        hosts={name: replace(rng.choice(_HOST_KINDS), name=name) for name in rng.choice(subsets(HOSTS))},
    )


def make_policy(rng: random.Random) -> Policy:
    """A catalogue and routing rules; half of the mappings are left to their defaults."""
    levels = ("trivial", "standard", "complex")
    routing = RoutingPolicy(
        fallback_wait_ms=rng.choice([0, 5_000]),
        fallback_direction=rng.choice([FallbackDirection.UP, FallbackDirection.UP, *_WAYS]),
        fallback_by_tier={rng.choice(TIERS): rng.choice(_WAYS)} if rng.random() < 0.3 else {},
        max_availability_steps=0 if rng.random() < 0.1 else 1,
        complexity_tiers={level: rng.choice((DIRECT, *TIERS)) for level in levels if rng.random() < 0.3},
        type_minimums={name: rng.choice(TIERS) for name in TYPES if rng.random() < 0.3},
        task_overrides={rng.choice(TYPES): rng.choice(TIERS)} if rng.random() < 0.2 else {},
        unclassified_tier=rng.choice(["", "", *TIERS]),
    )
    return Policy(catalog=make_catalog(rng), routing=routing)


def make_view(rng: random.Random, name: str) -> EndpointView:
    """An endpoint in any state, mostly a usable one."""
    spec: EndpointSpec = replace(rng.choice(_SPECS), name=name, url=f"http://{name}.invalid")
    residents = rng.choice(_RESIDENTS) if spec.local else None
    state = rng.choice(_STATES) if rng.random() < 0.3 else rng.choice(_ORDINARY)
    return replace(state, spec=spec, models=rng.choice(_SERVED), residents=residents)


def make_snapshot(rng: random.Random, size: int) -> FleetSnapshot:
    """A fleet of `size` endpoints, with load and calls in flight."""
    names = rng.sample(ENDPOINTS, size)
    flights = [(name, model) for name in names for model in MODELS]
    return fleets.fleet(
        *(make_view(rng, name) for name in names),
        reports={host: replace(rng.choice(_REPORTS), host=host) for host in rng.choice(subsets(HOSTS))},
        in_flight={name: rng.choice([0, 0, 1, 2]) for name in names},
        in_flight_by_model={place: rng.choice([0, 1]) for place in flights if rng.random() < 0.3},
        repo_hosts={"repo": rng.choice(HOSTS)} if rng.random() < 0.7 else {},
    )


def make_task(rng: random.Random) -> TaskFacts:
    """Facts of a task with any mixture of demands; most tasks pin nothing."""
    kind = rng.choice([TaskKind.CHAT] * 5 + [TaskKind.AGENT] * 4 + [TaskKind.COMMAND])
    complexity = rng.choice([*Complexity, Complexity.STANDARD])
    tier, model, endpoint = rng.choice(_PINS) if rng.random() < 0.2 else (None, None, None)
    only_models, only_tiers = rng.choice(_ALLOWED) if rng.random() < 0.1 else (frozenset(), frozenset())
    return TaskFacts(
        id="task",
        kind=kind,
        classification=Classification(
            complexity=complexity,
            inferred_complexity=complexity,
            task_type=rng.choice(TYPES),
            source="none" if complexity is Complexity.UNKNOWN else "heuristic",
        ),
        has_command=kind is TaskKind.COMMAND or rng.random() < 0.2,
        tier=tier,
        model=model,
        endpoint=endpoint,
        local_only=rng.random() < 0.15,
        capabilities=rng.choice(NEEDS[1:]) if rng.random() < 0.2 else frozenset(),
        prompt_tokens=rng.randrange(40_000),
        context_tokens=rng.choice([3_999, 4_000, 4_001, 8_000, 32_001]) if rng.random() < 0.3 else 0,
        repo=rng.choice([None, "repo"]),
        only_models=only_models,
        only_tiers=only_tiers,
        recent_errors=("again",) * (rng.choice([2, 3, 6]) if rng.random() < 0.15 else 0),
    )


def make_request(rng: random.Random) -> RouteRequest:
    """A task with what its life so far added."""
    errors = rng.choice([1, 3]) if rng.random() < 0.15 else 0
    return RouteRequest(
        facts=make_task(rng),
        now_ms=NOW,
        queued_ms=NOW - rng.choice([0, 4_999, 5_000, 60_000, 60_000]),
        generation=rng.randrange(3),
        quality_steps=rng.choice([1, 2, 3]) if rng.random() < 0.15 else 0,
        errors=(ErrorCount("again", errors),) if errors else (),
        excluded=rng.choice(_PLACES),
    )


T = TypeVar("T")


def _seeded(make: Callable[[random.Random], T]) -> st.SearchStrategy[T]:
    return st.integers(0, 2**48).map(lambda seed: make(random.Random(seed)))


def snapshots(*, min_size: int = 0) -> st.SearchStrategy[FleetSnapshot]:
    """Fleets of up to four endpoints; the empty one is rare."""
    sizes = [size for size in (0, 1, 2, 2, 3, 3, 4, 4, 4) if size >= min_size]
    return _seeded(lambda rng: make_snapshot(rng, rng.choice(sizes)))


def make_plain_request(rng: random.Random) -> RouteRequest:
    """A task that asks for nothing special, failed nowhere, needs a model and has waited long enough."""
    request = make_request(rng)
    facts = replace(
        request.facts,
        kind=TaskKind.CHAT,
        has_command=False,
        tier=None,
        model=None,
        endpoint=None,
        recent_errors=(),
    )
    return replace(request, facts=facts, queued_ms=NOW - 60_000, quality_steps=0, errors=(), excluded=())


requests = _seeded(make_request)
plain_requests = _seeded(make_plain_request)
policies = _seeded(make_policy)
