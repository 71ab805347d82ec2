"""Places that became free are offered in turn: who gets one is as if every class had been looked at, at a fraction of
the decisions.
"""

import pytest
from hypothesis import settings

from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import ProbeStatus
from ostler.domain.states import TaskState, WaitCode
from ostler.routing.decide import decide
from ostler.scheduling import Scheduler, rounds
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Assign, Effect
from tests.scheduling.rig import HandClock, Rig, local
from tests.scheduling.test_properties import Fleet

CLASSES = 60
"""More of them than places, by far."""


class TwinRig(Rig):
    """Beside the scheduler a second one, which looks at every class that waits for a place whenever one is free."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = Scheduler(self.policy, HandClock())
        queue, endpoints = self.twin.books.queue, self.twin.books.endpoints
        queue.free = lambda name, whose="": queue.open_blocked_on(name)  # type: ignore[method-assign]
        endpoints.take_changed = lambda name: True  # type: ignore[method-assign]

    def tell(self, signal: sig.Signal) -> list[Effect]:
        effects = self.scheduler.handle(signal, self.now_ms)  # what it refuses it refuses before anything changed
        assert assigned(effects) == assigned(self.twin.handle(signal, self.now_ms)), (
            "an offer gave a place to somebody else"
        )
        for effect in effects:
            self.carry_out(effect)
        return effects


def assigned(effects: list[Effect]) -> list[tuple[str, str, str | None]]:
    """Who was given which place, in order."""
    return [
        (one.command.task.id, one.session_id, one.command.task.endpoint) for one in effects if isinstance(one, Assign)
    ]


class Twins(Fleet):
    """Every life of a fleet, with the second scheduler beside the first."""

    kind_of_rig = TwinRig


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were decided for, in order."""
    made: list[str] = []

    def counted(request: RouteRequest, *others: object) -> object:
        made.append(request.facts.id)
        return decide(request, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(rounds, "decide", counted)
    return made


def crowd(rig: Rig, *, capability: str = "") -> None:
    """As many classes as there are: each task has a repo of its own."""
    for number in range(CLASSES):
        rig.chat(f"t{number:02}", repo=f"repo{number}", requires=[capability] if capability else [])


def test_an_end_costs_the_decisions_of_those_who_can_take_the_place(decisions: list[str]) -> None:
    """One for the head of the order, which gets it. The others wait for the same place and are not asked."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    crowd(rig)
    decisions.clear()

    rig.finish("t00")

    assert decisions == ["t01"]
    assert [one.command.task.id for one in rig.sent] == ["t00", "t01"]
    assert all(rig.scheduler.wait_of(f"t{number:02}") is not None for number in range(2, CLASSES))


def test_each_of_several_places_is_offered(decisions: list[str]) -> None:
    """Two workers' slots for classes that wait for one: two start, in order, and a third finds none."""
    rig = Rig()
    session = rig.worker("a", chat=2)
    rig.up(local("gpu", slots=8))
    crowd(rig)
    decisions.clear()
    rig.worker("b", chat=2)

    assert decisions == ["t02", "t03"]
    decisions.clear()
    rig.tell(sig.WorkerLeft(session_id=session))
    assert {row.id for row in rig.rows.values() if row.state is TaskState.ASSIGNED} == {"t02", "t03"}
    assert rig.rows["t00"].state is TaskState.QUEUED


def test_the_slot_of_a_worker_that_does_not_suit_is_no_offer(decisions: list[str]) -> None:
    """Sixty classes that need what one busy worker has are not asked each time another one is free."""
    rig = Rig()
    rig.worker("able", chat=1, capabilities=("rare",))
    rig.worker("plain", chat=2)
    rig.up(local("gpu", slots=8))
    crowd(rig, capability="rare")
    rig.chat("easy")
    decisions.clear()

    rig.finish("easy")
    assert decisions == []
    rig.finish("t00")
    assert decisions == ["t01"]


def test_a_free_place_at_an_endpoint_helps_nobody_while_all_workers_are_busy(decisions: list[str]) -> None:
    """Who waits for a worker waits on, whatever becomes free elsewhere."""
    rig = Rig()
    rig.worker("a", chat=2, command=0)
    rig.up(local("gpu", slots=4))
    crowd(rig)
    decisions.clear()
    rig.finish("t00")
    before = len(decisions)
    rig.scheduler.books.take_slot("gpu", "qwen")  # as if a live call had come
    rig.scheduler.books.free_slot("gpu", "qwen")  # and gone
    rig.tell(sig.Wake())

    assert (before, decisions[before:]) == (1, [])


def test_a_worker_that_joins_is_looked_at_by_those_whom_nobody_suits(decisions: list[str]) -> None:
    """What they are told why they wait is of the workers there are."""
    rig = Rig()
    rig.up(local("gpu"))
    rig.chat("t")
    first = rig.scheduler.wait_of("t")
    rig.worker("w", chat=0)
    second = rig.scheduler.wait_of("t")

    assert first is not None
    assert second is not None
    assert (first.code, second.code) == (WaitCode.NO_WORKER, WaitCode.NO_WORKER)
    assert "no worker has joined" in first.detail
    assert "allows chat work" in second.detail
    assert decisions == ["t", "t"]


def test_a_listing_that_says_nothing_new_is_no_reason_to_decide(decisions: list[str]) -> None:
    """Two hundred endpoints are listed every few seconds; only one that changed is looked at again."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"), residents=("qwen",))
    crowd(rig)
    decisions.clear()
    rig.pass_ms(1_000)
    rig.probe("gpu", ProbeStatus.AVAILABLE, models=("qwen",), residents=("qwen",))

    assert decisions == []
    rig.probe("gpu", ProbeStatus.KEY_INVALID, models=("qwen",))
    assert len(decisions) == CLASSES - 1
