"""One decision speaks for all tasks of a class."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Capability
from ostler.domain.decision import Hold, RouteRequest, Verdict
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.limits import BudgetPolicy, Limit, ScopeKind
from ostler.domain.policy import Policy
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Complexity, ErrorCount, Task, TaskFacts, TaskKind
from ostler.routing import classes
from ostler.routing.classes import charged_apart, route_class, window_bucket
from ostler.routing.decide import decide
from tests.routing.fleets import FOUR_TIERS, NOW, SMALL, facts, with_routing
from tests.routing.strategies import make_request, policies, snapshots


def task_of(request: RouteRequest) -> Task:
    """The row of the task a request is about."""
    return Task(
        id=request.facts.id,
        seq=1,
        state=TaskState.QUEUED,
        facts=request.facts,
        quality_steps=request.quality_steps,
        errors=request.errors,
        excluded=request.excluded,
        created_ms=request.queued_ms,
        queued_ms=request.queued_ms,
        updated_ms=request.queued_ms,
        wait=Wait(code=WaitCode.READY, since_ms=request.queued_ms),
    )


def key(request: RouteRequest, policy: Policy) -> tuple[object, ...]:
    return route_class(request.facts, task_of(request), policy)


def simple_key(task: TaskFacts, policy: Policy = FOUR_TIERS, **life: object) -> tuple[object, ...]:
    return key(replace(RouteRequest(facts=task, now_ms=NOW, queued_ms=NOW), **life), policy)


def outline(verdict: Verdict) -> tuple[object, ...]:
    """What all tasks of a class have in common. Which of the places is best may differ, and with it local or cloud."""
    decision = verdict.decision
    target = "model" if decision.selected_endpoint is not None else decision.target_type
    places = {(c.endpoint, c.model) for c in decision.candidates if c.score is not None}
    kind = (verdict.wait.code, verdict.fallback_tier, verdict.blocked_on) if isinstance(verdict, Hold) else "route"
    return (kind, decision.effective_tier, target, decision.fallback_used, frozenset(places))


@st.composite
def similar(draw: st.DrawFn) -> tuple[RouteRequest, RouteRequest]:
    """Two requests at one instant, equally long in the queue, that differ in some of their fields."""
    rng = random.Random(draw(st.integers(0, 2**48)))
    one, other = make_request(rng), make_request(rng)
    fields = [field for field in TaskFacts.__struct_fields__ if rng.random() < 0.3]
    task = replace(one.facts, **{field: getattr(other.facts, field) for field in fields})
    changed = replace(one, facts=replace(task, id="another", requires=frozenset({"docker"}), worker="w1"))
    for field in ("quality_steps", "errors", "excluded", "generation"):
        if rng.random() < 0.2:
            changed = replace(changed, **{field: getattr(other, field)})
    return one, changed


@settings(max_examples=800)
@given(similar(), snapshots(), policies)
def test_equal_keys_mean_verdicts_of_one_kind(
    pair: tuple[RouteRequest, RouteRequest], snapshot: FleetSnapshot, policy: Policy
) -> None:
    """Route or hold for the same reason, on the same tier, with the same possible places."""
    one, other = pair
    if key(one, policy) == key(other, policy):
        assert outline(decide(one, snapshot, policy)) == outline(decide(other, snapshot, policy))


def test_keys_are_often_equal() -> None:
    """Else the property above would be about nothing."""
    rng = random.Random(7)
    same = 0
    for _ in range(300):
        one = make_request(rng)
        other = replace(one, facts=replace(one.facts, id="x", repo="elsewhere", prompt_tokens=7, output_tokens=9))
        same += key(one, FOUR_TIERS) == key(other, FOUR_TIERS)
    assert same == 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (facts(), facts(prompt_tokens=7, repo="r", batch="b", critical=True)),
        (facts(context_tokens=1), facts(context_tokens=8_000)),
        (facts(Complexity.COMPLEX), facts(task_type="planning")),
        (facts(tier="T1"), facts(Complexity.COMPLEX)),
        (facts(Complexity.COMPLEX, kind=TaskKind.COMMAND), facts(kind=TaskKind.COMMAND)),
    ],
)
def test_what_moves_only_scores_is_left_out(one: TaskFacts, other: TaskFacts) -> None:
    """Length, repo, batch, and how it came to its tier make no other class."""
    assert simple_key(one) == simple_key(other)


@pytest.mark.parametrize(
    "other",
    [
        facts(task_type="coding"),
        facts(model=SMALL.name),
        facts(endpoint="gpu1"),
        facts(local_only=True),
        facts(capabilities=frozenset({Capability.TOOLS})),
        facts(context_tokens=8_001),
        facts(kind=TaskKind.COMMAND),
        facts(recent_errors=("e",) * 3),
        facts(tier="T9"),
    ],
)
def test_what_moves_places_makes_another_class(other: TaskFacts) -> None:
    """Tier, pins, locality, capabilities and the size of the window tell classes apart."""
    assert simple_key(facts()) != simple_key(other)


def test_the_life_of_a_task_moves_it_to_another_class() -> None:
    """Escalation, repeated errors and exclusions count; their order does not."""
    plain = simple_key(facts())
    assert simple_key(facts(), quality_steps=1) != plain
    assert simple_key(facts(), errors=(ErrorCount("e", 3),)) != plain
    assert simple_key(facts(), errors=(ErrorCount("e", 2),)) == plain
    assert simple_key(facts(), excluded=("a",)) != plain
    assert simple_key(facts(), excluded=("a", "b")) == simple_key(facts(), excluded=("b", "a", "b"))


def test_trivial_work_is_a_class_of_its_own() -> None:
    """It stands on the same tier as standard work, but an outage leads it nowhere."""
    policy = with_routing(FOUR_TIERS, complexity_tiers={"trivial": "direct", "standard": "T0"})
    assert simple_key(facts(Complexity.TRIVIAL), policy) != simple_key(facts(), policy)


@pytest.mark.parametrize(
    ("need", "bucket"), [(0, 0), (8_000, 0), (8_001, 1), (32_000, 1), (64_000, 2), (200_000, 3), (200_001, 4)]
)
def test_windows_are_counted_by_those_too_small(need: int, bucket: int) -> None:
    """The catalogue's windows are 8 000, 32 000, 64 000 and 200 000 tokens."""
    assert window_bucket(need, FOUR_TIERS.catalog) == bucket


@given(st.integers(0, 2**48), policies)
@settings(max_examples=40)
def test_what_is_worked_out_once_for_many_tasks_is_what_each_would_get(seed: int, policy: Policy) -> None:
    """In whatever order tasks come, and whatever was asked before."""
    rng = random.Random(seed)
    requests = [make_request(rng) for _ in range(6)]
    warm = [key(request, policy) for request in (*requests, *requests)]
    cold = []
    for request in requests:
        for known in (classes._aims, classes._windows):
            known.cache_clear()
        cold.append(key(request, policy))

    assert warm == [*cold, *cold]


def test_whose_limits_count_a_task_is_told_as_far_as_there_are_such_limits() -> None:
    """Each scope of which everybody has one of his own, in one order; `None` where nothing limits at all."""
    mine = replace(facts(), session="s", tick="t", batch="b", critical=True)
    scopes = (ScopeKind.TASK, ScopeKind.PROVIDER, ScopeKind.BATCH, ScopeKind.TICK, ScopeKind.SESSION)
    limits = [Limit(name=scope.value, scope=scope, hard=1) for scope in scopes]

    assert charged_apart(BudgetPolicy(), mine) is None
    assert charged_apart(BudgetPolicy(limits=tuple(limits)), mine) == (True, "s", ("s", "t"), "b", mine.id)
    assert charged_apart(BudgetPolicy(limits=tuple(limits[:3])), mine) == (True, "b", mine.id)
    assert charged_apart(BudgetPolicy(limits=tuple(limits[1:2])), mine) == (True,)
