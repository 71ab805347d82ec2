"""What holds of every answer of the exact solver: honest about what it proved, never worse than where it started."""

import msgspec
import pytest
from hypothesis import given, settings

from ostler.planning.cpsat.result import Goal, Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.cpsat.start import simple_plans
from ostler.planning.instance import Instance, Serving
from ostler.planning.plan import Plan
from ostler.simulate.instances import random_instance, tiny_instance
from tests.planning.cpsat.rig import box, problem, solved, task
from tests.planning.varied import instances

CHAIN = problem(*(task(f"t{index}", "ab"[index % 2], 10, *[f"t{index - 1}"][: index or 0]) for index in range(5)))


@pytest.mark.parametrize("seed", range(12))
def test_a_proven_plan_holds_and_no_simple_plan_beats_it(seed: int) -> None:
    """On tiny problems of all kinds: proven, without breaking a rule, no longer than any strategy's plan."""
    instance = tiny_instance(seed)

    answer = solved(instance)

    assert answer.status is Status.PROVEN
    assert answer.plan is not None
    assert answer.plan.makespan_ms <= min(plan.makespan_ms for plan in simple_plans(instance))
    assert answer.bound_ms == answer.plan.makespan_ms


@settings(max_examples=25, deadline=None)
@given(instances(max_tasks=6))
def test_a_plan_of_any_problem_can_be_carried_out(instance: Instance) -> None:
    """Limits of residents, two models, own memory, clouds, choices, paces: what comes back breaks no rule."""
    answer = solved(instance, seconds=3)

    assert answer.plan is not None or answer.reason


def test_a_hint_is_never_made_worse() -> None:
    """With no time at all the plan given comes back, and is not called proven."""
    instance = random_instance(3, 20, 2)
    hint = solved(instance, seconds=3).plan
    assert hint is not None

    answer = solve(instance, seconds=0.0, hint=hint)

    assert answer.plan is not None
    assert (answer.plan.makespan_ms, answer.plan.loads) <= (hint.makespan_ms, hint.loads)


def test_a_plan_that_breaks_a_rule_is_no_start() -> None:
    """A plan without loads is too good to be true; the answer owes it nothing."""
    instance = problem(task("t", "a", 100))
    real = solved(instance).plan
    assert real is not None
    dream = msgspec.structs.replace(
        real, episodes=(), placements=(msgspec.structs.replace(real.placements[0], start_ms=0, end_ms=100),)
    )

    answer = solved(instance, hint=dream)

    assert answer.plan is not None
    assert answer.plan.makespan_ms == 120


def test_a_bound_from_elsewhere_proves_what_meets_it() -> None:
    """A plan as long as the bound is proven without any search."""
    instance = random_instance(0, 10, 1)
    known = solved(instance)
    assert known.plan is not None

    answer = solve(instance, seconds=0.0, hint=known.plan, bound_ms=known.bound_ms, goal=Goal(minimise_loads=False))

    assert (answer.status, answer.seconds) == (Status.PROVEN, 0.0)


def test_a_problem_without_any_plan_is_reported() -> None:
    """Two pinned residents fill the host; the model that a task needs never fits."""
    pinned = Serving(memory_bytes=6, load_ms=20, unload_ms=10, pinned=True)
    host = msgspec.structs.replace(box("a", resident=("b",)), models={"a": pinned, "b": pinned})

    answer = solved(problem(task("t", "a", 10), hosts=(host,)))

    assert (answer.status, answer.plan) == (Status.INFEASIBLE, None)
    assert answer.reason == "no plan meets all limits"


def test_capped_stays_prove_nothing() -> None:
    """A chain that alternates needs three stays of `a`; with one allowed nothing is proven, not even impossibility."""
    answer = solved(CHAIN, goal=Goal(episodes_max=1))

    assert answer.restricted
    assert answer.status in {Status.FEASIBLE, Status.UNKNOWN}
    assert answer.plan is None or not answer.plan.proven


def test_a_cap_above_what_can_be_useful_restricts_nothing() -> None:
    """Three tasks of a model never need more than three stays."""
    answer = solved(CHAIN, goal=Goal(episodes_max=3))

    assert (answer.status, answer.restricted) == (Status.PROVEN, False)


def test_one_seed_and_a_limit_of_work_give_one_answer() -> None:
    """The same question twice, stopped by work done and not by the clock: the same plan, to the millisecond."""

    def ask() -> Plan | None:
        return solve(random_instance(5, 20, 2), seconds=120, seed=7, work_limit=0.5).plan

    assert ask() == ask()


def test_an_empty_problem_is_solved() -> None:
    """Nothing to do takes no time."""
    answer = solved(problem())

    assert answer.plan is not None
    assert (answer.status, answer.plan.makespan_ms) == (Status.PROVEN, 0)
