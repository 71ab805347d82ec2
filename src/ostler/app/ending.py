"""Ending parts one after the other: whatever becomes of one of them, those after it are ended too.

What one of them raises, a cancel of who waits as well, is told when all are over; of several the last.
"""

import contextlib
from collections.abc import Awaitable, Callable


async def ended_in_order(*ends: Callable[[], Awaitable[object]]) -> None:
    """End all of them, in this order."""
    async with contextlib.AsyncExitStack() as ending:
        for end in reversed(ends):
            ending.push_async_callback(end)
