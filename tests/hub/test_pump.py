"""The shell around the actor: order of effects, what waits for the commit, refusals, the alarm, the end."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from ostler.domain.commands import AppendEvents, PutSessions, UpdateTask
from ostler.domain.errors import NotFoundError
from ostler.domain.event import Event
from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.states import TaskState
from ostler.domain.tasks import Attempt, TaskKind, TaskSpec
from ostler.hub import committer as committer_module
from ostler.hub.accept import new_tasks
from ostler.hub.outbox import Outbox
from ostler.hub.pump import SLICE, Pump
from ostler.scheduling import Scheduler
from ostler.scheduling.effects import Apply, Effect, Emit, ProbeNow, Stop
from ostler.scheduling.signals import Cancel, Signal, Wake, WorkerJoined, WorkerLeft
from tests.hub.house import House, house
from tests.hub.stores import HeldStore, RefusingStore
from tests.scheduling.rig import three_tiers

OFFER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 4})
SESSION = Session(id="s", offer=OFFER, joined_ms=1, renewed_ms=1)


class Scripted:
    """An actor that answers every signal with what it was given, and wants to be woken when it was told to. It knows of
    no session.
    """

    def __init__(self, *effects: Effect) -> None:
        self.effects = list(effects)
        self.heard: list[Signal] = []
        self.due_ms: int | None = None
        self.books = SimpleNamespace(workers=SimpleNamespace(states={}))
        self.is_due = False

    def handle(self, signal: Signal, now_ms: int, *, most: int | None = None) -> list[Effect]:
        self.heard.append(signal)
        effects, self.effects = self.effects, []
        return effects

    def next_wake_ms(self) -> int | None:
        return self.due_ms


class StoppedClock:
    """An instant."""

    def now_ms(self) -> int:
        return 1_000_000

    def stopwatch_us(self) -> int:
        return 0


def pump_of(actor: Scripted, store: HeldStore) -> Pump:
    """A pump around a scripted actor."""
    return Pump(cast("Scheduler", actor), store, StoppedClock())


def said(name: str) -> Event:
    return Event(name=name, at_ms=1)


def command(task_id: str) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("true",))


async def test_effects_are_stored_in_their_order_in_one_batch() -> None:
    """Also events that change no task: the log tells what happened in the order in which it did."""
    store = HeldStore()
    effects: list[Effect] = [
        Emit(event=said("a")),
        Emit(event=said("b")),
        Apply(command=AppendEvents(events=(said("c"),))),
        Emit(event=said("d")),
        Apply(command=PutSessions(sessions=(SESSION,))),
        Emit(event=said("e")),
    ]
    pump = pump_of(Scripted(*effects), store)
    pump.start()
    await pump.post(Wake())
    await pump.stop()

    assert len(store.asked) == 1
    assert [event.name for event in await store.events()] == ["a", "b", "c", "d", "e"]
    assert pump.last_seq == 5


async def test_what_needs_no_store_is_done_at_once() -> None:
    """A stop and a hurried listing do not wait for the disk; for a session nobody knows there is nothing to do."""
    store = HeldStore()
    store.hold()
    probed: list[str] = []
    stops = [Stop(session_id=name, task_id="t", generation=1) for name in ("s", "gone")]
    pump = pump_of(Scripted(*stops, ProbeNow(endpoint="gpu"), Emit(event=said("a"))), store)
    pump.probe_now = probed.append
    pump.outboxes["s"] = Outbox()
    pump.start()
    posted = pump.start_signal(Wake())
    await store.came(1)

    assert probed == ["gpu"]
    assert (await pump.outboxes["s"].fetch(0, 1)).cancel == (("t", 1),)
    assert not posted.done()
    await store.let()
    await pump.stop()
    assert posted.done()


async def joined(built: House) -> asyncio.Task[bool]:
    """A worker joins; its session has an outbox as the link would give it one."""
    built.pump.outboxes["s"] = Outbox()
    return built.pump.start_signal(WorkerJoined(session=SESSION))


async def test_an_assignment_is_delivered_only_when_it_is_durable() -> None:
    """Until then nobody outside may know of it: it would be lost with the power."""
    store = HeldStore()
    async with house(store) as built:
        await built.hub.submit([command("t")])
        store.hold()
        joining = await joined(built)
        await store.came(3)
        assert (await built.pump.outboxes["s"].fetch(0, 1)).assignments == ()
        assert not joining.done()
        await store.let()
        await joining
        (found,) = (await built.pump.outboxes["s"].fetch(0, 1)).assignments

        assert (found.task_id, found.generation, found.spec) == ("t", 1, command("t"))
        detail = await store.task("t")
        assert detail is not None
        assert detail.task.state is TaskState.ASSIGNED


async def test_nothing_is_delivered_to_a_session_that_ended_meanwhile() -> None:
    """Its outbox is gone with it, and the attempt is taken back in the same log."""
    store = HeldStore()
    async with house(store) as built:
        await built.hub.submit([command("t")])
        store.hold()
        joining = await joined(built)
        await store.came(3)
        box = built.pump.outboxes["s"]
        leaving = built.pump.start_signal(WorkerLeft(session_id="s"))
        await store.let()
        await asyncio.gather(joining, leaving)

        assert (await box.fetch(0, 1)).assignments == ()
        assert built.pump.outboxes == {}
        detail = await store.task("t")
        assert detail is not None
        assert detail.task.state is TaskState.QUEUED
        names = [event.name for event in detail.events]
        assert names.index("task.assigned") < names.index("task.reclaimed") < names.index("task.retry_wait")


async def test_a_refusal_goes_back_to_the_actor_which_decides_again() -> None:
    """The refused assignment reaches nobody, the second one does."""
    store = RefusingStore(lambda command: command.task.state is TaskState.ASSIGNED)
    async with house(store) as built:
        await built.hub.submit([command("t")])
        await (await joined(built))
        found = await built.pump.outboxes["s"].fetch(5_000, 1)

        assert store.refused == 1
        assert [(one.task_id, one.generation) for one in found.assignments] == [("t", 1)]
        names = [event.name for event in await store.events(limit=1000)]
        assert names.count("scheduler.refused") == names.count("task.assigned") == 1
        assert built.pump.scheduler.books.workers.states["s"].attempts == {"t": 1}


@pytest.mark.parametrize("finished_ms", [None, 9])
async def test_an_attempt_whose_end_is_refused_is_over_all_the_same(finished_ms: int | None) -> None:
    """The store had its end, and only the answer was lost: its key must not be left open. One that goes on keeps it."""
    spec = TaskSpec(id="t", kind=TaskKind.AGENT, prompt="mend it")
    (row,) = new_tasks([spec], three_tiers(), first_seq=1, now_ms=1, settled={})
    task = msgspec.structs.replace(row.task, generation=1, state=TaskState.EVALUATING)
    attempt = Attempt(
        task_id="t", generation=1, session="s", worker="w", tier="", assigned_ms=1, finished_ms=finished_ms
    )
    update = UpdateTask(
        task=task, attempt=attempt, expect_generation=1, expect_states=(TaskState.RUNNING,), events=(said("e"),)
    )
    ended: list[tuple[str, int]] = []
    pump = pump_of(Scripted(Apply(command=update)), HeldStore())
    pump.attempt_ended = lambda task, generation: ended.append((task.id, generation))
    pump.start()
    await pump.post(Wake())
    await pump.stop()

    assert ended == ([("t", 1)] if finished_ms is not None else []), "the store knows of no such task"


async def test_what_the_actor_refuses_is_raised_to_who_asked_and_stores_nothing() -> None:
    """Others are not disturbed."""
    store = HeldStore()
    async with house(store) as built:
        with pytest.raises(NotFoundError):
            await built.pump.post(Cancel(task_id="nobody"))

        assert store.asked == []


async def test_who_gives_up_waiting_does_not_undo_what_was_begun() -> None:
    """A client that hangs up has been heard all the same."""
    store = HeldStore()
    store.hold()
    pump = pump_of(Scripted(Emit(event=said("a"))), store)
    pump.start()
    asking = asyncio.create_task(pump.post(Wake()))
    await store.came(1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await store.let()
    await pump.stop()

    assert [event.name for event in await store.events()] == ["a"]


async def test_followers_are_woken_when_news_are_durable_and_not_before() -> None:
    """By the actor's own commands and by those that are no business of it."""
    store = HeldStore()
    store.hold()
    pump = pump_of(Scripted(Emit(event=said("a"))), store)
    pump.start()
    woken: list[int] = []

    async def follow() -> None:
        async with pump.news:
            await pump.news.wait()
            woken.append(pump.last_seq)

    following = asyncio.create_task(follow())
    posted = pump.start_signal(Wake())
    await store.came(1)
    assert woken == []
    await store.let()
    await asyncio.wait_for(following, 5)
    await posted
    await pump.apply([AppendEvents(events=(said("b"),))])
    await pump.stop()

    assert (woken, pump.last_seq) == ([1], 2)


class Alarms:
    """The loop's timers of the pump, played by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []
        loop = asyncio.get_running_loop()
        real = loop.call_later

        def call_later(delay_s: float, callback: Callable[..., None], *rest: object) -> asyncio.TimerHandle:
            if getattr(callback, "__name__", "") != "_ring":
                return real(delay_s, callback, *rest)
            handle = real(3_600, callback)
            self.set.append((delay_s, callback, handle))
            return handle

        monkeypatch.setattr(loop, "call_later", call_later)


async def test_the_alarm_rings_when_the_actor_wants_to_be_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One alarm, set anew for an earlier instant only; an instant that has passed rings at once; one that rings before
    its time, because its reason has gone, wakes nobody and is set for what is due then.
    """
    alarms = Alarms(monkeypatch)
    actor = Scripted()
    pump = pump_of(actor, HeldStore())
    pump.start()
    for due_ms in (1_007_500, 1_007_500, 1_002_000, 1_060_000, None):
        actor.due_ms = due_ms
        await pump.post(Cancel(task_id="t"))
    assert [delay_s for delay_s, _, _ in alarms.set] == [7.5, 2.0]
    assert [handle.cancelled() for _, _, handle in alarms.set] == [True, False]
    actor.due_ms = 1_060_000
    alarms.set[-1][1]()
    assert not any(isinstance(signal, Wake) for signal in actor.heard), "it rang too early"
    assert alarms.set[-1][0] == 60.0
    actor.due_ms = 999_000
    await pump.post(Cancel(task_id="t"))
    delay_s, ring, handle = alarms.set[-1]
    ring()
    for _, _, handle in alarms.set:
        handle.cancel()
    await pump.stop()

    assert delay_s == 0.0
    assert isinstance(actor.heard[-1], Wake)


async def test_a_stopped_pump_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its alarm is off, and one that rings all the same is not answered."""
    alarms = Alarms(monkeypatch)
    actor = Scripted()
    actor.due_ms = 1_000_500
    pump = pump_of(actor, HeldStore())
    pump.start()
    await pump.post(Cancel(task_id="t"))
    await pump.stop()
    _, ring, handle = alarms.set[-1]
    assert handle.cancelled()
    heard, count = len(actor.heard), len(alarms.set)
    ring()
    assert len(actor.heard) == heard
    await pump.start_signal(Cancel(task_id="late"))

    assert len(alarms.set) == count, "a late signal sets no alarm that would outlive the hub"


async def test_a_real_alarm_wakes_the_actor() -> None:
    """With the loop's own timer: a pause is over by itself."""
    woken = asyncio.Event()

    class Sleeper(Scripted):
        def handle(self, signal: Signal, now_ms: int, *, most: int | None = None) -> list[Effect]:
            self.due_ms = None if isinstance(signal, Wake) else 1_000_020
            if isinstance(signal, Wake):
                woken.set()
            return []

    pump = pump_of(Sleeper(), HeldStore())
    pump.start()
    await pump.post(Cancel(task_id="t"))
    await asyncio.wait_for(woken.wait(), 5)
    await pump.stop()


class Counting(Scripted):
    """Remembers how many decisions it might make on each signal, and is due for a round until it has made two."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int | None]] = []
        self._rounds = 0

    def handle(self, signal: Signal, now_ms: int, *, most: int | None = None) -> list[Effect]:
        self.asked.append((type(signal).__name__, most))
        self._rounds += bool(most)
        self.is_due = self._rounds < 2
        return []


async def turns(count: int) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_together_is_taken_in_before_the_round_goes_on() -> None:
    """The first signal is answered at once; the others are only heard, and then the round that is due goes on, until
    it is not.
    """
    actor = Counting()
    pump = pump_of(actor, HeldStore())
    pump.start()
    await asyncio.gather(*(pump.start_signal(Cancel(task_id=f"t{number}")) for number in range(3)))
    await turns(3)
    await pump.stop()

    assert actor.asked == [("Cancel", SLICE), ("Cancel", 0), ("Cancel", 0), ("Wake", SLICE)]


async def test_signals_that_come_one_by_one_are_each_answered_at_once() -> None:
    """An idle hub makes nobody wait for its next turn."""
    actor = Counting()
    pump = pump_of(actor, HeldStore())
    pump.start()
    for number in range(4):
        await pump.post(Cancel(task_id=f"t{number}"))
        await turns(3)
    await pump.stop()

    assert {most for _, most in actor.asked} == {SLICE}


async def test_after_a_stop_no_part_of_a_round_is_made() -> None:
    """What was taken in is stored, and what is open goes on with the next start."""
    actor = Counting()
    pump = pump_of(actor, HeldStore())
    pump.start()
    answered = pump.start_signal(Cancel(task_id="t"))
    await pump.stop()
    await answered
    await turns(3)

    assert actor.asked == [("Cancel", SLICE)]


async def test_a_stop_answers_who_waits_for_the_store() -> None:
    """What was handed over is stored, and whoever asked is told so, instead of waiting for ever."""
    store = HeldStore()
    store.hold()
    pump = pump_of(Scripted(), store)
    pump.start()
    applying = asyncio.ensure_future(pump.apply([AppendEvents(events=(said("a"),))]))
    await store.came(1)
    stopping = asyncio.ensure_future(pump.stop())
    await asyncio.sleep(0)
    await store.let()
    await asyncio.wait_for(asyncio.gather(applying, stopping), 5)

    assert [event.name for event in await store.events()] == ["a"]


async def test_a_store_that_gives_up_is_told_to_who_waits_and_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub must stop; it must not pretend."""
    monkeypatch.setattr(committer_module, "RETRY_DELAYS_S", ())

    class Broken(HeldStore):
        async def apply(self, commands: object) -> list[object]:  # type: ignore[override]
            raise OSError(28, "No space left on device")

    pump = pump_of(Scripted(Emit(event=said("a"))), Broken())
    pump.start()
    with pytest.raises(OSError, match="No space"):
        await pump.post(Wake())
    assert pump.fatal is not None
    assert isinstance(await asyncio.wait_for(pump.fatal, 5), OSError)
    await pump.stop()
