"""The event loop of a process, and its clock."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ostler.workers.timing import SystemTiming

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # the platform has none; asyncio's own loop does the same, slower
        return asyncio.run(main)
    return uvloop.run(main)


def clock() -> SystemTiming:
    """The machine's clock for a hub and the worker inside it: both sleep when the machine sleeps."""
    return SystemTiming(through_suspend=False)


def stop_requested() -> asyncio.Event:
    """An event that is set by the signals that ask a process to stop; a second one takes its usual, harsh way."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        asked.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    return asked
