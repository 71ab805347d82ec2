"""Ending parts one after the other: whatever becomes of one of them, those after it are ended too.

What one of them raises, a cancel of who waits as well, is told when all are over; of several the last. Whoever is
thrown away in the middle (its loop is gone) can wait for nothing any more, and does not try.
"""

import asyncio
from collections.abc import Awaitable, Callable


async def ended_in_order(*ends: Callable[[], Awaitable[object]]) -> None:
    """End all of them, in this order."""
    failed: BaseException | None = None
    for end in ends:
        try:
            await end()
        except (Exception, asyncio.CancelledError) as error:  # boundary: each is ended, whatever the others do
            error.__context__ = error.__context__ or failed
            failed = error
    if failed is not None:
        raise failed
