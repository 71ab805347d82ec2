"""The seed's strategies A, B and C on its own instance, in every reading: minutes and loads, and what they break."""

import pytest

from bench.seed_table import TABLE, Row, declared, in_minutes
from ostler.planning.phases import BrokenOrderError
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import DECLARED, READINGS, Reading, fourteen_agents


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.reading}-{row.slots}")
def test_the_declared_strategies_take_exactly_as_long_as_the_table_says(row: Row) -> None:
    """A, B and C as declared, mended where they must be, in minutes and loads; every plan can be carried out."""
    instance = fourteen_agents(row.reading, row.slots)

    plans = declared(instance)

    assert [in_minutes(plan.makespan_ms) for plan in plans] == [row.a, row.b, row.c]
    assert {plan.loads for plan in plans} == {row.loads}
    assert [check_plan(instance, plan) for plan in plans] == [()] * 3


def test_slots_beyond_nine_change_nothing() -> None:
    """Nine coders are the widest group: unlimited slots give the plan of nine."""
    for strategy, order in DECLARED.items():
        nine, many = (planned(fourteen_agents("map", slots), strategy, order, repair=True) for slots in (9, 50))
        assert nine == many


def test_longest_first_mends_the_list_order_of_the_coding_phase() -> None:
    """On five slots the list order of A loses five minutes; the longest tasks first do not."""
    instance = fourteen_agents("phases", 5)
    durations = {task.id: task.choices[0].duration_ms for task in instance.tasks}
    order = [
        type(group)(name=group.name, tasks=tuple(sorted(group.tasks, key=lambda task: -durations[task])))
        for group in DECLARED["model-first"]
    ]

    plan = planned(instance, "model-first", tuple(order))

    as_listed = planned(instance, "model-first", DECLARED["model-first"])
    assert [in_minutes(row.makespan_ms) for row in (plan, as_listed)] == ["48.12", "53.12"]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("strategy", DECLARED)
def test_devops_before_its_reviews_is_refused_pair_by_pair(reading: Reading, strategy: str) -> None:
    """By map and diagram DevOps needs QA and Security, which all three run later; the phases reading needs neither."""
    instance = fourteen_agents(reading)
    if reading == "phases":
        assert check_plan(instance, planned(instance, strategy, DECLARED[strategy])) == ()
        return

    with pytest.raises(BrokenOrderError) as caught:
        planned(instance, strategy, DECLARED[strategy])

    assert [(pair.task, pair.need) for pair in caught.value.broken] == [("devops", "qa"), ("devops", "security")]


def test_the_mended_plan_says_what_was_moved() -> None:
    """One task moved, one return to the coding model more than the seed counts."""
    plan = planned(fourteen_agents(), "hybrid", DECLARED["hybrid"], repair=True)

    assert plan.detail == "follows the declared phases, mended: devops behind what it needs"
    assert [episode.model for episode in plan.episodes] == ["quality", "latest", "quality", "latest", "fast"]
