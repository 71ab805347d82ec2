"""The hub's own link passes the suite of all links."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from ostler.domain.errors import ConflictError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import FINAL_STATES, Failure, FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished, Progress, Started
from ostler.hub.link import ALONE_LEASE_MS, LocalLink
from ostler.scheduling.signals import Cancel, WorkerLeft
from ostler.scheduling.timers import TimerKind
from ostler.store.errors import StoreError
from tests.hub.house import House, house
from tests.hub.stores import HeldStore
from tests.workers.link_conformance import LinkConformance


class Bench:
    """A link to a hub in memory."""

    def __init__(self, built: House) -> None:
        self.house = built
        self.link = built.hub.link
        self._count = 0

    async def give_work(self, session_id: str) -> None:
        self._count += 1
        name = self.house.pump.scheduler.books.workers.states[session_id].session.offer.name
        spec = TaskSpec(id=f"t{self._count}", kind=TaskKind.COMMAND, argv=("true",), worker=name)
        await self.house.hub.submit([spec])

    async def ask_cancel(self, assignment: Assignment) -> None:
        await self.house.pump.post(Cancel(task_id=assignment.task_id))

    async def lose(self, session_id: str) -> None:
        await self.house.pump.post(WorkerLeft(session_id=session_id))

    async def end_of(self, assignment: Assignment) -> bool | None:
        detail = await self.house.store.task(assignment.task_id)
        assert detail is not None
        attempt = next(one for one in detail.attempts if one.generation == assignment.generation)
        assert attempt.finished_ms is None or detail.task.state in FINAL_STATES or detail.task.failure is not None
        return attempt.ok


class TestLocalLink(LinkConformance):
    """In the same process."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with house() as built:
            yield Bench(built)


async def test_a_join_that_was_overtaken_takes_nothing_back() -> None:
    """It comes a second time, or after a later one of the same process, when the worker has begun what it was handed
    since: it is answered, and the worker keeps its work and its mail. The next one is new.
    """
    async with house() as built:
        link = built.hub.link
        offer = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2}, instance="w-1", life="a", joins=2)
        session = await link.join(offer)
        await built.hub.submit([TaskSpec(id="t1", kind=TaskKind.COMMAND, argv=("true",))])
        (assignment,) = (await link.poll(session.id, 100)).assignments
        await link.report(session.id, [Started(task_id="t1", generation=1, at_ms=built.clock.now_ms())])
        await built.hub.submit([TaskSpec(id="t2", kind=TaskKind.COMMAND, argv=("true",))])

        for late in (offer, replace(offer, joins=1)):
            assert (await link.join(late)).id == session.id

        assert (await built.hub.task("t1")).task.state is TaskState.RUNNING
        assert assignment.generation == (await built.hub.task("t1")).task.generation
        assert [item.task_id for item in (await link.poll(session.id, 100)).assignments] == ["t2"]

        assert (await link.join(replace(offer, joins=3))).id == session.id
        assert (await built.hub.task("t1")).task.state is not TaskState.RUNNING


async def test_another_process_of_the_daemon_counts_from_the_start() -> None:
    """After a restart its first join is heard, whatever the number of the last one before."""
    async with house() as built:
        link = built.hub.link
        offer = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}, instance="w-1", life="a", joins=7)
        session = await link.join(offer)
        again = await link.join(replace(offer, life="b", joins=1))

        assert again.id == session.id
        assert (again.offer.life, again.offer.joins) == ("b", 1)


@pytest.mark.parametrize(("takeover_ms", "inside_ms"), [(0, ALONE_LEASE_MS), (6_000, 6_000), (20_000, 15_000)])
@pytest.mark.parametrize("builtin", [True, False])
async def test_only_the_worker_inside_a_hub_that_is_alone_may_be_silent_for_long(
    takeover_ms: int, inside_ms: int, builtin: bool
) -> None:
    """Where another hub can take over, it gives the work of the worker inside to others: it has no longer than that one
    waits. Every answer says the same, and so does what the scheduler holds.
    """
    async with house() as built:
        built.pump.takeover_ms = takeover_ms
        session = await built.hub.link.join(WorkerOffer(name="w", host="h", slots={}, builtin=builtin))

        term_ms = built.pump.scheduler.books.policy.scheduler.session_dead_ms
        assert term_ms == 15_000
        expected_ms = inside_ms if builtin else term_ms
        assert await built.hub.link.heartbeat(session.id, None) == expected_ms
        assert (await built.hub.link.poll(session.id, 0)).lease_ms == expected_ms
        assert built.pump.scheduler.books.timers.due_ms(TimerKind.SESSION, session.id) is not None
        built.pump.scheduler.books.workers.set_suspect(session.id, 0)
        (row,) = (await built.hub.workers()).workers
        assert row.lost_ms is not None
        assert row.lost_ms - row.session.renewed_ms == expected_ms


async def running(built: House, offer: WorkerOffer) -> str:
    """A daemon joined with this offer runs a task; its session."""
    link = built.hub.link
    session = await link.join(offer)
    await built.hub.submit([TaskSpec(id="t1", kind=TaskKind.COMMAND, argv=("true",))])
    await link.poll(session.id, 100)
    await link.report(session.id, [Started(task_id="t1", generation=1, at_ms=built.clock.now_ms())])
    return session.id


FIRST = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2}, instance="w-1", life="a", joins=2, starts=7)
SECOND = replace(FIRST, life="b", joins=1, starts=8)


async def test_who_left_late_ends_nothing_of_the_process_after_it() -> None:
    """The request of a daemon that is gone comes when the next one goes on with its session and works: else its work
    would be given to others beside it.
    """
    async with house() as built:
        link = built.hub.link
        await link.join(FIRST)
        session = await running(built, SECOND)

        await link.leave(session, FIRST.life)

        assert (await built.hub.task("t1")).task.state is TaskState.RUNNING
        assert await link.heartbeat(session, None) > 0
        await link.leave(session, SECOND.life)
        assert (await built.hub.task("t1")).task.state is not TaskState.RUNNING


async def test_a_companion_that_is_late_ends_nothing_of_the_process_after_its_daemon() -> None:
    """What it says of an earlier one is no news; for that whose companion it is, it ends the session, once."""
    async with house() as built:
        link = built.hub.link
        session = await running(built, SECOND)

        await link.leave(session, FIRST.life, died=True)
        assert (await built.hub.task("t1")).task.state is TaskState.RUNNING

        await link.leave(session, SECOND.life, died=True)
        await link.leave(session, SECOND.life, died=True)
        assert (await built.hub.task("t1")).task.state is TaskState.QUEUED
        events = [event.name for event in (await built.hub.events(0, 100)).events]
        assert events.count("worker.lost") == 1
        assert "worker.left" not in events


async def test_a_late_join_of_an_earlier_process_is_refused() -> None:
    """It takes nothing back from the one that works. When that one has left, any may join: a folder from a backup
    counts its starts from an earlier one on.
    """
    async with house() as built:
        link = built.hub.link
        session = await running(built, SECOND)

        with pytest.raises(ConflictError, match="start 7 of worker w comes after its start 8"):
            await link.join(FIRST)

        assert (await built.hub.task("t1")).task.state is TaskState.RUNNING
        assert [item.task_id for item in (await link.poll(session, 0)).assignments] == []
        await link.leave(session, SECOND.life)
        assert (await link.join(FIRST)).id != session


async def test_a_daemon_that_counts_no_starts_is_let_in() -> None:
    """One of another version goes on with its session as before."""
    async with house() as built:
        link = built.hub.link
        session = await link.join(SECOND)

        assert (await link.join(replace(FIRST, starts=0))).id == session.id
        assert (await link.join(SECOND)).offer.life == "b"


async def test_a_poll_that_comes_twice_takes_no_stop_away() -> None:
    """Its answer goes to nobody; the worker is told with its next one, until the attempt has ended."""
    async with house() as built:
        link = built.hub.link
        session = await running(built, FIRST)
        await built.hub.cancel("t1", "a person says so")

        doubled, own = await link.poll(session, 0), await link.poll(session, 0)

        assert doubled.cancel == own.cancel == (("t1", 1),)
        failure = Failure(kind=FailureClass.CANCELLED, message="stopped", at_ms=1)
        await link.report(session, [Finished(task_id="t1", generation=1, at_ms=1, ok=False, failure=failure)])
        assert (await link.poll(session, 0)).cancel == ()


async def test_a_stop_waits_for_a_worker_that_has_not_polled_since_the_hub_started() -> None:
    """The session outlived the hub's process, its mail did not: what is for it now is kept until it asks."""
    async with house() as built:
        session = await running(built, FIRST)
        built.pump.outboxes.clear()  # as after a start: sessions are read from the store

        await built.hub.cancel("t1", "a person says so")

        assert (await built.hub.link.poll(session, 0)).cancel == (("t1", 1),)


async def test_an_assignment_waits_for_a_worker_that_has_not_polled_since_the_hub_started() -> None:
    """It is handed out with the first poll, not after a time-out."""
    async with house() as built:
        session = await running(built, FIRST)
        built.pump.outboxes.clear()

        await built.hub.submit([TaskSpec(id="t2", kind=TaskKind.COMMAND, argv=("true",))])

        assert [one.task_id for one in (await built.hub.link.poll(session, 1_000)).assignments] == ["t2"]


async def test_a_repeated_report_is_acknowledged_when_the_first_is_durable() -> None:
    """It changes nothing more, but the worker forgets the end once it is told that it has arrived."""
    store = HeldStore()
    async with house(store) as built:
        session = await running(built, FIRST)
        ends = [Finished(task_id="t1", generation=1, at_ms=1, ok=True)]
        store.hold()
        first = asyncio.create_task(built.hub.link.report(session, ends))
        await store.came(len(store.asked) + 1)
        again = asyncio.create_task(built.hub.link.report(session, ends))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not again.done()

        await store.let()
        await asyncio.gather(first, again)
        detail = await store.task("t1")
        assert detail is not None
        assert detail.task.state is TaskState.SUCCEEDED


async def test_what_a_report_brought_about_goes_on_when_the_worker_hangs_up() -> None:
    """The next task is handed out all the same: only the answer is for nobody."""
    store = HeldStore()
    async with house(store) as built:
        session = await running(built, replace(FIRST, slots={TaskKind.COMMAND: 1}))
        await built.hub.submit([TaskSpec(id="t2", kind=TaskKind.COMMAND, argv=("true",))])
        store.hold()
        ends = [Finished(task_id="t1", generation=1, at_ms=1, ok=True)]
        reporting = asyncio.create_task(built.hub.link.report(session, ends))
        await store.came(len(store.asked) + 1)
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)

        await store.let()
        assert [item.task_id for item in (await built.hub.link.poll(session, 1_000)).assignments] == ["t2"]


async def test_a_repeated_report_is_refused_once_the_store_has_given_up() -> None:
    """The hub stops, and the next one must hear of the end: the worker has to keep it."""
    async with house() as built:
        session = await running(built, FIRST)
        ends = [Finished(task_id="t1", generation=1, at_ms=1, ok=True)]
        built.pump.committer._given_up = StoreError("the disk is full")

        for _ in range(2):
            with pytest.raises(StoreError, match="the disk is full"):
                await built.hub.link.report(session, ends)
        built.pump.committer._given_up = None


async def test_a_late_word_of_an_older_attempt_is_no_sign_of_the_newer() -> None:
    """Neither its progress nor its end."""
    async with house() as built:
        assert isinstance(built.hub.link, LocalLink)
        signs = built.hub.link.signs
        signs.heard(Progress(task_id="t", generation=2, at_ms=1, output_tokens=5), 10)

        signs.heard(Progress(task_id="t", generation=1, at_ms=1, output_tokens=9), 20)
        signs.heard(Finished(task_id="t", generation=1, at_ms=1, ok=True), 30)

        sign = signs.of("t", 2)
        assert sign is not None
        assert (sign.heard_ms, sign.output_tokens) == (10, 5)
