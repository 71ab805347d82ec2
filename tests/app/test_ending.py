"""Ending in order: every part is ended, and what went wrong is told when all are over."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ostler.app.ending import ended_in_order


class Parts:
    """What was ended, in order."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def end(self, name: str, error: BaseException | None = None) -> Callable[[], Awaitable[None]]:
        async def ending() -> None:
            await asyncio.sleep(0)
            self.ended.append(name)
            if error is not None:
                raise error

        return ending


async def test_all_are_ended_and_the_last_error_is_told() -> None:
    """With the one before it as its context."""
    parts, first, last = Parts(), OSError("first"), OSError("last")

    with pytest.raises(OSError, match="last") as told:
        await ended_in_order(parts.end("a", first), parts.end("b"), parts.end("c", last), parts.end("d"))

    assert parts.ended == ["a", "b", "c", "d"]
    assert told.value.__context__ is first


@pytest.mark.parametrize("turns", range(1, 7))
async def test_whoever_is_cancelled_ends_the_rest(turns: int) -> None:
    """In whatever turn that comes: but for the one that it hit, all were seen to their end."""
    parts = Parts()
    ending = asyncio.create_task(ended_in_order(*(parts.end(name) for name in "abc")))
    for _ in range(turns):
        await asyncio.sleep(0)
    was_over = ending.done()
    ending.cancel()
    await asyncio.wait({ending})

    assert ending.cancelled() is not was_over
    assert len(parts.ended) == (3 if was_over else 2)


def test_who_is_thrown_away_waits_for_nothing() -> None:
    """Its loop is gone: what would wait there is not even begun."""
    parts = Parts()
    ending = ended_in_order(parts.end("a"), parts.end("b"))
    ending.send(None)

    ending.close()  # raises RuntimeError where it goes on to wait

    assert parts.ended == []
