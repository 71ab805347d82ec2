"""The daemon's side of `supervisor`: starts one for a command, and finds one again that an earlier daemon started.

A `Step` is one command of an attempt with its folder. What a folder says is read here and nowhere else. Whether its
supervisor lives is told by a lock that the system takes away with the process, never by a number alone, because numbers
of processes are used again.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ostler.workers import companion, supervisor
from ostler.workers.rules import Launch

SEGMENT_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an attempt, and where its files are."""

    folder: Path
    output: Path | None = None
    """File for all of its output; `None`: pieces in the folder, of which the first and the newest are kept."""
    errors: Path | None = None
    """File for standard error; `None`: it goes where standard output goes."""
    limit_bytes: int = 0
    """Of both together, it is ended beyond it; 0 = none."""
    due_us: int = 0
    """Instant of the boot's clock at which it is ended whoever lives; 0 = none."""

    @property
    def is_begun(self) -> bool:
        """Whether a command was begun here, by whatever daemon."""
        return self.pids is not None

    @property
    def pids(self) -> tuple[int, int] | None:
        """Process ids of the supervisor and of its command, once that is started."""
        try:
            own, command = (self.folder / supervisor.ALIVE).read_bytes().split()
            return int(own), int(command)
        except (OSError, ValueError):
            return None

    @property
    def is_alive(self) -> bool:
        """Whether its supervisor lives."""
        return companion.is_locked(f"{self.folder / supervisor.ALIVE}")

    @property
    def end(self) -> "StepEnd | None":
        """How it ended, when its supervisor saw that."""
        try:
            lines = (self.folder / supervisor.EXIT).read_text(encoding="ascii").splitlines()
            said = dict(line.split("=", 1) for line in lines)
            if "errno" in said:
                return StepEnd(errno=int(said["errno"]))
            return StepEnd(code=int(said["status"]), by=said["by"])
        except (OSError, ValueError, KeyError):
            return None

    def promise(self, until_us: int) -> None:
        """It is about to be asked to end: what is left of its group has until then."""
        with contextlib.suppress(OSError):
            (self.folder / supervisor.STOP).write_text(str(until_us), encoding="ascii")


class StepEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. `code`: negative for a signal. `by`: the rule by which its supervisor ended it."""

    code: int = 0
    by: str = ""
    errno: int | None = None
    """It never started."""


class Follower:
    """Reads the output of a step from its beginning, while it grows. `on_skip` is told of bytes that are gone: those
    between the first piece and the newest.
    """

    def __init__(self, step: Step, on_output: Callable[[bytes], None], on_skip: Callable[[int], None]) -> None:
        self._step = step
        self._on_output = on_output
        self._on_skip = on_skip
        self._read = 0

    def read(self, limit_bytes: int) -> bool:
        """Take in what is new, about so much at most; whether there was anything."""
        begun = self._read
        while self._read - begun < limit_bytes and (piece := self._next()):
            self._read += len(piece)
            self._on_output(piece)
        return self._read > begun

    def _next(self) -> bytes:
        if self._step.output is not None:
            return _piece(self._step.output, self._read)
        index = self._read // SEGMENT_BYTES
        piece = _piece(self._segment(index), self._read % SEGMENT_BYTES)
        if piece or index == 0 or self._segment(index).exists():
            return piece
        newer = [number for number in self._segments() if number > index]
        if not newer:
            return b""
        skipped = min(newer) * SEGMENT_BYTES - self._read
        self._read += skipped
        self._on_skip(skipped)
        return self._next()

    def _segment(self, index: int) -> Path:
        return self._step.folder / f"output.{index}"

    def _segments(self) -> list[int]:
        return [int(path.suffix[1:]) for path in self._step.folder.glob("output.*")]


def _piece(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(_READ_BYTES)
    except OSError:
        return b""


def start(
    launch: Launch, program: str, step: Step, tags: Mapping[str, str], lease: Path | None, clock: int
) -> subprocess.Popen[bytes]:
    """Start a command under a supervisor. Raises `OSError` when this machine cannot."""
    step.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    said: dict[str, object] = {"clock": clock, "tags": ",".join(tags), "limit": step.limit_bytes, "due": step.due_us}
    if step.output is None:
        said["segment"] = SEGMENT_BYTES
    else:
        said["output"] = step.output
    if step.errors is not None:
        said["errors"] = step.errors
    if lease is not None:
        said["lease"] = lease
    if "LC_CTYPE" not in launch.env:
        said["unset"] = "LC_CTYPE"  # Python sets it where the language is C
    options = [f"{name}={value}" for name, value in said.items()]
    flags = ["-I", "-S"] if sys.platform == "linux" else ["-I"]
    words = [sys.executable, *flags, supervisor.__file__, str(step.folder), *options, "--", program, *launch.argv]
    with Path(launch.stdin or os.devnull).open("rb") as source:
        return subprocess.Popen(
            words,
            cwd=launch.cwd,
            env=dict(launch.env),
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
