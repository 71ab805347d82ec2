"""Slots that pools share, as the scheduler is told of them: tasks and calls alike take no more than the pool's part."""

from ostler.domain.fleet import SharedSlots
from ostler.domain.states import TaskState
from ostler.scheduling import signals as sig
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import local


def shared(slots: int, *pools: str) -> SharedSlots:
    return SharedSlots(slots=slots, total=4, pools=pools or ("lab",))


def rig_with(shares: dict[str, SharedSlots | None] | None) -> LiveRig:
    """A server with four slots, of which this was said before it was known, and workers enough."""
    rig = LiveRig()
    rig.tell(sig.SlotsShared(shares=shares))
    rig.worker(chat=9)
    rig.up(local("gpu", slots=4))
    return rig


def told(rig: LiveRig, share: SharedSlots | None) -> None:
    rig.tell(sig.SlotsShared(shares={"gpu": share}))


def busy(rig: LiveRig) -> int:
    return rig.scheduler.books.in_flight.get("gpu", 0)


def test_tasks_take_no_more_than_the_part() -> None:
    """And all of what it grows by, at once; what it shrinks by is taken from nobody, but goes to nobody either."""
    rig = rig_with({"gpu": shared(2)})
    for number in range(6):
        rig.chat(f"t{number}")
    assert busy(rig) == 2

    told(rig, shared(3))
    assert busy(rig) == 3

    told(rig, shared(1))
    rig.finish("t0")
    rig.finish("t1")
    assert busy(rig) == 1
    rig.finish("t2")
    assert busy(rig) == 1

    told(rig, None)
    assert [rig.state(f"t{number}") for number in (3, 4, 5)] == [TaskState.ASSIGNED] * 3


def test_live_calls_take_no_more_than_the_part() -> None:
    """Tasks and calls out of the same slots."""
    rig = rig_with({"gpu": shared(2)})
    rig.chat("task")
    for name in ("one", "two", "three"):
        rig.call(name)
    assert busy(rig) == 2

    told(rig, shared(4))
    assert busy(rig) == 4


def test_no_endpoint_is_called_before_it_was_looked_at() -> None:
    """From when it is said that slots are counted over pools; also one that is added later. Where nobody counts, all
    are called as ever.
    """
    rig = rig_with({})
    rig.chat("t0")
    assert busy(rig) == 0
    wait = rig.scheduler.wait_of("t0")
    assert wait is not None
    assert wait.code.value == "capacity"

    told(rig, None)
    assert busy(rig) == 1
    rig.up(local("late", slots=1))
    assert rig.scheduler.books.endpoints.views["late"].slots == 0

    rig.tell(sig.SlotsShared(shares=None))
    assert rig.scheduler.books.endpoints.views["late"].slots == 1
    assert rig.scheduler.books.endpoints.views["gpu"].share is None


def test_a_part_of_nothing_stops_all_and_is_no_outage() -> None:
    """The endpoint stays up: work waits for a slot, and does not leave its tier."""
    rig = rig_with({"gpu": shared(0)})
    rig.chat("t0")
    rig.pass_ms(3_000)

    assert rig.wait_code("t0") == "capacity"
    assert rig.named("endpoint.down") == []
    told(rig, shared(1))
    assert rig.state("t0") is TaskState.ASSIGNED


def test_a_spec_that_changes_keeps_its_part() -> None:
    """More declared slots are no more of them."""
    rig = rig_with({"gpu": shared(2)})
    rig.tell(sig.EndpointAdded(spec=local("gpu", slots=8)))
    assert rig.scheduler.books.endpoints.views["gpu"].slots == 2

    rig.tell(sig.EndpointAdded(spec=local("gpu", slots=1)))
    assert rig.scheduler.books.endpoints.views["gpu"].slots == 1


def test_why_names_the_pools_that_share_it() -> None:
    """With this pool's part and the whole."""
    rig = rig_with({"gpu": shared(1, "lab", "night")})
    rig.chat("t0")
    rig.chat("t1")

    task_class = rig.scheduler.books.queue.class_of("t1")
    assert task_class is not None
    assert task_class.hold is not None
    said = str(task_class.hold.decision)
    assert "slots are shared with pools lab, night: 1 of 4 here" in said
