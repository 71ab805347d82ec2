"""The road to the store: order, retries, and what happens when the store gives up."""

import asyncio
import gc
from collections.abc import Sequence
from typing import cast

import pytest

from ostler.domain.commands import AppendEvents, Applied, Command, RefusalReason, Refused, Result
from ostler.domain.event import Event
from ostler.domain.ports import Store
from ostler.hub import committer as committer_module
from ostler.hub.committer import Committer


class Flaky:
    """A store that fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.seen: list[str] = []

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.seen += [event.name for command in commands for event in cast("AppendEvents", command).events]
        return [Applied() for _ in commands]


def note(name: str) -> list[Command]:
    """A batch of one."""
    return [AppendEvents(events=(Event(name=name, at_ms=1),))]


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once here."""
    monkeypatch.setattr(committer_module, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


async def test_who_waits_for_a_committer_that_is_ended_does_not_wait_for_ever() -> None:
    """Whoever ends all tasks of a loop at once ends this one, too: what is under way, what waits, and what comes then
    is cancelled. The simulated world saw a hub that was killed while it started wait for its last word.
    """

    class Hanging(Flaky):
        async def apply(self, commands: Sequence[Command]) -> list[Result]:
            await asyncio.get_running_loop().create_future()
            return []

    before = asyncio.all_tasks()
    committer = Committer(cast("Store", Hanging(0)), lambda _: None)
    committer.start()
    under_way = committer.apply(note("under way"), must=True)
    await asyncio.sleep(0)
    waiting = committer.apply(note("waiting"))
    for task in asyncio.all_tasks() - before:
        task.cancel()

    done, _ = await asyncio.wait({under_way, waiting}, timeout=5)
    assert done == {under_way, waiting}
    assert under_way.cancelled()
    assert waiting.cancelled()
    assert committer.apply(note("late")).cancelled()
    await committer.stop()
    assert asyncio.all_tasks() == before


async def test_batches_are_applied_in_order_also_when_the_store_fails_in_between() -> None:
    """What was handed over first is stored first."""
    store = Flaky(2)
    committer = Committer(cast("Store", store), lambda _: None)
    committer.start()
    futures = []
    for i in range(20):
        futures.append(committer.apply(note(str(i)), must=True))
        if i % 3 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*futures)
    await committer.stop()

    assert store.seen == [str(i) for i in range(20)]
    assert committer.failing == ""


class NeedsTheFirst(Flaky):
    """Refuses what builds on a batch that is not stored yet, as the guards of a real store do."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        name = cast("AppendEvents", commands[0]).events[0].name
        if name != "first" and "first" not in self.seen:
            return [Refused(reason=RefusalReason.WRONG_STATE, message="too early")]
        return await super().apply(commands)


async def test_what_was_judged_before_a_failed_batch_was_stored_is_asked_again() -> None:
    """Both were handed over at once; the first failed and was stored at the second try. What builds on it was refused
    meanwhile, and is stored all the same.
    """
    store = NeedsTheFirst(1)
    committer = Committer(cast("Store", store), lambda _: None)
    committer.start()

    answers = await asyncio.gather(*(committer.apply(note(name), must=True) for name in ("first", "second", "third")))
    await committer.stop()

    assert store.seen == ["first", "second", "third"]
    assert answers == [[Applied()]] * 3


async def test_a_refusal_without_a_failure_before_it_stands() -> None:
    """Asking again is for what an earlier batch was missing, not for what is wrong by itself."""
    store = NeedsTheFirst(0)
    committer = Committer(cast("Store", store), lambda _: None)
    committer.start()

    (answer,) = await committer.apply(note("second"), must=True)
    await committer.stop()

    assert isinstance(answer, Refused)
    assert store.seen == []


async def test_a_store_that_gives_up_tells_every_waiter_and_the_hub_once() -> None:
    """Going on would promise what is not durable."""
    fatal: list[BaseException] = []
    committer = Committer(cast("Store", Flaky(100)), fatal.append)
    committer.start()
    first, second = committer.apply(note("a"), must=True), committer.apply(note("b"), must=True)
    with pytest.raises(OSError, match="No space"):
        await first
    with pytest.raises(OSError, match="No space"):
        await second
    await committer.stop()

    assert len(fatal) == 1


async def test_after_the_end_every_batch_is_told_at_once_and_nobody_is_told_by_a_traceback() -> None:
    """Whoever comes after a store that gave up does not wait for ever; a failure that nobody waits for is no error of
    the program.
    """
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    ends: list[BaseException] = []
    committer = Committer(cast("Store", Flaky(1_000)), ends.append)
    committer.start()
    for number in range(3):
        _ = committer.apply(note(str(number)), must=True)  # nobody waits for them
    for _ in range(100):
        await asyncio.sleep(0)

    late = committer.apply(note("late"), must=True)
    with pytest.raises(OSError, match="No space left"):
        await asyncio.wait_for(late, 1.0)
    assert len(ends) == 1
    del committer, late
    gc.collect()
    await asyncio.sleep(0)

    assert complaints == []


async def test_stopping_commits_what_waits() -> None:
    """Nothing that was accepted is dropped."""
    store = Flaky(0)
    committer = Committer(cast("Store", store), lambda _: None)
    committer.start()
    future = committer.apply(note("last"))
    await committer.stop()
    await committer.stop()

    assert future.done()
    assert store.seen == ["last"]


class Picky:
    """A store that cannot store one thing."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        names = [event.name for command in commands for event in cast("AppendEvents", command).events]
        if "bad" in names:
            raise ValueError("cannot be stored")
        return [Applied() for _ in commands]


async def test_what_cannot_be_stored_fails_its_own_caller_only() -> None:
    """Everybody else's work in the same moment is stored, and the hub goes on."""
    fatal: list[BaseException] = []
    committer = Committer(cast("Store", Picky()), fatal.append)
    committer.start()
    good, bad, other = (committer.apply(note(name)) for name in ("good", "bad", "other"))
    with pytest.raises(ValueError, match="cannot be stored"):
        await bad
    assert await good == await other == [Applied()]
    await committer.stop()

    assert fatal == []
