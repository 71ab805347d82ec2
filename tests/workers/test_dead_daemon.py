"""Tests of what happens to running commands when their daemon is killed or freezes: real processes throughout."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostler.workers import reaper
from tests.workers.tagged import HIDE, PYTHON, Tagged, tagged, until

__all__ = ["tagged"]

ROOT = Path(__file__).resolve().parents[2]
# A shell that ignores TERM, with a child in its group and two in sessions of their own.
TREE = (
    "sh",
    "-c",
    f"trap '' TERM; sleep 60 & for i in 1 2; do {PYTHON} -I -S -c \"{HIDE}\" & done; wait; wait; wait",
)
TREE_SHAPE = (5, 4)
"""Processes and sessions, that of its supervisor included."""

DEATH_BOUND_S = 2.0


class Daemon:
    """A daemon under test and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid

    async def says(self, word: str) -> None:
        """Wait for a line; others are passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            while (line := (await self.process.stdout.readline()).decode().strip()) != word:
                assert line, "the daemon has ended"

    async def reaper_pid(self) -> int:
        """Its companion, once there is one."""
        found: list[int] = []

        def look() -> bool:
            children = [proc.pid for proc in reaper.processes() if proc.parent == self.pid]
            found[:] = [pid for pid in children if "companion.py" in reaper.read(f"/proc/{pid}/cmdline").decode()]
            return bool(found)

        await until(look)
        return found[0]


@asynccontextmanager
async def daemon(tagged: Tagged, *argv: str, lease_ms: int = 15_000) -> AsyncIterator[Daemon]:
    """A daemon that runs `argv`; it and its reaper are gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.workers.daemon_process", tagged.identity, str(lease_ms), *argv),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Daemon(process)
    guardians: list[int] = []
    try:
        await running.says("started")
        guardians.append(await running.reaper_pid())
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await until(lambda: not {proc.pid for proc in reaper.processes()}.intersection(guardians))


async def died_within(tagged: Tagged, begun: float) -> float:
    """How long after `begun` the last process of the command was dead."""
    await tagged.until(lambda count: count == 0)
    return time.monotonic() - begun


async def test_a_killed_daemon_takes_its_commands_along(tagged: Tagged) -> None:
    """After a kill that no program can catch, no process of the command lives on, wherever it went."""
    async with daemon(tagged, *TREE) as running:
        await tagged.until_spread(*TREE_SHAPE)

        begun = time.monotonic()
        os.kill(running.pid, signal.SIGKILL)

        assert await died_within(tagged, begun) < DEATH_BOUND_S


async def test_a_daemon_killed_at_any_moment_leaves_nothing(tagged: Tagged) -> None:
    """Also in the moments around the start of a command, when it is not registered yet, nothing survives a kill."""
    for delay_s in (0.0, 0.001, 0.003, 0.01):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.workers.daemon_process", tagged.identity, "15000", *TREE),
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(10):
            await tagged.until(lambda count: count > 0)
        await asyncio.sleep(delay_s)
        process.kill()
        await process.wait()

        await tagged.until(lambda count: count == 0)


async def test_a_frozen_daemon_loses_its_commands_before_its_lease(tagged: Tagged) -> None:
    """When the daemon is stopped and cannot act, its commands are dead before the hub may give them away."""
    lease_s = 2.0
    async with daemon(tagged, *TREE, lease_ms=2_000) as running:
        await tagged.until_spread(*TREE_SHAPE)

        begun = time.monotonic()
        os.kill(running.pid, signal.SIGSTOP)
        took_s = await died_within(tagged, begun)

        assert 0.4 * lease_s < took_s < lease_s


async def test_a_daemon_that_wakes_up_begins_a_new_session(tagged: Tagged) -> None:
    """After its reaper has fired, a daemon that is allowed to run again gives its session up and serves on."""
    async with daemon(tagged, *TREE, lease_ms=600) as running:
        first = await running.reaper_pid()
        os.kill(running.pid, signal.SIGSTOP)
        await tagged.until(lambda count: count == 0)
        await until(lambda: first not in {proc.pid for proc in reaper.processes()})

        os.kill(running.pid, signal.SIGCONT)
        await running.says("lost")

        assert await running.reaper_pid()


async def test_a_daemon_without_its_reaper_stops_its_commands(tagged: Tagged) -> None:
    """When the companion is killed, nothing runs on unguarded."""
    async with daemon(tagged, *TREE, lease_ms=900) as running:
        await tagged.until_spread(*TREE_SHAPE)
        os.kill(await running.reaper_pid(), signal.SIGKILL)

        await running.says("lost")
        await tagged.until(lambda count: count == 0)


async def test_a_terminated_daemon_cleans_up_itself(tagged: Tagged) -> None:
    """Asked to end, the daemon kills what runs and ends with its reaper."""
    async with daemon(tagged, "sleep", "60") as running:
        running.process.terminate()

        assert await asyncio.wait_for(running.process.wait(), 10) == 0
        assert tagged.count() == 0


async def test_a_restarted_daemon_kills_what_the_last_one_left(tagged: Tagged) -> None:
    """When daemon and reaper were killed together, the next daemon of this worker kills the leftovers at its start."""
    async with daemon(tagged, *TREE) as running:
        await tagged.until_spread(*TREE_SHAPE)
        os.kill(await running.reaper_pid(), signal.SIGKILL)
        os.kill(running.pid, signal.SIGKILL)
        await running.process.wait()
        await tagged.until_spread(*TREE_SHAPE)

    async with daemon(tagged, "sleep", "60") as running:
        await tagged.until(lambda count: count == 2)
        running.process.terminate()
        await running.process.wait()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_hang_up_of_the_terminal_kills_the_commands(tagged: Tagged, number: signal.Signals) -> None:
    """A daemon that dies of a signal it does not handle leaves nothing either."""
    async with daemon(tagged, *TREE) as running:
        await tagged.until_spread(*TREE_SHAPE)

        begun = time.monotonic()
        os.kill(running.pid, number)

        assert await died_within(tagged, begun) < DEATH_BOUND_S
