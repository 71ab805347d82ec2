"""The table of the fourteen agents: bound, best plan and loads in every reading, and the effect of every change."""

import pytest

from bench.seed_table import (
    CHANGES,
    COLUMNS,
    OTHERS,
    SENSITIVITY,
    TABLE,
    Row,
    best,
    bounded,
    declared,
    in_minutes,
    others,
)
from ostler.planning.plan_checker import check_plan
from ostler.planning.whatif import Solve, answer
from ostler.simulate.fourteen_agents import fourteen_agents

# Each proof takes a second at most on an idle machine, some a few on a busy one.
SECONDS = 60.0
PROVEN = [row for row in TABLE if row.proven]
IN_TEST = [column for column in COLUMNS if column in {("map", 4), ("phases", 9)}]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.reading}-{row.slots}")
def test_the_bound_of_every_row_is_that_of_the_table(row: Row) -> None:
    """No solver takes part: the bound follows from a witness that another program checks."""
    assert in_minutes(bounded(fourteen_agents(row.reading, row.slots)).bound_ms) == row.bound


@pytest.mark.parametrize("row", PROVEN, ids=lambda row: f"{row.reading}-{row.slots}")
def test_the_best_plan_of_every_row_is_found_and_proven(row: Row) -> None:
    """Minutes and loads as in the table, and no plan is shorter: the bound of the solver meets it."""
    plan, certificate = best(fourteen_agents(row.reading, row.slots), SECONDS)

    assert (in_minutes(plan.makespan_ms), plan.loads) == (row.best, row.loads)
    assert certificate.bound_ms == plan.makespan_ms


def test_the_row_without_a_proof_claims_none() -> None:
    """Two slots under the map: between bound and best plan five minutes stay open, and nothing says otherwise."""
    (row,) = [row for row in TABLE if not row.proven]

    plan, certificate = best(fourteen_agents(row.reading, row.slots), seconds=2.0)

    assert certificate.bound_ms <= plan.makespan_ms
    assert plan.proven == (certificate.bound_ms == plan.makespan_ms)
    assert float(row.best) - 0.01 <= plan.makespan_ms / 60_000 <= float(row.a)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.reading}-{row.slots}")
def test_the_search_ends_at_the_best_plan_without_a_solver(row: Row) -> None:
    """In every row, by count of steps: the same plan each time, no longer than that of anybody else."""
    instance = fourteen_agents(row.reading, row.slots)

    plans = list(others(instance))

    assert [check_plan(instance, plan) for plan in plans] == [()] * len(OTHERS)
    assert in_minutes(plans[-1].makespan_ms) == row.best
    assert plans[-1].makespan_ms == min(plan.makespan_ms for plan in [*plans, *declared(instance)])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("column", IN_TEST, ids=lambda column: f"{column[0]}-{column[1]}")
def test_what_a_change_brings_is_proven(change: str, column: tuple[str, int]) -> None:
    """Free and slow swaps, another model allowed, an agent on a cloud, memory, a host: the best plan after each."""
    reading, slots = next(known for known in COLUMNS if known == column)
    plan, certificate = best(CHANGES[change](fourteen_agents(reading, slots)).after, SECONDS)

    assert in_minutes(plan.makespan_ms) == SENSITIVITY[change][COLUMNS.index((reading, slots))]
    assert certificate.bound_ms == plan.makespan_ms


def test_eight_gigabytes_more_save_three_minutes_for_certain() -> None:
    """Both sides are proven, so the answer may say that the change helps; the cloud's helps too, and costs."""
    solve: Solve = lambda instance: best(instance, SECONDS)  # noqa: E731 - one line says it
    instance = fourteen_agents("map", 4)

    memory = answer(CHANGES["40 GB"](instance), solve)
    cloud = answer(CHANGES["architect on a cloud"](instance), solve, memory.before)

    assert (memory.saved_ms, memory.certain, memory.added_cost_micro_usd) == (195_000, True, 0)
    assert (cloud.saved_ms, cloud.certain, cloud.added_cost_micro_usd) == (220_000, True, 120_000)
    assert (memory.before.loads, memory.after.loads, cloud.after.loads) == (5, 5, 4)
