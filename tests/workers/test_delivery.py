"""Tests of bringing reports to the hub, with a hub in memory and time that is moved by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ostler.domain.errors import ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from ostler.domain.work import Finished, Progress, Report, Started
from ostler.workers.delivery import CALL_LIMIT_S, PROGRESS_PAUSE_S, Delivery
from ostler.workers.timing import cancelled
from tests.workers.fake_hub import FakeHub, FakeLink
from tests.workers.timing_by_hand import HandTiming, settle
from tests.workers.work_made import OFFER


def started(task_id: str) -> Started:
    return Started(task_id=task_id, generation=1, at_ms=0)


def progress(task_id: str, tokens: int) -> Progress:
    return Progress(task_id=task_id, generation=1, at_ms=0, output_tokens=tokens)


def finished(task_id: str, output: str = "x") -> Finished:
    return Finished(task_id=task_id, generation=1, at_ms=0, ok=True, output=output)


class Bench:
    """A delivery under way to a fake hub."""

    def __init__(self) -> None:
        self.timing = HandTiming()
        self.hub = FakeHub(self.timing)
        self.delivery = Delivery(FakeLink(self.hub), self.timing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        session = self.hub.new_session(OFFER)
        task = asyncio.create_task(self.delivery.run(session.id))
        try:
            await settle()
            yield task
        finally:
            await cancelled(task)

    async def say(self, *reports: Report) -> None:
        for report in reports:
            self.delivery.add(report)
        await settle()

    @property
    def heard(self) -> list[Report]:
        return [report for _, report in self.hub.heard]


async def test_reports_are_delivered_at_once() -> None:
    """A start or an end is on its way without waiting for anything."""
    bench = Bench()
    async with bench.running():
        await bench.say(started("a"))
        await bench.say(finished("a"))

    assert bench.heard == [started("a"), finished("a")]


async def test_what_comes_together_goes_together() -> None:
    """Reports that are there at the same time share a call."""
    bench = Bench()
    async with bench.running():
        await bench.say(started("a"), started("b"), finished("c"))

    assert bench.hub.calls == ["report"]
    assert len(bench.heard) == 3


async def test_progress_of_many_attempts_shares_a_call() -> None:
    """After a call, progress is collected for a moment; of each attempt the newest counts."""
    bench = Bench()
    async with bench.running():
        await bench.say(started("a"), started("b"))
        for tokens in range(1, 10):
            await bench.say(progress("a", tokens), progress("b", tokens))
        assert bench.hub.calls == ["report"]

        await bench.timing.advance(PROGRESS_PAUSE_S)

    assert bench.heard[2:] == [progress("a", 9), progress("b", 9)]
    assert bench.hub.calls == ["report", "report"]


async def test_an_end_does_not_wait_with_the_progress() -> None:
    """While progress is being collected, an end goes out at once and takes it along."""
    bench = Bench()
    async with bench.running():
        await bench.say(started("a"), started("b"))
        await bench.say(progress("a", 1))
        await bench.say(finished("b"))

    assert bench.heard[2:] == [progress("a", 1), finished("b")]


async def test_a_hub_out_of_reach_gets_everything_later() -> None:
    """While the hub is away nothing is lost, and it is asked less and less often."""
    bench = Bench()
    async with bench.running():
        bench.hub.is_down = True
        await bench.say(started("a"), finished("a"))
        await bench.timing.advance(60)
        tries = len(bench.hub.calls)
        assert 10 <= tries <= 20

        bench.hub.is_down = False
        await bench.timing.advance(5)

    assert bench.heard == [started("a"), finished("a")]


async def test_a_call_without_an_answer_is_repeated() -> None:
    """A report whose answer never came is sent again; the hub may then hear it twice."""
    bench = Bench()
    async with bench.running():
        bench.hub.silent.add("report")
        await bench.say(finished("a"))
        bench.hub.silent.clear()
        await bench.timing.advance(CALL_LIMIT_S + 1)

    assert bench.heard == [finished("a")]
    assert bench.hub.calls == ["report", "report"]


async def test_reports_outlive_their_session() -> None:
    """When the session is gone the delivery ends, and the next one brings what the last could not."""
    bench = Bench()
    async with bench.running() as task:
        bench.hub.forget("s1")
        await bench.say(started("a"), finished("a"))
        with pytest.raises(NotFoundError):
            await task

    async with bench.running():
        assert bench.hub.heard == [("s2", started("a")), ("s2", finished("a"))]


async def test_reports_outlive_a_delivery_that_was_cut_off() -> None:
    """A delivery that is cancelled in the middle of a call has forgotten nothing."""
    bench = Bench()
    bench.hub.silent.add("report")
    async with bench.running():
        await bench.say(finished("a"))
    bench.hub.silent.clear()

    async with bench.running():
        assert bench.heard == [finished("a")]


@pytest.mark.parametrize("kind", [InvalidInputError, ConflictError])
async def test_a_refused_report_does_not_hold_up_others(kind: type[InvalidInputError | ConflictError]) -> None:
    """A batch that is refused is sent report by report, and only what is refused alone is given up."""
    bench = Bench()
    bench.hub.refusals["report"] = [kind("bad batch"), kind("bad report")]
    async with bench.running():
        await bench.say(progress("bad", 1), started("a"), finished("b"))

    assert bench.heard == [started("a"), finished("b")]


async def test_an_end_that_is_too_large_arrives_without_its_output() -> None:
    """The hub learns of an end even when it will not take the output."""
    bench = Bench()
    bench.hub.refusals["report"] = [InvalidInputError("too large"), InvalidInputError("too large")]
    async with bench.running():
        await bench.say(finished("a", "large"))

    assert bench.heard == [finished("a", "")]


async def test_a_token_that_is_not_taken_loses_no_report() -> None:
    """A refusal of the worker itself is not a refusal of the report: it is tried again."""
    bench = Bench()
    bench.hub.refusals["report"] = [NotAllowedError("token"), NotAllowedError("token")]
    async with bench.running():
        await bench.say(finished("a"))
        await bench.timing.advance(1)

    assert bench.heard == [finished("a")]


async def test_waiting_for_delivery_ends_when_the_hub_has_all() -> None:
    """It ends at once when there is nothing, and not before the last report was taken."""
    bench = Bench()
    await asyncio.wait_for(bench.delivery.all_delivered(), 1)
    async with bench.running():
        bench.hub.is_down = True
        await bench.say(finished("a"))
        waiting = asyncio.create_task(bench.delivery.all_delivered())
        await settle()
        assert not waiting.done()

        bench.hub.is_down = False
        await bench.timing.advance(1)
        assert waiting.done()
