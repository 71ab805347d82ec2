"""The daemon's side of its companion: starts the reaper, tells it what runs, and keeps its beat.

Invariants: the window given with a beat ends before the hub's lease does, so that what is killed here is dead before
the hub gives it to another worker. When the reaper is gone, `GuardLostError` is raised at the next word to it: nothing
may run unguarded, the daemon gives up its session and starts anew.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from ostler.workers import reaper

WORKER_TAG = "OSTLER_WORKER"
SESSION_TAG = "OSTLER_SESSION"
TASK_TAG = "OSTLER_TASK"
ATTEMPT_TAG = "OSTLER_ATTEMPT"

_EXIT_LIMIT_S = 10.0


class Farewell(NamedTuple):
    """The hub of a daemon, for its companion; the authorization is shown nowhere."""

    url: str
    authorization: str

    def __repr__(self) -> str:
        return f"Farewell({self.url!r})"


class GuardLostError(Exception):
    """The companion does not listen any more: it has fired, or was killed."""


class ProcessGuard(Protocol):
    """Who makes sure that no process outlives its daemon's right to run it."""

    async def clean(self) -> None:
        """Kill what earlier daemons of this worker left."""
        ...

    def open(self, session_id: str, life: str = "") -> None:
        """A session begins; its tag is this id. `life`: of this process, as it said when it joined."""
        ...

    def beat(self, window_ms: int) -> None:
        """The session is good for `window_ms` from now."""
        ...

    def rest(self) -> None:
        """Nothing runs, and no session is held."""
        ...

    def add(self, group: int) -> None:
        """A process group was started."""
        ...

    def remove(self, group: int) -> None:
        """A process group is gone; called while its leader's id is still ours."""
        ...

    async def close(self) -> None:
        """End the companion. Safe to repeat."""
        ...


class NoGuard:
    """For a worker that starts no processes."""

    async def clean(self) -> None:
        """Nothing to do."""

    def open(self, session_id: str, life: str = "") -> None:
        """Nothing to do."""

    def beat(self, window_ms: int) -> None:
        """Nothing to do."""

    def rest(self) -> None:
        """Nothing to do."""

    def add(self, group: int) -> None:
        """Nothing to do."""

    def remove(self, group: int) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


class ReaperGuard:
    """Guards with a reaper process.

    `identity` marks everything this worker starts, over restarts: it must be unique on the machine for each (hub,
    worker), because a daemon that starts kills whatever carries its identity. `farewell`: whom to tell when this
    process was killed; `spool`: where it keeps ends that the hub does not have yet.
    """

    def __init__(self, identity: str, farewell: Farewell | None = None, spool: Path | None = None) -> None:
        self._identity = identity
        self._farewell = farewell
        self._spool = spool
        self._reaper: subprocess.Popen[bytes] | None = None
        self._retired: list[subprocess.Popen[bytes]] = []
        """Reapers that were given up; one that has fired is left to end its sweep."""

    @property
    def pid(self) -> int | None:
        """Process id of the reaper, while there is one."""
        return self._reaper.pid if self._reaper is not None else None

    async def clean(self) -> None:
        """Kill what earlier daemons of this worker left."""
        own = reaper.Target(tags=frozenset({frozenset({f"{WORKER_TAG}={self._identity}"})}))
        await asyncio.to_thread(reaper.sweep, own)

    def open(self, session_id: str, life: str = "") -> None:
        """Start the reaper if there is none, and name the session. Raises `GuardLostError`."""
        if self._reaper is not None and self._reaper.poll() is not None:
            self._retire()
        self._retired = [process for process in self._retired if process.poll() is None]
        if self._reaper is None:
            self._reaper = _start()
        if self._farewell is not None:
            self._say("farewell", *self._farewell, life, str(self._spool or ""), os.getpid())
        self._say("session", session_id)

    def beat(self, window_ms: int) -> None:
        """The session is good for `window_ms` from now. Raises `GuardLostError`."""
        self._say("beat", max(0, window_ms))

    def rest(self) -> None:
        """Expect no beat; a reaper that is gone is no loss now."""
        with contextlib.suppress(GuardLostError):
            self._say("rest")

    def add(self, group: int) -> None:
        """A process group was started. Raises `GuardLostError`: then it must be killed at once."""
        self._say("add", group)

    def remove(self, group: int) -> None:
        """A process group is gone; a reaper that is gone need not know."""
        with contextlib.suppress(GuardLostError):
            self._say("remove", group)

    async def close(self) -> None:
        """Let the reaper do its last sweep and end. Safe to repeat."""
        self._retire()
        while self._retired:
            await asyncio.to_thread(_wait_or_kill, self._retired.pop())

    def _say(self, *words: str | int) -> None:
        if self._reaper is None or self._reaper.stdin is None:
            raise GuardLostError
        try:
            # Shorter than a pipe's atomic size, so a line is written whole or not at all.
            os.write(self._reaper.stdin.fileno(), json.dumps(words).encode() + b"\n")
        except (BrokenPipeError, BlockingIOError):
            # A full pipe means that nobody reads: as good as gone.
            self._retire()
            raise GuardLostError from None

    def _retire(self) -> None:
        process, self._reaper = self._reaper, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            self._retired.append(process)


def _start() -> subprocess.Popen[bytes]:
    # On Linux it needs no installed package, so it can skip looking for them; elsewhere it needs psutil.
    flags = ["-I", "-S"] if sys.platform == "linux" else ["-I"]
    process = subprocess.Popen(
        [sys.executable, *flags, str(Path(reaper.__file__)), SESSION_TAG],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        # Not our environment: it must not carry the tags of an attempt that this daemon itself may be part of. Not an
        # empty one either: a sweep would wait to see whether it is about to get one.
        env={"LC_ALL": "C"},
        # Out of the daemon's process group, which may be killed as one.
        start_new_session=True,
    )
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_EXIT_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
