"""What runs on a worker's machine beside its daemon, and what stays there when the daemon is killed.

A `Machine` has processes, a disk with what the daemon wrote down, and a reaper that ends everything when the right to
run has passed. A daemon gets at them by a `Hand` of its own: a hand that is dead changes nothing any more, whatever the
cancelled tasks of its daemon still try.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ostler.domain.states import FailureClass
from ostler.domain.tasks import Evidence
from ostler.domain.work import Finished, Report
from ostler.workers.attempts import attempt_tag
from ostler.workers.book import Entry
from ostler.workers.guard import NOTHING, Spared
from ostler.workers.run import Key, Run
from ostler.workers.spool import Spool
from tests.simulator.floor import Floor


class How(NamedTuple):
    """How a process ended by itself: well, or with a failure of this kind."""

    kind: FailureClass | None = None
    message: str = ""
    evidence: Evidence | None = None


class Program:
    """A process that does its work, and then has ended somehow; or is killed."""

    def __init__(self, floor: Floor, worker: str, run: Run, work: Coroutine[Any, Any, How]) -> None:
        self.how: How | None = None
        """How it ended by itself; `None`: it runs, or was killed."""
        self.lives = True
        self._floor = floor
        self._worker = worker
        self._run = run
        floor.start(worker, run, None)
        self.life = asyncio.get_running_loop().create_task(self._live(work))

    async def _live(self, work: Coroutine[Any, Any, How]) -> None:
        how = await work
        if self.lives:
            self.how = how
            if how.kind is None:
                self._floor.done.add(self._run.key)
            self._over()

    def kill(self) -> None:
        """Gone, when this returns; nothing if it is already."""
        if self.lives:
            self._over()
            self.life.cancel()

    def _over(self) -> None:
        self.lives = False
        self._floor.end(self._worker, self._run, None)


class Machine:
    """One worker's machine."""

    def __init__(self, name: str, floor: Floor, keep_s: float) -> None:
        self.name = name
        self.floor = floor
        self.keep_s = keep_s
        """So long what runs may outlive its daemon; 0 = not at all."""
        self.programs: dict[Key, Program] = {}
        self.entries: dict[Key, Entry] = {}
        self.ends: dict[Key, Finished] = {}
        self.newest: Hand | None = None
        """Of the daemon that has looked at what earlier ones left, and dismissed their companions."""
        self.starts = 0
        self.taken_up = 0
        self.until_s = 0.0
        """Until then there is a right to run."""
        self._reaper: asyncio.TimerHandle | None = None

    def permit(self, seconds: float) -> None:
        """A heartbeat was acknowledged: what runs may run so long from now."""
        loop = asyncio.get_running_loop()
        self.until_s = loop.time() + seconds
        if self._reaper is not None:
            self._reaper.cancel()
        self._reaper = loop.call_later(seconds, self.kill_all)

    def kill_all(self, but: Collection[str] = ()) -> None:
        """Kill every process, but those of some attempts."""
        for key, program in self.programs.items():
            if attempt_tag(key) not in but:
                program.kill()

    def whole(self, key: Key) -> bool:
        """Whether a process goes on or has ended by itself."""
        program = self.programs.get(key)
        return program is not None and (program.lives or program.how is not None)

    def keeps_any(self) -> bool:
        """Whether anything could be taken up."""
        return any(self.whole(key) for key in self.entries)

    def die(self) -> None:
        """Without power: what is on its disk is of another boot from then on."""
        self.kill_all()
        self.programs.clear()
        self.entries.clear()
        self.until_s = 0.0

    async def await_successor(self, hand: "Hand") -> bool:
        """What the companion of a dead daemon does: wait for the next one, then end what is left. Whether the hub is to
        hear that nothing is.
        """
        loop = asyncio.get_running_loop()
        until_s = min(self.until_s, loop.time() + self.keep_s)
        while loop.time() < until_s and self.newest is hand and self.keeps_any():  # noqa: ASYNC110 - it looks
            await asyncio.sleep(0.25)
        if self.newest is not hand:
            return False  # it is dismissed
        self.kill_all()
        return not self.ends and not self.keeps_any()


class Hand:
    """What one daemon has of its machine: the guard, the book and the spool of a worker."""

    lease: Path | None = None
    clock_id: int = time.CLOCK_MONOTONIC

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dead = False

    # -- the guard -----------------------------------------------------------------------------------------------------

    async def clean(self, spared: Spared = NOTHING) -> None:
        """See the port."""
        self.machine.newest = self
        self.machine.kill_all(spared.attempts)

    def left_ms(self) -> int:
        """See the port."""
        return max(0, round((self.machine.until_s - asyncio.get_running_loop().time()) * 1_000))

    async def end(self, attempt: str) -> None:
        """See the port."""
        for key, program in self.machine.programs.items():
            if not self.dead and attempt_tag(key) == attempt:
                program.kill()

    def open(self, session_id: str, life: str = "") -> None:
        """See the port."""

    def beat(self, window_ms: int) -> None:
        """See the port."""
        self.machine.permit(window_ms / 1_000)

    def check(self) -> None:
        """See the port."""

    def rest(self) -> None:
        """See the port."""

    def add(self, group: int) -> None:
        """See the port."""

    def remove(self, group: int) -> None:
        """See the port."""

    async def close(self) -> None:
        """See the port."""
        if not self.dead:
            self.machine.kill_all()


class MachineBook:
    """The book of a daemon."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._machine = hand.machine

    def begin(self, entry: Entry) -> Path | None:
        """See the port."""
        self._machine.entries[entry.key] = entry
        return self.folder_of(entry.key)

    def end(self, key: Key) -> None:
        """See the port."""
        if not self._hand.dead:
            self._machine.entries.pop(key, None)
            self._machine.programs.pop(key, None)

    def load(self) -> tuple[Entry, ...]:
        """See the port."""
        return tuple(entry for key, entry in self._machine.entries.items() if self.can_be_taken_up(key))

    def can_be_taken_up(self, key: Key) -> bool:
        """See the port."""
        return self._machine.whole(key)

    def folder_of(self, key: Key) -> Path | None:
        """See the port."""
        return Path("/simulated", attempt_tag(key))

    def clear(self, kept: Collection[Key]) -> None:
        """See the port."""
        for key in set(self._machine.entries) - set(kept):
            self.end(key)


class MachineSpool(Spool):
    """The spool of a daemon."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._ends = hand.machine.ends

    def put(self, end: Finished) -> None:
        """See the base."""
        if not self._hand.dead:
            self._ends[end.task_id, end.generation] = end

    def drop(self, reports: Iterable[Report]) -> None:
        """See the base."""
        for report in reports:
            if isinstance(report, Finished) and not self._hand.dead:
                self._ends.pop((report.task_id, report.generation), None)

    def load(self) -> list[Finished]:
        """See the base."""
        return list(self._ends.values())
