"""A watch ends its task for one cause, names it, and never for another's slowness."""

import asyncio

import pytest

from ostler.gateway.watch import Cause, Watch
from tests.gateway.support import Client


async def watched(watch: Watch, seconds: float = 2.0) -> Cause | None:
    """Wait like a call does; the cause that ended it."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        return watch.caught()
    return None


async def test_a_client_that_goes_ends_the_call_at_once() -> None:
    """The cancellation comes with its cause, and the task can go on to clean up."""
    client = Client(b"")
    watch = Watch(client.line, 10)
    asyncio.get_running_loop().call_later(0.01, client.hang_up)
    assert await watched(watch) is Cause.GONE
    await asyncio.sleep(0)  # a task that caught it is not cancelled any more
    watch.close()


@pytest.mark.parametrize(
    ("arm", "cause"),
    [
        (lambda watch: None, Cause.DEADLINE),
        (lambda watch: watch.expect_first(0.02), Cause.FIRST_TOKEN),
        (lambda watch: watch.expect_more(0.02), Cause.STALLED),
    ],
)
async def test_each_limit_of_time_ends_the_call_with_its_own_cause(arm: object, cause: Cause) -> None:
    """The deadline, the first piece, the next piece."""
    client = Client(b"")
    watch = Watch(client.line, 0.1)
    assert callable(arm)
    arm(watch)
    assert await watched(watch) is cause
    watch.close()


async def test_pieces_that_keep_coming_never_stall() -> None:
    """Only the time since the last piece counts, not the time since the first."""
    client = Client(b"")
    watch = Watch(client.line, 10)
    watch.expect_more(0.06)
    for _ in range(8):
        await asyncio.sleep(0.02)
        watch.touch()
    assert watch.cause is None
    assert await watched(watch) is Cause.STALLED
    watch.close()


async def test_a_client_that_reads_slowly_is_no_stall_of_the_endpoint() -> None:
    """While a write waits for the client, the endpoint's limit does not run."""
    client = Client(b"")
    watch = Watch(client.line, 0.15)
    watch.expect_more(0.02)
    watch.reading = False
    assert await watched(watch) is Cause.DEADLINE
    watch.close()


async def test_an_attempt_that_was_too_late_leaves_the_call_alive() -> None:
    """After a first token that did not come, the next attempt has its own limit, and the client is still watched."""
    client = Client(b"")
    watch = Watch(client.line, 10)
    watch.expect_first(0.01)
    assert await watched(watch) is Cause.FIRST_TOKEN
    watch.expect_first(0.01)
    assert await watched(watch) is Cause.FIRST_TOKEN
    watch.expect_nothing()
    client.hang_up()
    assert await watched(watch) is Cause.GONE
    watch.close()


async def test_nothing_expected_means_only_the_deadline_counts() -> None:
    """In the queue no limit of an attempt runs."""
    client = Client(b"")
    watch = Watch(client.line, 0.1)
    watch.expect_first(0.02)
    watch.expect_nothing()
    assert await watched(watch) is Cause.DEADLINE
    watch.close()


async def test_a_closed_watch_ends_nothing() -> None:
    """After the call, neither timer nor client reaches the task."""
    client = Client(b"")
    watch = Watch(client.line, 0.02)
    watch.close()
    watch.close()
    watch.stop(Cause.STOPPED)
    client.hang_up()
    assert await watched(watch, 0.05) is None


async def test_a_cancellation_from_elsewhere_is_not_claimed() -> None:
    """A server that cancels the task is no client that left."""

    async def call() -> Cause | None:
        client = Client(b"")
        watch = Watch(client.line, 10)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cause = watch.caught()
            watch.close()
            if cause is None:
                raise
            return cause
        return None

    task = asyncio.create_task(call())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_deadline_is_what_is_left() -> None:
    """A call asks how long it may still wait."""
    client = Client(b"")
    watch = Watch(client.line, 5)
    assert 4.5 < watch.left_s() <= 5
    watch.close()
