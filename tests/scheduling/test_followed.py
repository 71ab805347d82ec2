"""Books of a plan in force."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.guide import Guide
from ostler.planning.plan import Episode, Placement
from ostler.scheduling.followed import Followed, place_of
from tests.scheduling.rig import Rig


def plan_of(order: list[str]) -> Guide:
    rows = tuple(
        Placement(task=name, host="box", start_ms=10 * at, end_ms=10 * at + 10) for at, name in enumerate(order)
    )
    stay = Episode(host="box", model="m", load_start_ms=0, ready_ms=0)
    return Guide(
        batch="run",
        version=1,
        started_ms=0,
        strategy="by-hand",
        makespan_ms=10 * len(order),
        placements=rows,
        episodes=(stay,),
        models=dict.fromkeys(order, ("m",)),
    )


@given(st.permutations(["a", "b", "c", "d"]), st.sets(st.integers(1, 40), min_size=4, max_size=4))
def test_planned_tasks_share_the_places_they_have_by_arrival(order: list[str], seqs: set[int]) -> None:
    """Nobody outside the plan is overtaken by more tasks, or by others, than without it; inside, the plan orders."""
    arrivals = dict(zip("abcd", sorted(seqs), strict=True))
    followed = Followed(plan_of(order), arrivals)

    assert sorted(followed.places.values()) == sorted(seqs)
    assert sorted(order, key=followed.places.__getitem__) == order


def test_tasks_that_ended_before_take_no_place() -> None:
    """A plan is adopted after a restart: what is final is not in the queue."""
    followed = Followed(plan_of(["a", "gone", "b"]), {"a": 7, "b": 3})

    assert followed.places == {"a": 3, "b": 7}


def test_a_task_of_no_plan_keeps_its_place() -> None:
    """Its arrival says where it stands."""
    rig = Rig()
    task = rig.rows[rig.chat("alone")]

    assert place_of({}, task, task.seq) == task.seq
    assert place_of({"run": Followed(plan_of(["a"]), {"a": 1})}, task, task.seq) == task.seq


def test_turns_are_passed_once() -> None:
    """What is over is not looked at again, and a host without turns has none."""
    followed = Followed(plan_of(["a", "b"]), {"a": 1, "b": 2})

    assert followed.turn_now("box")[0].tasks == ("a", "b")
    followed.finished |= {"a", "b"}
    assert followed.turn_now("box") == ()
    assert followed.turn_now("elsewhere") == ()
