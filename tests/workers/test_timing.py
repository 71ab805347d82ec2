"""Tests of waiting: with an end, for the first of several, and longer after each failure."""

import asyncio
import time

import pytest

from ostler.domain.errors import UnreachableError
from ostler.workers.timing import Backoff, SystemTiming, first, within
from tests.workers.timing_by_hand import HandTiming, settle


async def answer_after(timing: HandTiming, seconds: float) -> str:
    await timing.sleep(seconds)
    return "answer"


async def test_an_answer_in_time_is_returned() -> None:
    """A call that ends in time gives its result, and nothing is left waiting."""
    timing = HandTiming()
    asking = asyncio.create_task(within(timing, 2, answer_after(timing, 1), "poll"))

    await timing.advance(1)

    assert asking.result() == "answer"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_without_an_answer_is_cancelled() -> None:
    """When time is up the call is ended and told as unreachable, with its name."""
    timing = HandTiming()
    asking = asyncio.create_task(within(timing, 2, answer_after(timing, 60), "poll"))

    await timing.advance(2)

    with pytest.raises(UnreachableError, match="poll: no answer within 2 s"):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_a_call_raises_is_raised() -> None:
    """The error of the call itself comes through."""

    async def fail() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await within(HandTiming(), 1, fail(), "x")
    with pytest.raises(ConnectionResetError):
        await first(fail(), asyncio.Event().wait())


async def test_cancelling_the_caller_cancels_the_call() -> None:
    """A caller that gives up leaves no call behind."""
    timing = HandTiming()
    for waiting in (
        within(timing, 60, answer_after(timing, 50), "x"),
        first(answer_after(timing, 50), answer_after(timing, 60)),
    ):
        task = asyncio.create_task(waiting)
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_pauses_grow_up_to_a_bound_and_start_over() -> None:
    """Each failure in a row doubles the pause up to the last; a success begins anew."""
    backoff = Backoff(first_s=0.5, last_s=3.0)

    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == 0.5


@pytest.mark.parametrize("through_suspend", [True, False])
async def test_the_systems_clock_tells_the_time(through_suspend: bool) -> None:
    """The real clock gives the epoch in milliseconds, and a stopwatch that runs while it sleeps."""
    timing = SystemTiming(through_suspend=through_suspend)
    assert abs(timing.now_ms() - time.time() * 1000) < 5_000

    begun_us = timing.stopwatch_us()
    await timing.sleep(0.02)

    assert 19_000 <= timing.stopwatch_us() - begun_us < 5_000_000
