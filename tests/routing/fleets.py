"""Catalogues, fleets and requests for tests of routing; shared with other tests by `from tests.routing import fleets`.

`THREE_TIERS` is the smallest real ladder: commands, local models, a cloud. `FOUR_TIERS` has two local and two cloud
tiers with a minimum for each type of work. `NOW` is an arbitrary instant; tests move time by adding to it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from ostler.domain.catalog import (
    DIRECT,
    Catalog,
    CostClass,
    EndpointKind,
    EndpointSpec,
    HostSpec,
    ModelSpec,
    Speeds,
    TierSpec,
)
from ostler.domain.decision import Decision, Hold, Route, RouteRequest, Verdict
from ostler.domain.fleet import GIB, EndpointView, FleetSnapshot, Health, HostReport, Resident
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind

NOW = 1_750_000_000_000

DIRECT_TIER = TierSpec(name=DIRECT, rank=0, cost=CostClass.FREE)


def _models(*models: ModelSpec) -> dict[str, ModelSpec]:
    return {model.name: model for model in models}


SMALL = ModelSpec(name="qwen2.5:7b", context_tokens=32_000, memory_bytes=8 * GIB, speeds=Speeds(load_s=8.0))
LARGE = ModelSpec(name="llama3:70b", context_tokens=8_000, memory_bytes=40 * GIB, speeds=Speeds(load_s=40.0))
CHEAP = ModelSpec(
    name="deepseek-chat", context_tokens=64_000, input_usd_per_mtok=0.27, output_usd_per_mtok=1.10, aliases=("ds",)
)
DEAR = ModelSpec(name="gpt-5.2", context_tokens=200_000, input_usd_per_mtok=3.0, output_usd_per_mtok=15.0)

THREE_TIERS = Policy(
    catalog=Catalog(
        tiers=(
            DIRECT_TIER,
            TierSpec(name="standard", rank=1, models=(SMALL.name,), aliases=("haiku",)),
            TierSpec(name="complex", rank=2, models=(DEAR.name,), cost=CostClass.METERED, aliases=("opus",)),
        ),
        models=_models(SMALL, DEAR),
        tier_aliases={"haiku": "standard", "opus": "complex", "trivial": DIRECT},
    ),
    routing=RoutingPolicy(complexity_tiers={"trivial": DIRECT, "standard": "standard", "complex": "complex"}),
    version="three",
)

FOUR_TIERS = Policy(
    catalog=Catalog(
        tiers=(
            DIRECT_TIER,
            TierSpec(name="T0", rank=1, models=(SMALL.name,), aliases=("local_cheap",)),
            TierSpec(name="T1", rank=2, models=(LARGE.name,), aliases=("local_strong",)),
            TierSpec(name="T2", rank=3, models=(CHEAP.name,), cost=CostClass.METERED, aliases=("cheap_cloud",)),
            TierSpec(name="T3", rank=4, models=(DEAR.name,), cost=CostClass.METERED, aliases=("expensive_cloud",)),
        ),
        models=_models(SMALL, LARGE, CHEAP, DEAR),
        model_aliases={"ds": CHEAP.name},
        tier_aliases={"local_cheap": "T0", "local_strong": "T1", "cheap_cloud": "T2", "expensive_cloud": "T3"},
    ),
    routing=RoutingPolicy(
        complexity_tiers={"trivial": "T0", "standard": "T0", "complex": "T1"},
        type_minimums={
            "memory_ops": "T0",
            "reflection": "T0",
            "summarization": "T0",
            "general": "T0",
            "planning": "T1",
            "coding": "T2",
            "high_stakes": "T2",
            "final_polish": "T3",
        },
    ),
    version="four",
)


def with_routing(policy: Policy, **changes: object) -> Policy:
    """The policy with other routing settings."""
    return replace(policy, routing=replace(policy.routing, **changes))


def with_tier(policy: Policy, name: str, **changes: object) -> Policy:
    """The policy with one tier changed."""
    tiers = tuple(replace(tier, **changes) if tier.name == name else tier for tier in policy.catalog.tiers)
    return replace(policy, catalog=replace(policy.catalog, tiers=tiers))


def with_models(policy: Policy, *models: ModelSpec) -> Policy:
    """The policy with models added or replaced."""
    return replace(policy, catalog=replace(policy.catalog, models={**policy.catalog.models, **_models(*models)}))


def with_hosts(policy: Policy, *hosts: HostSpec) -> Policy:
    """The policy with these hosts."""
    return replace(policy, catalog=replace(policy.catalog, hosts={host.name: host for host in hosts}))


def endpoint(name: str, *, local: bool = True, slots: int = 1, **changes: object) -> EndpointSpec:
    """The specification of an endpoint on a host of its own, which declares no models."""
    spec = EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA if local else EndpointKind.OPENAI,
        url=f"http://{name}.invalid",
        provider="ollama" if local else "openai",
        host=name,
        local=local,
        slots=slots,
    )
    return replace(spec, **changes)


def view(
    name: str,
    *models: str,
    local: bool = True,
    slots: int = 1,
    warm: Iterable[str] = (),
    spec: Mapping[str, object] = MappingProxyType({}),
    **state: object,
) -> EndpointView:
    """An endpoint that is up and serves these models. Local ones say what is loaded (`warm`), clouds do not.

    `spec` changes its specification, further arguments its state.
    """
    seen = EndpointView(
        spec=endpoint(name, local=local, slots=slots, **spec),
        health=Health.UP,
        models=frozenset(models),
        residents=tuple(Resident(model=model) for model in warm) if local else None,
        checked_ms=NOW - 1_000,
        slots=slots,
    )
    return replace(seen, **state)


def fleet(*views: EndpointView, **state: object) -> FleetSnapshot:
    """A snapshot of these endpoints, with its index by model; further arguments are its other fields."""
    by_model: dict[str, list[str]] = {}
    for seen in sorted(views, key=lambda one: one.spec.name):
        for model in sorted(seen.models):
            by_model.setdefault(model, []).append(seen.spec.name)
    snapshot = FleetSnapshot(
        endpoints={seen.spec.name: seen for seen in views},
        by_model={model: tuple(names) for model, names in by_model.items()},
        taken_ms=NOW,
    )
    return replace(snapshot, **state)


def report(host: str, **load: object) -> HostReport:
    """A fresh report of a host."""
    return replace(HostReport(host=host, at_ms=NOW), **load)


def facts(
    complexity: Complexity = Complexity.STANDARD,
    task_type: str = "general",
    *,
    kind: TaskKind = TaskKind.CHAT,
    **changes: object,
) -> TaskFacts:
    """Facts of a task as if it had been classified so."""
    unknown = complexity is Complexity.UNKNOWN
    found = Classification(
        complexity=complexity,
        inferred_complexity=complexity,
        task_type=task_type,
        source="none" if unknown else "heuristic",
        confidence=0.0 if unknown else 0.67,
        word_count=12,
    )
    base = TaskFacts(
        id="task-1",
        kind=kind,
        classification=found,
        has_command=kind is TaskKind.COMMAND,
        prompt_tokens=100,
        context_tokens=500,
    )
    return replace(base, **changes)


def request(task: TaskFacts | None = None, *, waited_ms: int = 0, **changes: object) -> RouteRequest:
    """A request at `NOW` for a task that was queued `waited_ms` ago."""
    return replace(RouteRequest(facts=task or facts(), now_ms=NOW, queued_ms=NOW - waited_ms), **changes)


def routed(verdict: Verdict) -> Decision:
    """The decision of a route; fails on a hold."""
    assert isinstance(verdict, Route), verdict
    return verdict.decision


def held(verdict: Verdict) -> Hold:
    """The hold; fails on a route."""
    assert isinstance(verdict, Hold), verdict
    return verdict
