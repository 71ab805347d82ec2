"""What every `HubLink` must do, whichever way it takes to the hub.

To put a link to the test, derive a class named `Test...` from `LinkConformance` and give it a fixture `bench` that
yields a `HubBench`. The worker daemon relies on each of these claims.
"""

import asyncio
import contextlib
import time
from typing import Protocol

import pytest

from ostler.domain.errors import NotFoundError
from ostler.domain.fleet import HostReport, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.states import Failure, FailureClass, Outcome
from ostler.domain.tasks import TaskKind, Usage
from ostler.domain.work import Assignment, Finished, Poll, Progress, Started

OFFER = WorkerOffer(
    name="conformance",
    host="den",
    host_aliases=("den.example", "192.0.2.7"),
    slots={TaskKind.COMMAND: 4, TaskKind.CHAT: 4},
    capabilities=frozenset({"linux", "gpu"}),
    repos=("ostler",),
    version="1",
)
BOUND_S = 5.0
LONG_WAIT_MS = 4_000


class HubBench(Protocol):
    """A link under test, and a hand on the hub behind it."""

    link: HubLink

    async def give_work(self, session_id: str) -> None:
        """Make the hub assign one more attempt to the session, whose kind is one of the offer's; soon is enough."""
        ...

    async def ask_cancel(self, assignment: Assignment) -> None:
        """Make the hub want the attempt stopped."""
        ...

    async def lose(self, session_id: str) -> None:
        """Make the hub give the session up, as after missed heartbeats."""
        ...

    async def end_of(self, assignment: Assignment) -> bool | None:
        """`ok` of the attempt's end as the hub has it for good, `None` while it has none."""
        ...


class LinkConformance:
    """The suite. Claims are about what a worker sees through the link."""

    async def test_joining_opens_a_session_for_the_offer(self, bench: HubBench) -> None:
        """A session repeats the offer unchanged, and joining again opens another one."""
        one = await bench.link.join(OFFER)
        two = await bench.link.join(OFFER)

        assert one.offer == OFFER
        assert one.id
        assert one.id != two.id

    async def test_a_heartbeat_renews_the_lease(self, bench: HubBench) -> None:
        """A heartbeat is answered with the length of the lease, with and without a host report."""
        session = await bench.link.join(OFFER)
        report = HostReport(host="den", at_ms=1, cpu_percent=12.5, ram_total_bytes=2**36, vram_used_bytes=None)

        assert await bench.link.heartbeat(session.id, None) > 0
        assert await bench.link.heartbeat(session.id, report) > 0

    async def test_an_unknown_session_is_not_found(self, bench: HubBench) -> None:
        """Heartbeat, poll and report of a session the hub does not know are refused as not found."""
        session_id = "no-such-session"
        with pytest.raises(NotFoundError):
            await bench.link.heartbeat(session_id, None)
        with pytest.raises(NotFoundError):
            await bench.link.poll(session_id, 0)
        with pytest.raises(NotFoundError):
            await bench.link.report(session_id, [Started(task_id="t", generation=1, at_ms=1)])

    async def test_a_lost_session_is_not_found(self, bench: HubBench) -> None:
        """A worker whose session was given up learns it at its next heartbeat and at its next poll."""
        session = await bench.link.join(OFFER)

        await bench.lose(session.id)

        with pytest.raises(NotFoundError):
            await bench.link.heartbeat(session.id, None)
        with pytest.raises(NotFoundError):
            await bench.link.poll(session.id, 0)

    async def test_a_poll_without_work_is_empty(self, bench: HubBench) -> None:
        """Without work a poll that does not wait answers at once, one that waits answers when its time is over."""
        session = await bench.link.join(OFFER)
        begun = time.monotonic()

        at_once = await bench.link.poll(session.id, 0)
        later = await bench.link.poll(session.id, 200)

        assert (at_once.assignments, at_once.cancel, later.assignments) == ((), (), ())
        assert at_once.lease_ms > 0
        assert time.monotonic() - begun < BOUND_S

    async def test_a_waiting_poll_wakes_up_for_work(self, bench: HubBench) -> None:
        """Work that comes while a poll waits is handed out long before the wait is over."""
        session = await bench.link.join(OFFER)
        begun = time.monotonic()
        polling = asyncio.create_task(self._poll_for_work(bench, session.id))
        await asyncio.sleep(0.05)

        await bench.give_work(session.id)
        assignment = await polling

        assert assignment.spec.id == assignment.task_id
        assert assignment.generation >= 1
        assert time.monotonic() - begun < LONG_WAIT_MS / 1000

    async def test_work_whose_answer_was_lost_is_handed_out_again(self, bench: HubBench) -> None:
        """An assignment is handed out until its start was reported, so that a lost answer loses no time."""
        session = await bench.link.join(OFFER)
        await bench.give_work(session.id)
        lost = await self._poll_for_work(bench, session.id)

        assert await self._poll_for_work(bench, session.id) == lost

        await bench.link.report(session.id, [Started(task_id=lost.task_id, generation=lost.generation, at_ms=1)])
        assert (await bench.link.poll(session.id, 0)).assignments == ()

    async def test_a_poll_that_was_given_up_loses_nothing(self, bench: HubBench) -> None:
        """Work that comes when a worker has just given up waiting is there at its next poll."""
        session = await bench.link.join(OFFER)
        polling = asyncio.create_task(bench.link.poll(session.id, LONG_WAIT_MS))
        await asyncio.sleep(0.05)
        polling.cancel()
        await asyncio.wait([polling])

        await bench.give_work(session.id)

        assert (await self._poll_for_work(bench, session.id)).task_id

    async def test_a_wish_to_stop_is_handed_out(self, bench: HubBench) -> None:
        """A poll names the attempts the hub wants stopped."""
        session = await bench.link.join(OFFER)
        await bench.give_work(session.id)
        assignment = await self._poll_for_work(bench, session.id)
        key = (assignment.task_id, assignment.generation)
        await bench.link.report(session.id, [Started(task_id=key[0], generation=key[1], at_ms=1)])

        await bench.ask_cancel(assignment)

        assert key in (await self._poll_until(bench, session.id, lambda poll: key in poll.cancel)).cancel

    async def test_a_report_is_kept_for_good_and_may_be_repeated(self, bench: HubBench) -> None:
        """When `report` returns the hub has it; the same reports again, late progress included, change nothing."""
        session = await bench.link.join(OFFER)
        await bench.give_work(session.id)
        assignment = await self._poll_for_work(bench, session.id)
        reports = life_of(assignment)

        await bench.link.report(session.id, reports)
        assert await bench.end_of(assignment) is True

        await bench.link.report(session.id, reports)
        assert await bench.end_of(assignment) is True

    async def test_a_failure_is_reported_with_its_class(self, bench: HubBench) -> None:
        """An attempt that failed arrives as failed, all fields given."""
        session = await bench.link.join(OFFER)
        await bench.give_work(session.id)
        assignment = await self._poll_for_work(bench, session.id)
        failure = Failure(kind=FailureClass.COMMAND, message="exit 3: ü", at_ms=2, retry_after_ms=5)
        key = {"task_id": assignment.task_id, "generation": assignment.generation}

        await bench.link.report(session.id, [Started(**key, at_ms=1)])  # type: ignore[arg-type]
        end = Finished(**key, at_ms=2, ok=False, failure=failure, exit_code=3)  # type: ignore[arg-type]
        await bench.link.report(session.id, [end])

        assert await bench.end_of(assignment) is False

    async def test_a_report_about_an_unknown_attempt_is_taken(self, bench: HubBench) -> None:
        """A report the hub has no use for is not the worker's problem: it is taken, so that it is not sent for ever."""
        session = await bench.link.join(OFFER)
        stray = Finished(task_id="never-heard-of", generation=7, at_ms=1, ok=True)

        await bench.link.report(session.id, [stray])
        await bench.link.report(session.id, [])

    async def test_leaving_ends_the_session(self, bench: HubBench) -> None:
        """After leaving, the session is not found; leaving again does no harm."""
        session = await bench.link.join(OFFER)

        await bench.link.leave(session.id)

        with pytest.raises(NotFoundError):
            await bench.link.heartbeat(session.id, None)
        with contextlib.suppress(NotFoundError):
            await bench.link.leave(session.id)

    async def test_closing_twice_does_no_harm(self, bench: HubBench) -> None:
        """A link may be closed again, and without having been used."""
        await bench.link.close()
        await bench.link.close()

    async def _poll_for_work(self, bench: HubBench, session_id: str) -> Assignment:
        return (await self._poll_until(bench, session_id, lambda poll: bool(poll.assignments))).assignments[0]

    async def _poll_until(self, bench: HubBench, session_id: str, holds: "PollTest") -> Poll:
        give_up = time.monotonic() + BOUND_S
        while not holds(poll := await bench.link.poll(session_id, LONG_WAIT_MS)):
            assert time.monotonic() < give_up, "the poll did not bring it in time"
        return poll


class PollTest(Protocol):
    def __call__(self, poll: Poll, /) -> bool: ...


def life_of(assignment: Assignment) -> list[Started | Progress | Finished]:
    """The reports of a good attempt, with text that JSON must escape."""
    task_id, generation = assignment.task_id, assignment.generation
    output = 'qu"ote \\ back\tslash\n\u2028 ünï \U0001f40e \ufffd'
    return [
        Started(task_id=task_id, generation=generation, at_ms=1),
        Progress(task_id=task_id, generation=generation, at_ms=2, output_tokens=3, tail=output),
        Finished(
            task_id=task_id,
            generation=generation,
            at_ms=3,
            ok=True,
            outcome=Outcome.VERIFIED,
            exit_code=0,
            output=output,
            output_bytes=99,
            usage=Usage(input_tokens=1, output_tokens=2, first_token_ms=3),
        ),
    ]
