"""The frontier of money against time: monotone, undominated, deterministic, and of plans that hold."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.frontier import Point, best_at, frontier, undominated
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import hybrid, model_first
from ostler.planning.whatif import cost_micro_usd, to_cloud
from ostler.simulate.fourteen_agents import fourteen_agents
from tests.planning.varied import has_place, instances

EMPTY = Plan(strategy="test", episodes=(), placements=())
CLOUDED = to_cloud(fourteen_agents("map", 4), ("chief-architect", "qa", "security", "docs"), 200_000, only=False).after


def point(makespan_ms: int, cost: int) -> Point:
    return Point(makespan_ms, cost, EMPTY)


@given(rows=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_what_is_kept_is_exactly_what_nothing_beats(rows: list[tuple[int, int]]) -> None:
    """Cheapest first, strictly shorter each; everything left out is as long and as dear as something kept."""
    kept = [row[:2] for row in undominated(point(*row) for row in rows)]

    assert kept == sorted(kept, key=lambda row: row[1])
    assert all(later[0] < earlier[0] and later[1] > earlier[1] for earlier, later in pairwise(kept))
    assert all(any(one[0] <= row[0] and one[1] <= row[1] for one in kept) for row in rows)
    assert set(kept) <= set(rows)


@given(instance=instances(max_tasks=7))
def test_every_point_is_a_plan_of_the_instance_itself(instance: Instance) -> None:
    """Whatever was forbidden or revalued on the way: the plan holds for the original, at the price it states."""
    points = frontier(instance, hybrid, plans=20)

    assert points == undominated(points)
    for found in points:
        assert check_plan(instance, found.plan) == ()
        assert (found.makespan_ms, found.cost_micro_usd) == (
            found.plan.makespan_ms,
            cost_micro_usd(instance, found.plan),
        )


def test_the_seeds_frontier_runs_from_free_to_fast() -> None:
    """With the reviewing agents allowed on a cloud, each 0.20 USD buys minutes; nothing paid is the plan as it was."""
    points = frontier(CLOUDED, hybrid)

    assert points[0].cost_micro_usd == 0
    assert points[0].makespan_ms == hybrid(fourteen_agents("map", 4)).makespan_ms
    assert len(points) >= 3
    assert all(row.cost_micro_usd % 200_000 == 0 for row in points)
    assert points[-1].makespan_ms < points[0].makespan_ms - 10 * 60_000


def test_one_instance_has_one_frontier() -> None:
    """Asked twice, the same points and the same plans."""
    assert frontier(CLOUDED, model_first) == frontier(CLOUDED, model_first)


def test_the_planner_is_asked_no_more_often_than_allowed() -> None:
    """Eleven calls in any case, then up to the limit."""
    calls = 0

    def counted(instance: Instance) -> Plan:
        nonlocal calls
        calls += 1
        return hybrid(instance)

    frontier(CLOUDED, counted, plans=14)
    assert 11 <= calls <= 14
    calls = 0
    frontier(CLOUDED, counted, plans=1)
    assert calls == 11
    calls = 0
    frontier(fourteen_agents(), counted)
    assert calls == 1


def test_a_planner_that_knows_no_prices_still_yields_a_frontier() -> None:
    """It only ever looks for the shortest plan; forbidding paid choices one by one finds the cheaper ones."""

    def shortest(instance: Instance) -> Plan:
        return hybrid(Instance(hosts=instance.hosts, tasks=instance.tasks, minute_price_micro_usd=10**12))

    points = frontier(CLOUDED, shortest)

    assert points[0].cost_micro_usd == 0
    assert points[-1].makespan_ms <= shortest(CLOUDED).makespan_ms < points[0].makespan_ms


def test_a_task_that_can_only_be_paid_for_is_never_forbidden() -> None:
    """Its price is in every point."""
    hosts = (
        PlanHost(name="h", memory_bytes=1, models={"m": Serving(memory_bytes=1, load_ms=50)}),
        PlanHost(name="sky", cloud=True, models={"api": Serving(slots=5)}),
    )
    paid = Choice(models=("api",), duration_ms=100, cost_micro_usd=7)
    tasks = (
        PlanTask(id="must", choices=(paid,)),
        PlanTask(id="may", choices=(Choice(models=("m",), duration_ms=100), paid)),
    )

    points = frontier(Instance(hosts=hosts, tasks=tasks), hybrid)

    assert [(row.cost_micro_usd, row.makespan_ms) for row in points] == [(7, 150), (14, 100)]


def test_a_task_that_finds_no_room_of_its_own_stays_paid_for() -> None:
    """Its free choice does not fit beside the pinned model: to forbid the cloud is no plan, and no reason to fail."""
    pinned = Serving(memory_bytes=5, pinned=True)
    box = PlanHost(name="h", memory_bytes=9, models={"p": pinned, "m": Serving(memory_bytes=6)}, resident=("p",))
    sky = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=5)})
    choices = (
        Choice(models=("m",), duration_ms=10),
        Choice(models=("api",), duration_ms=100, cost_micro_usd=7),
    )

    points = frontier(Instance(hosts=(box, sky), tasks=(PlanTask(id="t", choices=choices),)), hybrid)

    assert [(row.cost_micro_usd, row.makespan_ms) for row in points] == [(7, 100)]


@given(instance=instances(max_tasks=7))
def test_the_cheapest_point_costs_no_more_than_it_must(instance: Instance) -> None:
    """The sum of each task's cheapest choice that has a place: nothing cheaper exists at all."""
    least = 0
    for task in instance.tasks:
        least += min(
            choice.cost_micro_usd for choice in task.choices if has_place(replace(task, choices=(choice,)), instance)
        )

    assert frontier(instance, hybrid)[0].cost_micro_usd == least


@pytest.mark.parametrize(("minute_price", "cost"), [(0, 0), (5, 0), (10, 0), (11, 10), (1_000_000, 10)])
def test_the_best_point_depends_on_what_a_minute_is_worth(minute_price: int, cost: int) -> None:
    """A minute less for ten micro-dollars: worth it as soon as a minute is worth more than that."""
    points = (point(120_000, 0), point(119_999, 5), point(60_000, 10))

    assert best_at(points, minute_price).cost_micro_usd == cost
    with pytest.raises(ValueError, match="empty"):
        best_at((), minute_price)
