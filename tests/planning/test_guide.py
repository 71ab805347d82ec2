"""A plan in force: order and turns are followed, instants are not, and the two are shown side by side."""

import msgspec

from ostler.planning.actual import Call
from ostler.planning.guide import Guide, allowed_ms, guide_of, late_after_ms, turn_now, turns, versus
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan

MODEL = Serving(memory_bytes=20, load_ms=10, unload_ms=5, slots=2)
INSTANCE = Instance(
    hosts=(PlanHost(name="box", memory_bytes=32, models={"a": MODEL, "b": MODEL}),),
    tasks=(
        PlanTask(id="one", choices=(Choice(models=("a",), duration_ms=100),)),
        PlanTask(id="two", choices=(Choice(models=("a",), duration_ms=60),)),
        PlanTask(id="three", choices=(Choice(models=("b",), duration_ms=50),), needs=("one",)),
        PlanTask(id="four", choices=(Choice(models=("a",), duration_ms=30),), needs=("three",)),
    ),
)
PLAN = Plan(
    strategy="by-hand",
    episodes=(
        Episode(host="box", model="a", load_start_ms=0, ready_ms=10, unload_start_ms=110, unload_end_ms=115),
        Episode(host="box", model="b", load_start_ms=115, ready_ms=125, unload_start_ms=175, unload_end_ms=180),
        Episode(host="box", model="a", load_start_ms=180, ready_ms=190),
    ),
    placements=(
        Placement(task="one", host="box", start_ms=10, end_ms=110),
        Placement(task="two", host="box", start_ms=10, end_ms=70),
        Placement(task="three", host="box", start_ms=125, end_ms=175),
        Placement(task="four", host="box", start_ms=190, end_ms=220),
    ),
)


def adopted(plan: Plan = PLAN) -> Guide:
    return guide_of(plan, INSTANCE, batch="r-1", version=1, started_ms=1_000, reason="start")


def test_a_guide_lists_tasks_in_the_order_in_which_they_start() -> None:
    """Order is what is followed; of two that start together the shorter one is first, then the name decides."""
    assert [row.task for row in adopted().placements] == ["two", "one", "three", "four"]


def test_each_stay_of_a_model_is_a_turn_with_the_tasks_it_serves() -> None:
    """The same model twice on one host makes two turns."""
    rows = turns(adopted())["box"]

    assert [(turn.model, turn.tasks) for turn in rows] == [("a", ("two", "one")), ("b", ("three",)), ("a", ("four",))]
    assert [turn.until_ms for turn in rows] == [1_110, 1_175, 1_220]


def test_a_stay_without_work_is_no_turn() -> None:
    """What was resident at the start and serves nothing must not hold up the first turn."""
    idle = Episode(host="box", model="b", load_start_ms=0, ready_ms=0, unload_start_ms=0, unload_end_ms=5, initial=True)
    plan = msgspec.structs.replace(PLAN, episodes=(idle, *PLAN.episodes))

    assert [turn.model for turn in turns(adopted(plan))["box"]] == ["a", "b", "a"]


def test_the_turn_of_a_host_is_the_first_with_unfinished_tasks() -> None:
    """A turn ends with its last task, whatever the clock says; when all are over there is none."""
    rows = turns(adopted())["box"]

    assert turn_now(rows, frozenset())[0].model == "a"
    assert turn_now(rows, {"two"})[0].tasks == ("two", "one")
    assert [turn.model for turn in turn_now(rows, {"one", "two"})] == ["b", "a"]
    assert turn_now(rows, {"one", "two", "three", "four"}) == ()


def test_a_short_task_may_vary_by_seconds_and_a_long_one_by_a_share() -> None:
    """Late is what a new plan would be worth the trouble for."""
    assert late_after_ms(adopted()) == {"one": 10_100, "two": 10_060, "three": 10_050, "four": 10_030}
    assert allowed_ms(1_000_000) == 1_250_000


def test_planned_and_actual_stand_side_by_side_from_one_start() -> None:
    """Instants of both count from the start of the plan; what has not begun, or not ended, has none."""
    calls = [
        Call(label="one", host="box", start_ms=1_020, end_ms=1_150),
        Call(label="three", host="spare", start_ms=1_200),
    ]

    rows = {row.task: row for row in versus(adopted(), calls)}

    assert (rows["one"].start_ms, rows["one"].end_ms, rows["one"].late_ms) == (20, 150, 40)
    assert (rows["three"].host, rows["three"].start_ms, rows["three"].end_ms) == ("spare", 200, None)
    assert (rows["four"].host, rows["four"].start_ms, rows["four"].late_ms) == (None, None, None)


def test_a_guide_survives_being_stored() -> None:
    """It is kept with the run and read again after a restart."""
    guide = adopted()

    assert msgspec.json.decode(msgspec.json.encode(guide), type=Guide) == guide
