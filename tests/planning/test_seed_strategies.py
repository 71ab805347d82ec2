"""The seed's strategies A, B and C on its own instance, in every reading: minutes and loads, and what they break."""

import pytest

from ostler.planning.phases import BrokenOrderError
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import DECLARED, READINGS, Reading, fourteen_agents

# Reading, slots, loads, then minutes of A, B and C with DevOps behind QA and Security where the reading demands it.
TABLE: tuple[tuple[Reading, int, int, float, float, float], ...] = (
    ("map", 1, 5, 163.79, 163.79, 163.79),
    ("map", 2, 5, 103.79, 118.79, 113.79),
    ("map", 3, 5, 78.79, 108.79, 73.79),
    ("map", 4, 5, 68.79, 98.79, 73.79),
    ("map", 5, 5, 63.79, 93.79, 63.79),
    ("map", 9, 5, 53.79, 83.79, 63.79),
    ("mermaid", 2, 5, 113.79, 128.79, 113.79),
    ("mermaid", 4, 5, 78.79, 108.79, 88.79),
    ("mermaid", 9, 5, 68.79, 98.79, 78.79),
    ("phases", 2, 4, 98.12, 113.12, 98.12),
    ("phases", 4, 4, 58.12, 88.12, 58.12),
    ("phases", 5, 4, 53.12, 83.12, 48.12),
    ("phases", 9, 4, 38.12, 68.12, 48.12),
)


def minutes(plan: Plan) -> float:
    """As the table prints them: cut after the second decimal."""
    return plan.makespan_ms // 600 / 100


@pytest.mark.parametrize(("reading", "slots", "loads", "a", "b", "c"), TABLE)
def test_the_declared_strategies_take_exactly_as_long_as_the_table_says(
    reading: Reading, slots: int, loads: int, a: float, b: float, c: float
) -> None:
    """A, B and C as declared, mended where they must be, in minutes and loads; every plan can be carried out."""
    instance = fourteen_agents(reading, slots)

    plans = [planned(instance, strategy, DECLARED[strategy], repair=True) for strategy in DECLARED]

    assert [minutes(plan) for plan in plans] == [a, b, c]
    assert {plan.loads for plan in plans} == {loads}
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

    assert (minutes(plan), minutes(planned(instance, "model-first", DECLARED["model-first"]))) == (48.12, 53.12)


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
