"""The daemon's side of its companion: starts the reaper, tells it what runs, and keeps its beat.

Invariants: the window given with a beat ends before the hub's lease does, so that what is killed here is dead before
the hub gives it to another worker. When the reaper is gone, `GuardLostError` is raised at the next word to it: nothing
may run unguarded, the daemon gives up its session and starts anew.

With a folder, runs may outlive the daemon for a while (`keep_ms`), never beyond the window of its last beat: that is in
a file, `lease`, by which the supervisor of each command ends it on its own, and to which the next daemon is bound until
a beat of its own was acknowledged. So a run has three who end it in time: its daemon, the reaper, its supervisor. The
next daemon puts a reaper of its own beside the last one's before it tells that one to go.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from ostler.workers import companion, reaper

WORKER_TAG = "OSTLER_WORKER"
SESSION_TAG = "OSTLER_SESSION"
TASK_TAG = "OSTLER_TASK"
ATTEMPT_TAG = "OSTLER_ATTEMPT"

LEASE_FILE = "lease"
REAPER_FILE = "reaper"

_EXIT_LIMIT_S = 10.0
_LEASE_BYTES = 20
_LOOK_S = 0.01


class Farewell(NamedTuple):
    """The hub of a daemon, for its companion; the authorization is shown nowhere."""

    url: str
    authorization: str

    def __repr__(self) -> str:
        return f"Farewell({self.url!r})"


class GuardLostError(Exception):
    """The companion does not listen any more: it has fired, or was killed."""


class Spared(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier daemon left and this one may take up."""

    sessions: frozenset[str] = frozenset()
    attempts: frozenset[str] = frozenset()
    """Values of their tag."""


NOTHING = Spared()


class ProcessGuard(Protocol):
    """Who makes sure that no process outlives its daemon's right to run it."""

    lease: Path | None
    """File with the instant at which the right to run ends; `None`: there is none."""
    clock_id: int
    """The clock of that instant, which all processes of the machine share."""

    async def clean(self, spared: Spared = NOTHING) -> None:
        """Kill what earlier daemons of this worker left, but for what is spared: that is guarded from here on."""
        ...

    def left_ms(self) -> int:
        """How long the right to run that an earlier daemon had is good for still; 0: it is over, or there was none."""
        ...

    async def end(self, attempt: str) -> None:
        """Kill what was spared of an attempt."""
        ...

    def open(self, session_id: str, life: str = "") -> None:
        """A session begins; its tag is this id. `life`: of this process, as it said when it joined."""
        ...

    def beat(self, window_ms: int) -> None:
        """The session is good for `window_ms` from now."""
        ...

    def check(self) -> None:
        """Something is about to be started. Raises `GuardLostError` when the right to run is over."""
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

    lease: Path | None = None
    clock_id: int = time.CLOCK_MONOTONIC

    async def clean(self, spared: Spared = NOTHING) -> None:
        """Nothing to do."""

    def left_ms(self) -> int:
        """There is no such right."""
        return 0

    async def end(self, attempt: str) -> None:
        """Nothing to do."""

    def open(self, session_id: str, life: str = "") -> None:
        """Nothing to do."""

    def beat(self, window_ms: int) -> None:
        """Nothing to do."""

    def check(self) -> None:
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
    worker), because a daemon that starts kills whatever carries its identity. `folder` is where those who run its
    commands find their right to do so, and the next daemon its predecessor's reaper; `keep_ms`: how long commands may
    outlive this daemon, within that right, and `book`: where it is seen whether any does. `farewell`: whom to tell when
    this process was killed and nothing of it can be kept; `spool`: where it keeps ends that the hub does not have yet.
    """

    def __init__(
        self,
        identity: str,
        farewell: Farewell | None = None,
        spool: Path | None = None,
        *,
        folder: Path | None = None,
        book: Path | None = None,
        keep_ms: int = 0,
        clock_id: int = time.CLOCK_MONOTONIC,
    ) -> None:
        self._identity = identity
        self._farewell = farewell
        self._spool = spool
        self._folder = folder
        self._book = book
        self._keep_ms = keep_ms
        self.clock_id = clock_id
        self.lease: Path | None = None
        self._lease_file: int | None = None
        self._until_us: int | None = None
        """End of the window of this daemon's last beat; before its first one, that of the one before is in the file."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.lease = folder / LEASE_FILE
            self._lease_file = os.open(self.lease, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._reaper: subprocess.Popen[bytes] | None = None
        self._retired: list[subprocess.Popen[bytes]] = []
        """Reapers that were given up; one that has fired is left to end its sweep."""

    @property
    def pid(self) -> int | None:
        """Process id of the reaper, while there is one."""
        return self._reaper.pid if self._reaper is not None else None

    def left_ms(self) -> int:
        """How long the window of the last beat still is, whichever daemon of this boot sent it."""
        if self._lease_file is None:
            return 0
        try:
            until_us = int(os.pread(self._lease_file, _LEASE_BYTES, 0))
        except ValueError:
            return 0
        return max(0, (until_us - self._now_us()) // 1_000)

    async def clean(self, spared: Spared = NOTHING) -> None:
        """Kill what earlier daemons of this worker left, their reaper first: it could take what is spared for its own.

        What is spared has a reaper of ours by then, and no more time than it had.
        """
        before = list(self._folder.glob(f"{REAPER_FILE}.*")) if self._folder is not None else []
        if spared.attempts:
            self._begin()
            for session in sorted(spared.sessions):
                self._say("session", session)
            self._say("beat", self.left_ms())
        for path in before:
            await asyncio.to_thread(_dismiss, path)
        kept = frozenset(frozenset({f"{ATTEMPT_TAG}={attempt}"}) for attempt in spared.attempts)
        own = frozenset({frozenset({f"{WORKER_TAG}={self._identity}"})})
        await asyncio.to_thread(reaper.sweep, reaper.Target(tags=own, spared=kept))

    async def end(self, attempt: str) -> None:
        """Kill what was spared of an attempt."""
        tags = frozenset({f"{WORKER_TAG}={self._identity}", f"{ATTEMPT_TAG}={attempt}"})
        await asyncio.to_thread(reaper.sweep, reaper.Target(tags=frozenset({tags})))

    def open(self, session_id: str, life: str = "") -> None:
        """Start the reaper if there is none, and name the session. Raises `GuardLostError`."""
        try:
            self._name(session_id, life)
        except GuardLostError:  # one that has fired is there for a moment, and listens to nobody: another one does
            self._name(session_id, life)

    def _name(self, session_id: str, life: str) -> None:
        self._begin()
        if self._farewell is not None:
            self._say("farewell", *self._farewell, life, str(self._spool or ""), os.getpid())
        self._say("session", session_id)

    def _begin(self) -> None:
        if self._reaper is not None and self._reaper.poll() is not None:
            self._retire()
        self._retired = [process for process in self._retired if process.poll() is None]
        if self._reaper is None:
            self._reaper = _start(self.clock_id, self._folder)
            if self._keep_ms and self._folder is not None:
                self._say("keep", self._keep_ms, str(self._book or ""), os.getpid())

    def beat(self, window_ms: int) -> None:
        """The session is good for `window_ms` from now. Raises `GuardLostError`; then the right is not prolonged."""
        self._say("beat", max(0, window_ms))
        until_us = self._until_us = self._now_us() + max(0, window_ms) * 1_000
        if self._lease_file is not None:
            # Always as long as the last one, so that a reader finds it whole.
            os.pwrite(self._lease_file, f"{until_us:0{_LEASE_BYTES}d}".encode(), 0)

    def check(self) -> None:
        """Something is about to be started. Raises `GuardLostError` when the window of the last beat is over: a daemon
        that was frozen wakes up wherever it was, and its reaper may have fired.
        """
        if self._until_us is not None and self._now_us() >= self._until_us:
            raise GuardLostError

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
        """Let the reaper do its last sweep and end, at once. Safe to repeat."""
        with contextlib.suppress(GuardLostError):
            self._say("keep", 0, "", os.getpid())
        self._retire()
        if self._lease_file is not None:
            os.close(self._lease_file)
            self._lease_file = None
        while self._retired:
            await asyncio.to_thread(_wait_or_kill, self._retired.pop())

    def _now_us(self) -> int:
        return time.clock_gettime_ns(self.clock_id) // 1_000

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


def _start(clock_id: int, folder: Path | None) -> subprocess.Popen[bytes]:
    # On Linux it needs no installed package, so it can skip looking for them; elsewhere it needs psutil.
    flags = ["-I", "-S"] if sys.platform == "linux" else ["-I"]
    words = [sys.executable, *flags, str(Path(companion.__file__)), SESSION_TAG, str(clock_id)]
    with contextlib.ExitStack() as stack:
        passed: tuple[int, ...] = ()
        if folder is not None:
            # Locked here, so that there is no moment at which it lives and does not hold the lock.
            file = stack.enter_context((folder / f"{REAPER_FILE}.{secrets.token_hex(6)}").open("xb", buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX)
            passed = (file.fileno(),)
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            # Not our environment: it must not carry the tags of an attempt that this daemon itself may be part of. Not
            # an empty one either: a sweep would wait to see whether it is about to get one.
            env={"LC_ALL": "C"},
            pass_fds=passed,
            # Out of the daemon's process group, which may be killed as one.
            start_new_session=True,
        )
        if folder is not None:
            os.pwrite(passed[0], f"{process.pid}\n".encode(), 0)
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _dismiss(path: Path) -> None:
    """End a reaper of an earlier daemon without a sweep, if it lives, and its file. The lock tells that it does."""
    with path.open("r+b", buffering=0) as file:
        while not _is_free(file.fileno()):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(file.read()), signal.SIGKILL)
            file.seek(0)
            time.sleep(_LOOK_S)
        path.unlink(missing_ok=True)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_EXIT_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
