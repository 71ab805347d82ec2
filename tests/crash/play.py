"""One run: put up, hand in, break, wait for the end, take everything down, judge."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import msgspec

from ostler.config.load import load_profile
from ostler.domain.errors import OstlerError
from ostler.domain.states import FINAL_STATES
from tests.crash import checks
from tests.crash.customers import Customer
from tests.crash.disk import SmallDisk
from tests.crash.evidence import Evidence, open_tasks, read_database, read_log
from tests.crash.faults import OF_DATABASE, Kind, drawn
from tests.crash.stage import STUCK_S, Stage, StuckError
from tests.crash.upstream import Upstream

WORKERS = 2
CUSTOMERS = 2
UNDER_WAY = 120
"""So many tasks at most are acknowledged and not over: a crash must find some."""
TELL_S = 10.0
_ADOPT_ORPHANS = 36


class Wish(NamedTuple):
    """What to play. `every`: about so many tasks between two faults."""

    store: str
    tasks: int
    seed: int
    every: int
    no_disk: str = ""
    """Why no disk can be full here."""


class Result(NamedTuple):
    """What came of it."""

    problems: list[str]
    figures: dict[str, object]


class Progress:
    """Ends as they are seen from outside: ends of commands in their log, and answers of the provider."""

    def __init__(self, log: Path, upstream: Upstream) -> None:
        self._log = log.open("rb")
        self._upstream = upstream
        self._ends = 0

    @property
    def done(self) -> int:
        """How many."""
        self._ends += self._log.read().count(b"end ")
        return self._ends + sum(call.play in checks.WHOLE for call in tuple(self._upstream.calls))


class Run:
    """A run under way."""

    def __init__(self, wish: Wish, stage: Stage, upstream: Upstream, tell: Callable[[str], None]) -> None:
        self._wish = wish
        self._stage = stage
        self._upstream = upstream
        self._tell = tell
        self.traces = stage.folder / "traces"
        (self.traces / "locks").mkdir(parents=True)
        (self.traces / "log").touch()
        self._allowed = 0
        self._told_s = time.monotonic()
        self._progress = Progress(self.traces / "log", upstream)
        share = wish.tasks // CUSTOMERS
        self.customers = [
            Customer(
                stage,
                range(n * share, wish.tasks if n == CUSTOMERS - 1 else (n + 1) * share),
                self.traces,
                wish.seed,
                self._room,
            )
            for n in range(CUSTOMERS)
        ]
        self.suffered: Counter[str] = Counter()

    @property
    def _acknowledged(self) -> int:
        return sum(len(one.acknowledged) for one in self.customers)

    def _room(self) -> int:
        """How many more may be handed in now: each fault shall find work under way, and leave some for the next."""
        under_way = min(UNDER_WAY, max(40, self._wish.tasks // 50))
        return min(under_way + self._progress.done, self._allowed) - self._acknowledged

    def play(self) -> None:
        """To the end of the last task. Raises `StuckError`."""
        for customer in self.customers:
            customer.start()
        try:
            faults = drawn(self._wish.seed, self._wish.tasks, self._kinds(), self._wish.every)
            goals = [*accumulate(fault.after for fault in faults), self._wish.tasks]
            for fault, goal, allowed in zip(faults, goals, goals[1:], strict=False):
                self._allowed = min(self._wish.tasks, allowed)
                if not self._wait_for(min(goal, self._wish.tasks)):
                    break
                self._tell(f"{self._acknowledged} acknowledged; {fault.kind.value} ({fault.lasts_s} s)")
                self._stage.suffer(fault)
                self.suffered[fault.kind.value] += 1
            self._allowed = self._wish.tasks
            self._wait_for(None)
        finally:
            for customer in self.customers:
                customer.stopped = True
                customer.join(30)

    def _kinds(self) -> list[Kind]:
        without = set() if self._stage.database is not None else set(OF_DATABASE)
        return [kind for kind in Kind if kind not in without | ({Kind.DISK_FULL} if self._wish.no_disk else set())]

    def _wait_for(self, goal: int | None) -> bool:
        """Until so many are acknowledged; without a number, until everything is over. `False`: it is over before."""
        moved_s, last = time.monotonic(), -1
        while True:
            self._stage.mend()
            done = self._progress.done
            if goal is not None and self._acknowledged >= goal:
                return True
            if all(not customer.is_alive() for customer in self.customers) and self._is_over():
                return False
            if done != last:
                moved_s, last = time.monotonic(), done
            if time.monotonic() - self._told_s > TELL_S:
                self._told_s = time.monotonic()
                self._tell(f"{self._acknowledged} acknowledged, {done} ends")
            if time.monotonic() - moved_s > STUCK_S:
                raise StuckError(f"nothing came to an end for {STUCK_S:g} s, after {done}")
            time.sleep(0.1)

    def _is_over(self) -> bool:
        try:
            return open_tasks(self._stage.client("a").status().counts, FINAL_STATES) == 0
        except (OstlerError, ValueError):
            return False


def played(wish: Wish, tell: Callable[[str], None]) -> Result:
    """Play it."""
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)  # who loses their parent becomes ours, and is seen at the end
    folder = Path(tempfile.mkdtemp(prefix="ostler-crash-"))
    folder.chmod(0o755)  # the database's own user passes through
    began_s = time.monotonic()
    with Upstream(wish.seed) as upstream:
        disk = None if wish.no_disk else SmallDisk(folder / "disk")
        stage = Stage(folder, upstream, store=wish.store, disk=disk)
        try:
            stage.start(WORKERS)
            run = Run(wish, stage, upstream, tell)
            stuck = ""
            try:
                run.play()
            except StuckError as error:
                stuck = str(error)
            took_s = time.monotonic() - began_s
            found = ended(stage, run, upstream) if not stuck else Result([f"stuck: {stuck}", *_dump(stage)], {})
        finally:
            stage.end()
    figures: dict[str, object] = {
        "store": wish.store,
        "seed": wish.seed,
        "tasks": wish.tasks,
        "took_s": round(took_s, 1),
        "faults": dict(run.suffered),
        "kills": sum(program.kills for program in stage.programs),
        "ended_by_themselves": {program.name: program.own_ends for program in stage.programs if program.own_ends},
        "repeated_submits": sum(customer.repeated for customer in run.customers),
        "folder": str(folder),
    }
    return Result(found.problems, figures | found.figures)


def ended(stage: Stage, run: Run, upstream: Upstream) -> Result:
    """Everything is over: take it down and judge."""
    codes = stage.stop()
    found = [f"{name} ended with {code}" for name, code in codes.items() if code != 0]
    settings = load_profile(str(stage.profile), os.environ).hub
    settings = msgspec.structs.replace(settings, database=stage.address)
    evidence = Evidence(
        acknowledged=frozenset(name for customer in run.customers for name in customer.acknowledged),
        sent=frozenset(f"t{number}" for customer in run.customers for number in customer._numbers),
        log=read_log((run.traces / "log").read_text(encoding="utf-8")),
        calls=upstream.calls,
        together=upstream.together,
        frozen={program.name: program.frozen for program in stage.programs},
        database=read_database(settings),
    )
    found += checks.problems(evidence)
    found += _unsound(stage)
    found += [f"a process outlives its daemon: {line}" for line in _orphans(stage)]
    if found and stage.database is None:  # the small disk is gone with us
        shutil.copy(stage.address, stage.folder / "ostler.db")
    attempts = sum(task.generation for task in evidence.database.tasks.values())
    figures: dict[str, object] = {
        "acknowledged": len(evidence.acknowledged),
        "attempts": attempts,
        "calls": len(evidence.calls),
        "plays": dict(Counter(call.play.value for call in evidence.calls)),
        "asked_beside_a_frozen_one": len(evidence.together),
        **checks.totals(evidence),
    }
    return Result(found, figures)


def _unsound(stage: Stage) -> list[str]:
    """What `ostler db check` has to say."""
    command = [sys.executable, "-m", "ostler.cli.main", "db", "check", "--database", stage.address]
    done = subprocess.run(command, capture_output=True, text=True, cwd=stage.profile.parent, check=False, timeout=300)
    return [] if done.returncode == 0 else [f"the database is not sound: {done.stdout[-500:]} {done.stderr[-500:]}"]


def _orphans(stage: Stage) -> list[str]:
    """Processes that are still there, ten seconds after all was taken down."""
    end = time.monotonic() + 10.0
    while (left := _children(stage)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def _children(stage: Stage) -> list[str]:
    found: list[str] = []
    postgres = str(stage.database.folder) if stage.database is not None else "\0"
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            line = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if after[0] != "Z" and int(after[1]) == os.getpid() and postgres not in line and "postgres" not in line:
            found.append(line[:200])
    return found


def _dump(stage: Stage) -> list[str]:
    """The last words of everybody, for who wants to know why."""
    return [f"{one.name}: {one.log.read_text(encoding='utf-8', errors='replace')[-1500:]}" for one in stage.programs]
