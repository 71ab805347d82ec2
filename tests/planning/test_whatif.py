"""What-if questions: each change is the change that its words say, and an answer sets both sides beside each other."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.planning.certificate import Certificate
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, checked
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan, shortest_path
from ostler.planning.strategies import hybrid
from ostler.planning.whatif import (
    Question,
    add_host,
    add_memory,
    allow_model,
    answer,
    cost_micro_usd,
    outlook,
    scale_swaps,
    set_slots,
    to_cloud,
)
from ostler.simulate.fourteen_agents import GB, fourteen_agents
from tests.planning.varied import instances

SEED = fourteen_agents("map", 4)
REVIEWERS = ("qa", "security", "docs", "chief-architect")


def solve(instance: Instance) -> tuple[Plan, Certificate]:
    """A heuristic plan and the weakest honest bound."""
    return hybrid(instance), Certificate(bound_ms=shortest_path(instance)[0], kind="path")


def test_one_more_host_has_the_memory_and_models_of_the_one_it_is_like() -> None:
    """Its name is new, nothing is loaded on it, and the old host stays as it is."""
    question = add_host(SEED, "mac", count=2)

    assert question.said == "2 more hosts like mac"
    assert [host.name for host in question.after.hosts] == ["mac", "mac-2", "mac-3"]
    assert {host.memory_bytes for host in question.after.hosts} == {32 * GB}
    assert add_host(question.after, "mac").after.hosts[-1].name == "mac-4"


def test_a_choice_bound_to_the_copied_host_may_use_its_copy() -> None:
    """Else the new host would be there in vain."""
    host = PlanHost(name="h", models={"m": Serving()}, resident=("m",))
    choices = (Choice(models=("m",), duration_ms=1, hosts=("h",)),)
    question = add_host(Instance(hosts=(host,), tasks=(PlanTask(id="t", choices=choices),)), "h")

    assert question.after.tasks[0].choices[0].hosts == ("h", "h-2")
    assert [row.resident for row in question.after.hosts] == [("m",), ()]


def test_more_memory_is_added_and_told_in_gigabytes() -> None:
    """Eight more on 32 make 40: room for the small model beside a large one."""
    question = add_memory(SEED, "mac", 8 * GB)

    assert question.said == "40 GB instead of 32 GB of memory on mac"
    assert question.after.hosts[0].memory_bytes == 40 * GB


def test_a_model_is_allowed_for_those_who_could_not_use_it() -> None:
    """A choice more for the reviewers, as long as their first; who uses it already gets none twice."""
    question = allow_model(SEED, "latest", (*REVIEWERS, "python"))

    choices = {task.id: [choice.models[0] for choice in task.choices] for task in question.after.tasks}
    assert choices["qa"] == choices["chief-architect"] == ["quality", "latest"]
    assert choices["python"] == ["latest"]
    assert question.said == "latest allowed for qa, security, docs and chief-architect"


def test_slots_are_set_for_all_models_or_for_those_named_and_never_on_a_cloud() -> None:
    """A cloud's slots are its own affair."""
    clouded = to_cloud(SEED, ("qa",), 10_000).after

    every, one = set_slots(clouded, 9), set_slots(clouded, 9, ("latest",))

    mac, cloud = every.after.hosts
    assert {serving.slots for serving in mac.models.values()} == {9}
    assert cloud == clouded.hosts[1]
    assert [serving.slots for serving in one.after.hosts[0].models.values()] == [9, 4, 4]
    assert (every.said, one.said) == ("9 slots for every model", "9 slots for latest")


def test_a_task_on_the_cloud_leaves_its_own_models_behind_or_keeps_them_as_a_choice() -> None:
    """Moved, it has the cloud alone, at its price; allowed, one choice more."""
    moved = to_cloud(SEED, ("chief-architect",), 120_000)
    allowed = to_cloud(moved.after, ("qa", "docs"), 50_000, only=False)

    tasks = {task.id: task for task in allowed.after.tasks}
    assert [(choice.models, choice.cost_micro_usd) for choice in tasks["chief-architect"].choices] == [
        (("cloud",), 120_000)
    ]
    assert [choice.models[0] for choice in tasks["qa"].choices] == ["quality", "cloud"]
    assert moved.said == "chief-architect on cloud for 0.12 USD each"
    assert allowed.said == "qa and docs allowed on cloud for 0.05 USD each"
    assert [host.name for host in allowed.after.hosts] == ["mac", "cloud"]


@pytest.mark.parametrize(("permille", "said", "load_ms"), [(0, "swaps free", 0), (5000, "swaps x5", 112_500)])
def test_swaps_are_scaled(permille: int, said: str, load_ms: int) -> None:
    """Loads and unloads of every model on every host."""
    question = scale_swaps(SEED, permille)

    assert question.said == said
    assert question.after.hosts[0].models["latest"].load_ms == load_ms


BAD: dict[str, tuple[Callable[[], Question], str]] = {
    "host": (lambda: add_host(SEED, "mack"), "did you mean 'mac'"),
    "no host": (lambda: add_host(SEED, "mac", 0), "changes nothing"),
    "memory of nothing": (lambda: add_memory(SEED, "mac", 0), "changes nothing"),
    "memory of a cloud": (lambda: add_memory(to_cloud(SEED, ("qa",), 1).after, "cloud", 1), "without a limit"),
    "model": (lambda: allow_model(SEED, "latets", ("qa",)), "did you mean 'latest'"),
    "task": (lambda: allow_model(SEED, "latest", ("qaa",)), "did you mean 'qa'"),
    "allowed already": (lambda: allow_model(SEED, "latest", ("python",)), "may use latest already"),
    "slots of a model": (lambda: set_slots(SEED, 3, ("fats",)), "did you mean 'fast'"),
    "no slots": (lambda: set_slots(SEED, 0), "changes nothing"),
    "the same slots": (lambda: set_slots(SEED, 4), "changes nothing"),
    "nobody moved": (lambda: to_cloud(SEED, (), 1), "changes nothing"),
    "a cloud that is none": (lambda: to_cloud(SEED, ("qa",), 1, host="mac"), "is no cloud"),
    "swaps as they are": (lambda: scale_swaps(SEED, 1000), "changes nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_question_that_makes_no_sense_is_refused(case: str) -> None:
    """A misspelt name gets the nearest; a change that changes nothing is no question."""
    ask, said = BAD[case]

    with pytest.raises(InvalidInputError, match=said):
        ask()


def test_an_answer_sets_both_sides_beside_each_other() -> None:
    """Makespan, loads, bound and price before and after; the side before is planned once for many questions."""
    asked: list[Instance] = []

    def counted(instance: Instance) -> tuple[Plan, Certificate]:
        asked.append(instance)
        return solve(instance)

    before = outlook(SEED, counted)
    answers = [
        answer(question, counted, before)
        for question in (add_host(SEED, "mac"), to_cloud(SEED, ("chief-architect",), 120_000))
    ]

    assert len(asked) == 3
    assert [row.before for row in answers] == [before, before]
    assert all(row.saved_ms == before.makespan_ms - row.after.makespan_ms > 0 for row in answers)
    assert [row.added_cost_micro_usd for row in answers] == [0, 120_000]
    assert answers[1].after.loads < before.loads
    assert (before.bound_ms, answers[1].after.bound_ms) == (48 * 60_000, 48 * 60_000)


def test_a_saving_is_certain_only_against_a_proof_or_a_bound() -> None:
    """A new plan that beats an unproven old one proves nothing, unless it beats the old bound as well."""

    def sides(before_ms: int, bound_ms: int, after_ms: int) -> bool:
        lengths = iter((before_ms, after_ms))

        def fake(instance: Instance) -> tuple[Plan, Certificate]:
            choice = instance.tasks[0].choices[0]
            length = next(lengths)
            host = PlanHost(name="x", models={choice.models[0]: Serving()})
            timed = PlanTask(id="t", choices=(Choice(models=choice.models, duration_ms=length),))
            return hybrid(Instance(hosts=(host,), tasks=(timed,))), Certificate(bound_ms=bound_ms, kind="fake")

        task = PlanTask(id="t", choices=(Choice(models=("m",), duration_ms=1),))
        host = PlanHost(name="h", models={"m": Serving()})
        return answer(add_host(Instance(hosts=(host,), tasks=(task,)), "h"), fake).certain

    assert sides(before_ms=100, bound_ms=80, after_ms=90) is False
    assert sides(before_ms=100, bound_ms=80, after_ms=79) is True
    assert sides(before_ms=100, bound_ms=100, after_ms=99) is True


@given(instance=instances(max_tasks=6), data=st.data())
def test_every_change_leaves_an_instance_that_can_be_planned(instance: Instance, data: st.DataObject) -> None:
    """Whatever the instance: after the change it is valid, its tasks are the same, and its plan holds."""
    task = data.draw(st.sampled_from([row.id for row in instance.tasks]))
    asks: list[Callable[[], Question]] = [
        lambda: add_host(instance, "h0"),
        lambda: add_memory(instance, "h0", 5),
        lambda: set_slots(instance, 7),
        lambda: to_cloud(instance, (task,), 5, host="far", only=data.draw(st.booleans())),
        lambda: scale_swaps(instance, 5000),
    ]
    try:
        question = data.draw(st.sampled_from(asks))()
    except InvalidInputError as error:
        assert "changes nothing" in error.what  # noqa: PT017 - a refusal is one of two good outcomes
        return

    assert question.before == instance
    assert checked(question.after) == question.after
    assert [row.id for row in question.after.tasks] == [row.id for row in instance.tasks]
    plan = hybrid(question.after)
    assert check_plan(question.after, plan) == ()
    assert cost_micro_usd(question.after, plan) >= 0
