"""Tests of stopping a daemon: with grace, without, twice, before it began, and while the hub is away."""

import asyncio

import pytest

from ostler.domain.states import FailureClass
from tests.workers.daemon_bench import Bench
from tests.workers.timing_by_hand import settle
from tests.workers.work_made import command


async def test_a_stop_waits_for_what_runs() -> None:
    """Asked to stop, a worker takes nothing new, lets what runs end within the grace, reports it and leaves."""
    bench = await Bench().started()
    await bench.give(command("true"))
    stopping = asyncio.create_task(bench.worker.stop(60))
    await bench.timing.advance(1)
    bench.hub.give(command("true", task_id="t2"))
    await bench.timing.advance(20)
    assert not stopping.done()
    assert set(bench.runner.open) == {("t1", 1)}

    bench.runner.end("t1")
    await settle()
    await stopping

    assert bench.kinds() == {("t1", 1): None}
    assert bench.hub.left == ["s1"]
    assert bench.guard.said[-1] == "close"
    assert len(bench.runner.runs) == 1


async def test_a_stop_kills_what_outlasts_the_grace() -> None:
    """After the grace the rest is killed, reported as lost to the worker and not as a failure of the task."""
    bench = await Bench().started()
    await bench.give(command("true"))
    stopping = asyncio.create_task(bench.worker.stop())
    await bench.timing.advance(9.9)
    assert bench.runner.open
    await bench.timing.advance(0.2)
    await stopping

    assert bench.kinds() == {("t1", 1): FailureClass.WORKER_LOST}
    assert bench.hub.left == ["s1"]


async def test_a_second_stop_can_be_shorter() -> None:
    """Stopping again with less grace ends the waiting; both calls return, and so does a third."""
    bench = await Bench().started()
    await bench.give(command("true"))
    first = asyncio.create_task(bench.worker.stop(3_600))
    await bench.timing.advance(1)

    await asyncio.gather(first, bench.worker.stop(0))
    await bench.worker.stop()

    assert bench.hub.left == ["s1"]


async def test_a_stop_needs_no_start() -> None:
    """A worker that was never started stops without a word, and one that was stopped does not begin to serve."""
    bench = Bench()
    await bench.worker.stop()
    await bench.worker.closed()
    assert bench.hub.calls == []

    await bench.started()
    await bench.worker.closed()
    assert "join" not in bench.hub.calls


async def test_starting_twice_is_starting_once() -> None:
    """One daemon, one session."""
    bench = await Bench().started()
    await bench.started()

    assert bench.hub.calls.count("join") == 1
    await bench.stop()


async def test_a_stop_while_the_hub_is_away_ends() -> None:
    """A worker that cannot hand over its last reports gives up after a while instead of waiting for ever."""
    bench = await Bench().started()
    await bench.give(command("true"))
    bench.hub.is_down = True

    await bench.stop()

    assert bench.runner.open == {}


async def test_a_stop_ends_the_wait_for_a_hub() -> None:
    """A worker that never found its hub can be stopped at once."""
    bench = Bench()
    bench.hub.is_down = True
    await bench.started()
    await bench.timing.advance(30)

    await bench.worker.stop()

    assert bench.hub.calls.count("join") >= 5
    assert any("cannot join" in note for note in bench.notes)


async def test_a_session_lost_while_stopping_is_the_end() -> None:
    """A worker that drains and loses its session kills what runs and does not join again."""
    bench = await Bench().started()
    await bench.give(command("true"))
    stopping = asyncio.create_task(bench.worker.stop(3_600))
    await settle()

    bench.hub.forget("s1")
    await bench.timing.advance(6)
    await stopping

    assert bench.runner.open == {}
    assert bench.hub.calls.count("join") == 1


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_is_abandoned_leaves_nothing(turns: int) -> None:
    """However few turns of the loop after its start: its guard is closed, also when it had not begun."""
    bench = Bench()
    bench.worker.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await bench.worker.abandon()

    assert bench.guard.said[-1] == "close"
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_is_abandoned_twice_leaves_nothing(turns: int) -> None:
    """The second time while it cleans up after the first: the rest of that is done all the same."""
    bench = await Bench().started()
    await bench.give(command("true"))
    first = asyncio.ensure_future(bench.worker.abandon())
    for _ in range(turns):
        await asyncio.sleep(0)
    await bench.worker.abandon()
    await asyncio.gather(first, return_exceptions=True)

    assert "close" in bench.guard.said
    assert (bench.worker.running, bench.runner.open) == (0, {})
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_that_never_began_has_its_guard_closed() -> None:
    """It may have opened something when it was made."""
    bench = Bench()
    await bench.worker.stop()
    assert bench.guard.said == ["close"]
