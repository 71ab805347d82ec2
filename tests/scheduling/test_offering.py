"""Places that became free are offered in turn: who gets one is as if every class had been looked at, at a fraction of
the decisions.
"""

import msgspec
import pytest
from hypothesis import settings

from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import ProbeStatus, Session, WorkerOffer
from ostler.domain.states import TaskState, WaitCode
from ostler.domain.tasks import TaskKind
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


HERE = "http://127.0.0.1"
MACHINES = ("east", "west")


class TiedRig(TwinRig):
    """With model servers at addresses that only workers of their machines reach."""

    def tell(self, signal: sig.Signal) -> list[Effect]:
        if isinstance(signal, sig.EndpointAdded) and signal.spec.local:
            spec = msgspec.structs.replace(
                signal.spec, url=f"{HERE}:11434", host=MACHINES[ord(signal.spec.name[-1]) % 2]
            )
            signal = msgspec.structs.replace(signal, spec=spec)
        if isinstance(signal, sig.WorkerJoined):
            session = signal.session
            hosts = MACHINES if session.offer.name == "late" else (MACHINES[len(self.rows) % 2],)
            offer = msgspec.structs.replace(session.offer, host=session.id, host_aliases=hosts)
            signal = msgspec.structs.replace(signal, session=msgspec.structs.replace(session, offer=offer))
        return super().tell(signal)


class TiedTwins(Fleet):
    """The same where it matters which worker is free."""

    kind_of_rig = TiedRig


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTiedTwins = TiedTwins.TestCase
TestTiedTwins.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


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


def tied(rig: Rig, host: str, *, slots: int = 1) -> None:
    """A model server that only workers of its machine reach."""
    rig.up(msgspec.structs.replace(local(f"gpu-{host}", slots=slots, host=host), url=f"{HERE}:11434"))


def test_work_goes_where_somebody_who_is_free_reaches_the_model() -> None:
    """Not to the endpoint that would be first, whose machine has nobody free; when nobody is, it waits for either."""
    rig = Rig()
    tied(rig, "east", slots=4)
    tied(rig, "west", slots=4)
    rig.worker("e", chat=1, host="east")
    rig.worker("w", chat=1, host="west")
    for number in range(4):
        rig.chat(f"t{number}")

    assert {rig.rows[name].endpoint for name in ("t0", "t1")} == {"gpu-east", "gpu-west"}
    assert rig.wait_code("t2") == WaitCode.CAPACITY.value
    rig.finish("t1")
    rig.finish("t0")
    assert {rig.rows[name].endpoint for name in ("t2", "t3")} == {"gpu-east", "gpu-west"}


def test_a_place_that_a_live_call_leaves_goes_to_the_worker_beside_it() -> None:
    """Who waits for a worker does not wait for one alone where the model of a free one was taken."""
    rig = Rig()
    tied(rig, "east")
    tied(rig, "west")
    rig.worker("w", chat=2, host="west")
    rig.scheduler.books.take_slot("gpu-west", "qwen")  # as if a live call had come
    rig.chat("t")
    assert rig.rows["t"].state is TaskState.QUEUED

    assert rig.wait_code("t") == WaitCode.CAPACITY.value

    rig.scheduler.books.free_slot("gpu-west", "qwen")  # and gone
    rig.tell(sig.Wake())
    assert rig.rows["t"].endpoint == "gpu-west"


def test_the_hub_s_own_worker_reaches_every_place() -> None:
    """A loopback address is its own."""
    rig = Rig()
    tied(rig, "east")
    offer = WorkerOffer(name="hub", host="hub", builtin=True, slots={TaskKind.CHAT: 1})
    rig.tell(sig.WorkerJoined(session=Session(id="s", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)))
    rig.chat("t")
    assert rig.rows["t"].endpoint == "gpu-east"


def test_classes_that_no_free_worker_can_serve_are_not_asked(decisions: list[str]) -> None:
    """A worker is free, and the only model that it reaches is taken: an end elsewhere costs the decisions of those who
    can take its place.
    """
    rig = Rig()
    tied(rig, "east")
    tied(rig, "west")
    rig.worker("e", chat=1, host="east")
    rig.worker("w", chat=9, host="west")
    crowd(rig)
    assert sorted(rig.rows[name].endpoint or "" for name in ("t00", "t01")) == ["gpu-east", "gpu-west"]
    decisions.clear()

    rig.finish("t00")
    assert set(decisions) == {"t02"}


def test_those_behind_in_a_class_wait_as_before(decisions: list[str]) -> None:
    """The slot of a worker goes to the head; for the next one it is known already what it waits for, and why."""
    rig = Rig()
    rig.worker("a", chat=1)
    rig.up(local("gpu", slots=8))
    for number in range(4):
        rig.chat(f"t{number}")
    decisions.clear()

    rig.finish("t0")
    assert decisions == ["t1"]
    wait = rig.scheduler.wait_of("t2")
    assert wait is not None
    assert (wait.code, wait.detail) == (WaitCode.CAPACITY, "every worker slot for chat work is taken")
    held = rig.scheduler.books.queue.class_of("t2")
    assert held is not None
    assert held.hold is not None
    assert held.hold.decision.task_id == "t2"
    rig.tell(sig.EndpointRemoved(name="gpu"))
    rig.finish("t1")
    assert decisions[1:] != [], "when the fleet changes it is decided anew"
