"""The search behind a plan: what the exact solver may add, and what is said when it cannot."""

import msgspec
import pytest

from ostler.app import plan_search
from ostler.app.plan_search import (
    FEWEST_LOADS_MAX,
    LIVE,
    OPTIMAL,
    PORTFOLIO,
    PRICED_WORKERS,
    PROOF_WORKERS,
    RULES,
    SOLVER,
    Search,
)
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.figures import figures
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
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
OPEN = fourteen_agents("map", 2)
"""Its bound is out of reach: only parity says so."""
LONGER = planned(TABLE, "model-first")


@pytest.mark.parametrize("seed", range(6))
def test_the_search_is_never_worse_than_any_rule(seed: int) -> None:
    """Portfolio and exact plan hold, and no rule and no rival alone is shorter."""
    found = search(tiny_instance(seed))
    others = [found.plan(name) for name in (*RULES, LIVE)] + list(found.rivals().values())
    best, exact = found.plan(PORTFOLIO), found.plan(OPTIMAL)

    assert best.makespan_ms <= min(other.makespan_ms for other in others)
    assert exact.makespan_ms <= best.makespan_ms
    assert check_plan(found.instance, best) == check_plan(found.instance, exact) == ()
    assert found.certificate.bound_ms <= exact.makespan_ms


def test_a_plan_is_made_once() -> None:
    """Comparison, what-if and the report show the same plan."""
    told: list[str] = []
    found = Search(TABLE, seconds=0.1, seed=1, tell=told.append)

    assert found.plan("hybrid") is found.plan("hybrid")
    assert told == ["planning 14 tasks: hybrid"]


def test_the_search_tells_how_far_it_is() -> None:
    """A terminal shows the best so far while the search goes on."""
    told: list[str] = []
    Search(OPEN, seconds=0.2, seed=1, tell=told.append).plan(PORTFOLIO)

    assert [words for words in told if words.startswith("searching 14 tasks: ") and words.endswith(" min so far")]


def test_a_very_large_problem_goes_straight_to_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a short search first would only take time."""
    monkeypatch.setattr(plan_search, "RULES_MAX", 13)
    told: list[str] = []
    plan = Search(TABLE, seconds=0.3, seed=1, tell=told.append).plan(PORTFOLIO)

    assert told == ["planning 14 tasks: portfolio", "searching 14 tasks"]
    assert check_plan(TABLE, plan) == ()


def test_a_quick_plan_holds() -> None:
    """One of many, for money against time."""
    assert check_plan(TABLE, search(TABLE).quick()) == ()


def test_without_a_solver_the_plan_is_the_searched_one_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the proof works without the extra."""
    answering(monkeypatch, Solved(status=Status.UNKNOWN, reason="the extra `plan` is not installed"))
    found = search(OPEN)
    searched = found.plan(PORTFOLIO)
    plan = found.plan(OPTIMAL)

    assert (plan.strategy, plan.proven) == (OPTIMAL, False)
    assert plan.placements == searched.placements
    assert plan.detail == "not proven: the extra `plan` is not installed"


@pytest.mark.parametrize("restricted", [False, True])
def test_a_longer_plan_of_the_solver_is_not_taken(monkeypatch: pytest.MonkeyPatch, restricted: bool) -> None:
    """Not even if it came with a proof of something else."""
    answering(monkeypatch, Solved(status=Status.FEASIBLE, plan=LONGER, restricted=restricted))
    plan = search(TABLE).plan(OPTIMAL)

    assert plan.makespan_ms < LONGER.makespan_ms
    assert not plan.proven


@pytest.mark.parametrize("restricted", [False, True])
def test_a_bound_of_the_solver_counts_unless_it_was_restricted(
    monkeypatch: pytest.MonkeyPatch, restricted: bool
) -> None:
    """It measures the plan, under a name of its own, because nothing can check it."""
    found = search(OPEN)
    start, known = found.plan(PORTFOLIO), found.certificate
    bound_ms = start.makespan_ms - 1
    answering(monkeypatch, Solved(status=Status.FEASIBLE, plan=start, bound_ms=bound_ms, restricted=restricted))
    found.plan(OPTIMAL)

    assert known.bound_ms < bound_ms
    assert (found.certificate.kind, found.certificate.bound_ms) == (
        (known.kind, known.bound_ms) if restricted else (SOLVER, bound_ms)
    )


@pytest.mark.parametrize(
    ("status", "restricted", "proven"),
    [(Status.PROVEN, False, True), (Status.PROVEN, True, False), (Status.FEASIBLE, False, False)],
)
def test_only_an_unrestricted_proof_is_one(
    monkeypatch: pytest.MonkeyPatch, status: Status, restricted: bool, proven: bool
) -> None:
    """A solver that was kept from trying everything has proved nothing."""
    found = search(OPEN)
    answering(monkeypatch, Solved(status=status, plan=found.plan(PORTFOLIO), restricted=restricted))

    assert found.plan(OPTIMAL).proven is proven


def priced() -> Instance:
    """Two tasks for one slot, and a cloud that could take either for a dollar."""
    cloud = PlanHost(name="cloud", models={"c": Serving(slots=9)}, cloud=True)
    box = PlanHost(name="box", memory_bytes=1, models={"m": Serving(memory_bytes=1, load_ms=1_000)})
    here = Choice(models=("m",), duration_ms=600_000)
    there = Choice(models=("c",), duration_ms=600_000, cost_micro_usd=10**6)
    tasks = tuple(PlanTask(id=name, choices=(here, there)) for name in ("a", "b"))
    return Instance(hosts=(box, cloud), tasks=tasks)


@pytest.mark.parametrize(("minute_price", "spent"), [(10_000, 0), (500_000, 10**6)])
def test_an_exact_plan_with_prices_weighs_time_and_money(minute_price: int, spent: int) -> None:
    """Ten minutes for a dollar: not at a cent a minute, but at fifty. The shortest plan is not claimed to be it."""
    found = search(msgspec.structs.replace(priced(), minute_price_micro_usd=minute_price))
    plan = found.plan(OPTIMAL)

    assert figures(found.instance, plan).cost_micro_usd == spent
    assert not plan.proven


def test_a_bound_that_is_reached_needs_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tasks that run at once are as short as one of them with its load."""

    async def refuse(*_arguments: object, **_options: object) -> Plan:
        raise AssertionError("the solver was asked")

    monkeypatch.setattr("ostler.solver.process.solve_in_process", refuse)
    many = [msgspec.structs.replace(TABLE.tasks[0], id=f"t{number}") for number in range(FEWEST_LOADS_MAX + 1)]
    instance = Instance(hosts=fourteen_agents("map", len(many)).hosts, tasks=tuple(many))
    plan = search(instance).plan(OPTIMAL)

    assert plan.makespan_ms == search(instance).certificate.bound_ms
    assert "no solver was needed" in plan.detail


@pytest.mark.parametrize("bought", [False, True])
def test_a_proof_is_asked_of_several_strategies_of_the_solver(monkeypatch: pytest.MonkeyPatch, *, bought: bool) -> None:
    """Also where time and money count together: one strategy alone often proves nothing."""
    asked: list[dict[str, object]] = []

    async def solve(*_arguments: object, **options: object) -> Solved:
        asked.append(options)
        return Solved(status=Status.UNKNOWN, reason="not now")

    monkeypatch.setattr("ostler.solver.process.solve_in_process", solve)
    search(priced() if bought else OPEN).plan(OPTIMAL)

    assert [(one["workers"], one["seed"]) for one in asked] == [(PRICED_WORKERS if bought else PROOF_WORKERS, 1)]
    assert min(PRICED_WORKERS, PROOF_WORKERS) > 2


def test_effort_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the given number of seconds on it is spent."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    until = plan_search.Until(5)

    assert not until.spent()
    now[0] = 105.0
    assert until.spent()
