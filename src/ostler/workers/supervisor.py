"""Runs one command and outlives the daemon that asked for it; a program of its own for each command.

    python -I -S supervisor.py FOLDER NAME=VALUE... -- PROGRAM ARG...

The command leads a session of its own. Its output comes through a pipe to files, so nothing breaks for it when the
daemon dies, and the disk is bounded: of a long output the beginning and the newest pieces are kept (`Output`). What the
folder tells:

    alive    locked as long as this program lives; holds its process id and that of the command
    exit     how the command ended; put in place whole, before this program ends
    stop     put there by a daemon that asks the command to end: until when what is left of its group has time

It ends the command by itself, whether a daemon lives or not, when the right to run it has passed (`lease`, a file with
an instant that each beat of the daemon moves on), when its time is up (`due`) and when it wrote too much (`limit`); and
does not begin it when that is so already.

Invariants: the command is not reaped before its group is dead, so no signal ever hits a stranger who took over its
number. When this program is gone in good order, so is the group. All instants are microseconds of one clock that all
processes of a boot share; nothing here is valid beyond a boot, so nothing is forced to the disk either: a kill loses no
write that was made.

It imports few and small modules of the standard library, because one is started for each command (about 16 ms and 4 MB
of its own), and signals are numbers here: the module with their names alone doubles that.
"""

import fcntl
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALIVE = "alive"
EXIT = "exit"
STOP = "stop"
READ_BYTES = 65536
LOOK_MS = 1_000
BLIND_LOOK_MS = 50
"""Where the system has no handles for processes."""
SEGMENTS_KEPT = 2
"""Of the newest, beside the first one."""

_KILL = 9
_RESET = (13, 25)
"""Signals that Python ignores (a closed pipe, a file too large): a command must find them as usual."""

BY_LEASE = "lease"
BY_DUE = "due"
BY_LIMIT = "limit"


class Output:
    """The output on disk: one file, or with `segment_bytes` pieces `PATH.0`, `PATH.1`, ... of that length, of which the
    first and the newest are kept.
    """

    def __init__(self, path: str, segment_bytes: int) -> None:
        self._path = path
        self._segment_bytes = segment_bytes
        self._file: int | None = None
        self._index = -1
        self.total_bytes = 0

    def write(self, piece: bytes) -> None:
        """Add output. After a failure, as on a full disk, the rest is dropped: the command is not held up."""
        view = memoryview(piece)
        try:
            while view and self._index >= -1:
                written = os.write(self._open(), view[: self._room()])
                self.total_bytes += written
                view = view[written:]
        except OSError:
            self._index = -2

    def _room(self) -> int:
        if not self._segment_bytes:
            return READ_BYTES
        return self._segment_bytes - self.total_bytes % self._segment_bytes

    def _open(self) -> int:
        index = self.total_bytes // self._segment_bytes if self._segment_bytes else 0
        if self._file is None or index != self._index:
            if self._file is not None:
                os.close(self._file)
            path = f"{self._path}.{index}" if self._segment_bytes else self._path
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._index = index
            old = index - SEGMENTS_KEPT
            if old > 0:
                os.unlink(f"{self._path}.{old}")  # noqa: PTH108 -- a path object costs an import
        return self._file


class Supervised:
    """One command. See the module."""

    def __init__(self, folder: str, options: Mapping[str, str]) -> None:
        self._folder = folder
        self._clock = int(options["clock"])
        self._lease = options.get("lease", "")
        self._due_us = int(options.get("due", "0"))
        self._limit_bytes = int(options.get("limit", "0"))
        self._errors = options.get("errors", "")
        self._output = Output(options.get("output", f"{folder}/output"), int(options.get("segment", "0")))
        self._tags = frozenset(f"{name}={os.environ[name]}" for name in _names(options, "tags") if name in os.environ)
        self._env = {name: value for name, value in os.environ.items() if name not in _names(options, "unset")}
        self._pid = 0
        self._status = 0
        self._pipe = -1
        self._by = ""

    def run(self, program: str, argv: Sequence[str]) -> None:
        """From the start to the end of it."""
        alive = os.open(f"{self._folder}/{ALIVE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A daemon that was frozen on its way here goes on when another worker may have the attempt.
        if by := self._reason(self._now_us()):
            self._tell(f"status={-_KILL}\nby={by}\nbytes=0")
            return
        try:
            self._start(program, argv)
        except OSError as error:
            self._tell(f"errno={error.errno}")
            return
        os.pwrite(alive, f"{os.getpid()} {self._pid}\n".encode(), 0)
        status = self._until_end()
        self._tell(f"status={status}\nby={self._by}\nbytes={self._output.total_bytes}")
        if self._by == BY_LEASE:
            self._sweep()

    def _start(self, program: str, argv: Sequence[str]) -> None:
        self._pipe, sink = os.pipe()
        actions: list[tuple[object, ...]] = [(os.POSIX_SPAWN_DUP2, sink, 1), (os.POSIX_SPAWN_DUP2, sink, 2)]
        if self._errors:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            actions[1] = (os.POSIX_SPAWN_OPEN, 2, self._errors, flags, 0o600)
        self._pid = os.posix_spawn(
            program, list(argv), self._env, file_actions=actions, setsid=True, setsigdef=list(_RESET)
        )
        os.close(sink)
        os.set_blocking(self._pipe, False)

    def _until_end(self) -> int:
        """See the command to its end, and its group; its return code, negative for a signal."""
        poll, pipe = select.poll(), self._pipe
        poll.register(pipe, select.POLLIN)
        handle = _handle(self._pid)
        if handle is not None:
            poll.register(handle, select.POLLIN)
        look_ms = BLIND_LOOK_MS if handle is None else LOOK_MS
        looked_us = 0
        while not self._has_ended(handle, poll.poll(look_ms)):
            if not self._drain(1):
                poll.unregister(pipe)
            now_us = self._now_us()
            if now_us - looked_us >= LOOK_MS * 1_000 or self._is_too_much():
                looked_us = now_us
                self._by = self._by or self._reason(now_us)
                if self._by:
                    self._kill()
        self._linger()
        self._kill()
        self._drain(1_000_000)
        return self._reap()

    def _linger(self) -> None:
        """Give the rest of a group that was asked to end the time that it was promised."""
        while not self._by and self._now_us() < _instant(f"{self._folder}/{STOP}") and self._has_members():
            self._drain(1_000)
            time.sleep(BLIND_LOOK_MS / 1_000)

    def _has_members(self) -> bool:
        return any(proc.group == self._pid for proc in _reaper().processes())

    def _has_ended(self, handle: int | None, events: Sequence[tuple[int, int]]) -> bool:
        if handle is not None and all(number != handle for number, _ in events):
            return False
        waitid = getattr(os, "waitid", None)
        if waitid is None:  # an old system: it is reaped here, and its number is free before its group is dead
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status
            return pid != 0
        return waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> int:
        if getattr(os, "waitid", None) is not None:
            _, self._status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(self._status)

    def _drain(self, pieces: int) -> bool:
        """Take what there is, at most so many pieces; `False` at its end."""
        if self._pipe < 0:
            return True
        for _ in range(pieces):
            try:
                piece = os.read(self._pipe, READ_BYTES)
            except BlockingIOError:
                return True
            if not piece:
                os.close(self._pipe)
                self._pipe = -1
                return False
            self._output.write(piece)
        return True

    def _reason(self, now_us: int) -> str:
        """Why it must end now; empty: it need not."""
        if self._lease and 0 < _instant(self._lease) <= now_us:
            return BY_LEASE
        if 0 < self._due_us <= now_us:
            return BY_DUE
        errors = _size(self._errors) if self._errors and self._limit_bytes else 0
        return BY_LIMIT if self._is_too_much(errors) else ""

    def _is_too_much(self, more: int = 0) -> bool:
        return 0 < self._limit_bytes < self._output.total_bytes + more

    def _kill(self) -> None:
        try:  # noqa: SIM105 -- contextlib is another import
            os.killpg(self._pid, _KILL)
        except (ProcessLookupError, PermissionError):
            pass

    def _tell(self, text: str) -> None:
        partial = f"{self._folder}/{EXIT}.partial"
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(file, f"{text}\n".encode())
        os.close(file)
        os.rename(partial, f"{self._folder}/{EXIT}")  # noqa: PTH104 -- as above

    def _sweep(self) -> None:
        """Nobody else may be there to find what has left the group."""
        if self._tags:
            reaper = _reaper()
            reaper.sweep(reaper.Target(frozenset({self._tags})))

    def _now_us(self) -> int:
        return time.clock_gettime_ns(self._clock) // 1_000


def _reaper() -> "Any":  # noqa: ANN401 -- a module of the program itself, without the package
    """The module beside this one; large, and seldom wanted."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 -- as above
    if folder not in sys.path:
        sys.path.append(folder)
    return __import__("reaper")


def _names(options: Mapping[str, str], option: str) -> frozenset[str]:
    return frozenset(options.get(option, "").split(",")) - {""}


def _handle(pid: int) -> int | None:
    """Tells when a process has ended."""
    pidfd_open = getattr(os, "pidfd_open", None)
    if pidfd_open is None:
        return None
    try:
        handle: int = pidfd_open(pid)
    except OSError:
        return None
    return handle


def _instant(path: str) -> int:
    """What a file of a lease says; 0 when it cannot be read: whoever wrote it is asked again at the next look."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- as above
            return int(file.read(32))
    except (OSError, ValueError):
        return 0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- as above
    except OSError:
        return 0


def main(words: Sequence[str]) -> None:
    """See the module."""
    end = words.index("--")
    options = dict(word.split("=", 1) for word in words[1:end])
    Supervised(words[0], options).run(words[end + 1], words[end + 2 :])


if __name__ == "__main__":
    main(sys.argv[1:])
