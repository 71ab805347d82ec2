"""A worker's mail: handed out until it is reported about, stopped once, never more after the session is drained."""

import asyncio
import time

import pytest

from ostler.domain.tasks import TaskSpec
from ostler.domain.work import Assignment, Poll
from ostler.hub import outbox as outbox_module
from ostler.hub.outbox import Outbox

LEASE_MS = 15_000


def work(task_id: str, generation: int = 1) -> Assignment:
    """An attempt to run."""
    return Assignment(task_id=task_id, generation=generation, spec=TaskSpec(id=task_id), tier="direct")


async def fetched(outbox: Outbox, wait_ms: int = 0) -> Poll:
    """What a worker gets; a test that waits for ever fails."""
    return await asyncio.wait_for(outbox.fetch(wait_ms, LEASE_MS), 5)


@pytest.fixture
def repeat_ms(monkeypatch: pytest.MonkeyPatch) -> int:
    """A short pause before a repetition."""
    monkeypatch.setattr(outbox_module, "REPEAT_MS", 20)
    return 20


async def test_an_empty_box_answers_empty_when_the_wait_is_over() -> None:
    """With the lease, and not before."""
    outbox = Outbox()
    begun = time.monotonic()

    assert await fetched(outbox, 30) == Poll(lease_ms=LEASE_MS)
    assert time.monotonic() - begun >= 0.025


async def test_mail_that_comes_during_the_wait_is_handed_out_at_once() -> None:
    """The wait is for the first piece, not a pause."""
    outbox = Outbox()
    waiting = asyncio.create_task(fetched(outbox, 60_000))
    await asyncio.sleep(0)
    outbox.assign(work("a"))

    assert (await waiting).assignments == (work("a"),)


async def test_an_attempt_is_handed_out_again_until_it_is_reported_about(repeat_ms: int) -> None:
    """An answer lost on the way costs one pause; the others are not forgotten meanwhile."""
    outbox = Outbox()
    outbox.assign(work("a"))
    outbox.assign(work("b"))
    first = await fetched(outbox, 60_000)
    again = await fetched(outbox, 60_000)
    assert first.assignments == again.assignments == (work("a"), work("b"))
    outbox.confirm("a", 1)
    assert (await fetched(outbox, 60_000)).assignments == (work("b"),)
    outbox.confirm("b", 1)
    outbox.confirm("nobody", 1)

    assert (await fetched(outbox, repeat_ms)).assignments == ()


async def test_who_reports_nothing_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy hub is not asked by a thousand workers twice a second for what they have; any word of one begins anew."""
    pauses: list[float] = []
    at_once = asyncio.timeout

    def noted(delay_s: float) -> asyncio.Timeout:
        pauses.append(delay_s)
        return at_once(0)

    monkeypatch.setattr(asyncio, "timeout", noted)
    outbox = Outbox()
    outbox.assign(work("a"))
    outbox.assign(work("b"))
    for _ in range(8):
        assert (await outbox.fetch(60_000, LEASE_MS)).assignments == (work("a"), work("b"))
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]
    pauses.clear()
    outbox.confirm("b", 1)
    await outbox.fetch(60_000, LEASE_MS)
    await outbox.fetch(700, LEASE_MS)

    assert pauses == [0.5, 0.7]


async def test_a_report_about_an_older_attempt_confirms_nothing() -> None:
    """Attempts are told apart by generation."""
    outbox = Outbox()
    outbox.assign(work("a", 2))
    outbox.confirm("a", 1)

    assert (await fetched(outbox)).assignments == (work("a", 2),)


async def test_a_stop_is_handed_out_until_the_attempt_has_ended(repeat_ms: int) -> None:
    """An answer that is lost leaves nothing running that nobody wants; a sign of life does not take the stop back."""
    outbox = Outbox()
    outbox.assign(work("a"))
    outbox.assign(work("b"))
    outbox.stop("a", 1)
    poll = await fetched(outbox)

    assert (poll.assignments, poll.cancel) == ((work("b"),), (("a", 1),))
    outbox.confirm("a", 1)
    assert (await fetched(outbox, 60_000)).cancel == (("a", 1),)
    outbox.confirm("a", 1, ended=True)
    outbox.confirm("b", 1)
    assert (await fetched(outbox, repeat_ms)) == Poll(lease_ms=LEASE_MS)


async def test_a_stop_wakes_a_waiting_worker() -> None:
    """It kills now, not at the next poll."""
    outbox = Outbox()
    waiting = asyncio.create_task(fetched(outbox, 60_000))
    await asyncio.sleep(0)
    outbox.stop("a", 3)

    assert (await waiting).cancel == (("a", 3),)


async def test_a_drained_box_says_so_at_once_and_keeps_saying_it() -> None:
    """A worker that waits is woken; one that asks again need not wait."""
    outbox = Outbox()
    waiting = asyncio.create_task(fetched(outbox, 60_000))
    await asyncio.sleep(0)
    outbox.start_drain()

    assert (await waiting).drain
    assert (await fetched(outbox, 60_000)).drain
