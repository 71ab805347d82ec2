"""Looks at and cleans up the real processes of a test, found by a tag that is the test's own."""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from ostler.workers import reaper
from ostler.workers.guard import WORKER_TAG

BOUND_S = 8.0

ESCAPE = "import os,sys,time; os.setsid(); print('escaped', flush=True); time.sleep(60)"
"""A program that leaves the process group and the session it was started in, and says so."""

HIDE = "import os,time; os.setsid(); time.sleep(60)"
"""The same without a word: it does not notice that nobody listens any more."""

PYTHON = sys.executable


class Tagged:
    """All processes that carry one worker identity."""

    def __init__(self) -> None:
        self.identity = f"test-{uuid.uuid4().hex}"

    @property
    def target(self) -> reaper.Target:
        return reaper.Target(tags=frozenset({frozenset({f"{WORKER_TAG}={self.identity}"})}))

    def count(self) -> int:
        """How many live."""
        return len(reaper.left_behind(self.target))

    async def until(self, holds: Callable[[int], bool], *, bound_s: float = BOUND_S) -> int:
        """Wait until their number is as asked; fails when it is not in time. Returns the number."""
        give_up = time.monotonic() + bound_s
        while not holds(count := self.count()):
            assert time.monotonic() < give_up, f"{count} tagged processes live"
            await asyncio.sleep(0.02)
        return count

    async def until_spread(self, count: int, sessions: int) -> None:
        """Wait until so many live in so many sessions."""

        def is_so() -> bool:
            procs = reaper.left_behind(self.target)
            return (len(procs), len({proc.session for proc in procs})) == (count, sessions)

        await until(is_so)


@pytest.fixture
def tagged() -> Iterator[Tagged]:
    """Processes of this test; whatever is left of them is killed, and must not be there."""
    group = Tagged()
    yield group
    left = group.count()
    reaper.sweep(group.target)
    assert left == 0, f"the test left {left} processes"


async def until(holds: Callable[[], bool], *, bound_s: float = BOUND_S) -> None:
    """Wait for a condition that real processes or sockets bring about."""
    give_up = time.monotonic() + bound_s
    while not holds():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        await asyncio.sleep(0.01)
