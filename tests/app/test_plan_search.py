"""The search behind a plan: what the exact solver may add, and what is said when it cannot."""

import pytest

from ostler.app import plan_search
from ostler.app.plan_search import OPTIMAL, RULES, SOLVER, Search
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.instances import tiny_instance


def search(instance: Instance) -> Search:
    return Search(instance, seconds=0.3, seed=1, tell=lambda _words: None)


def answering(monkeypatch: pytest.MonkeyPatch, solved: Solved) -> None:
    """Let the exact solver answer so."""

    async def solve(*_arguments: object, **_options: object) -> Solved:
        return solved

    monkeypatch.setattr("ostler.solver.process.solve_in_process", solve)


TABLE = fourteen_agents("map", 4)
LONGER = planned(TABLE, "model-first")


@pytest.mark.parametrize("seed", range(12))
def test_the_search_is_never_worse_than_any_rule(seed: int) -> None:
    """Portfolio and exact plan hold, and no rule alone is shorter."""
    found = search(tiny_instance(seed))
    rules = [found.plan(name).makespan_ms for name in RULES]
    best, exact = found.plan("portfolio"), found.plan(OPTIMAL)

    assert best.makespan_ms <= min(rules)
    assert exact.makespan_ms <= best.makespan_ms
    assert check_plan(found.instance, best) == check_plan(found.instance, exact) == ()
    assert found.certificate.bound_ms <= exact.makespan_ms


def test_a_plan_is_made_once() -> None:
    """Comparison, what-if and the report show the same plan."""
    told: list[str] = []
    found = Search(TABLE, seconds=0.1, seed=1, tell=told.append)

    assert found.plan("hybrid") is found.plan("hybrid")
    assert told == ["planning 14 tasks: hybrid"]


def test_without_a_solver_the_plan_is_the_searched_one_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the proof works without the extra."""
    answering(monkeypatch, Solved(status=Status.UNKNOWN, reason="the extra `plan` is not installed"))
    found = search(fourteen_agents("map", 2))
    plan = found.plan(OPTIMAL)

    assert (plan.strategy, plan.proven) == (OPTIMAL, False)
    assert plan.placements == found.plan("portfolio").placements
    assert plan.detail == "not proven: the extra `plan` is not installed"


@pytest.mark.parametrize("restricted", [False, True])
def test_a_longer_plan_of_the_solver_is_not_taken(monkeypatch: pytest.MonkeyPatch, restricted: bool) -> None:
    """Not even if it came with a proof of something else."""
    answering(monkeypatch, Solved(status=Status.FEASIBLE, plan=LONGER, restricted=restricted))
    plan = search(TABLE).plan(OPTIMAL)

    assert plan.makespan_ms < LONGER.makespan_ms
    assert not plan.proven


def test_a_bound_of_the_solver_counts_unless_it_was_restricted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It measures the plan, under a name of its own, because nothing can check it."""
    for restricted, kind in ((False, SOLVER), (True, search(TABLE).certificate.kind)):
        start = search(TABLE).plan("portfolio")
        bound_ms = start.makespan_ms - 1
        answering(monkeypatch, Solved(status=Status.FEASIBLE, plan=start, bound_ms=bound_ms, restricted=restricted))
        found = search(TABLE)
        if found.certificate.bound_ms == start.makespan_ms:
            pytest.skip("the search proves this instance by itself")
        found.plan(OPTIMAL)
        assert found.certificate.kind == kind


def test_a_bound_that_is_reached_needs_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single task with its load is as short as its path."""

    async def refuse(*_arguments: object, **_options: object) -> Plan:
        raise AssertionError("the solver was asked")

    monkeypatch.setattr("ostler.solver.process.solve_in_process", refuse)
    instance = Instance(hosts=TABLE.hosts, tasks=TABLE.tasks[:1])
    plan = search(instance).plan(OPTIMAL)

    assert plan.makespan_ms == search(instance).certificate.bound_ms
    assert "no solver was needed" in plan.detail


def test_effort_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the given number of seconds on it is spent."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    until = plan_search.Until(5)

    assert not until.spent()
    now[0] = 105.0
    assert until.spent()
