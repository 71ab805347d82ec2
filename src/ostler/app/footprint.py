"""What a session takes of the memory, and the end of one that took too much.

Long sessions of some agent command lines grow and give nothing back. So when a wave of work is over (nothing runs,
nothing can start, no call of the gateway is under way) and the process with its children is above a limit, it ends in
good order: everything is in the store, a line goes into the history, and whoever starts it next starts fresh. Never in
the middle of work.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from ostler.domain.clock import Clock

HISTORY_FILE = "respawn-history.jsonl"
DEFAULT_LIMIT_BYTES = 8192 * 1024**2
LIMIT_ENV = "OSTLER_SELF_MEM_LIMIT"
"""Megabytes; the name that supervisors of agents have for it is taken too."""
OTHER_LIMIT_ENV = "SUPERVISOR_SELF_MEM_LIMIT"


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a process and its children."""

    pid: int
    bytes: int
    children: int
    limit_bytes: int

    @property
    def is_above(self) -> bool:
        """Whether it is more than it should be."""
        return self.bytes > self.limit_bytes


class Respawn(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history."""

    at_ms: int
    pid: int
    footprint_bytes: int
    limit_bytes: int
    batch: str | None = None
    ended: int = 0
    """Tasks that had ended since its start."""


def limit_bytes(told_mb: int | None = None) -> int:
    """The limit: as told, by the environment (megabytes), or the usual one."""
    if told_mb is not None:
        return told_mb * 1024**2
    text = os.environ.get(LIMIT_ENV) or os.environ.get(OTHER_LIMIT_ENV) or ""
    return int(text) * 1024**2 if text.isascii() and text.isdecimal() else DEFAULT_LIMIT_BYTES


def footprint(pid: int, limit: int) -> Footprint | None:
    """What a process and its children take; `None` when there is none. Resident memory, as the system counts it."""
    import psutil

    try:
        process = psutil.Process(pid)
        total = process.memory_info().rss
        children = process.children(recursive=True)
    except psutil.Error:
        return None
    for child in children:
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return Footprint(pid=pid, bytes=total, children=len(children), limit_bytes=limit)


def write_history(folder: Path, found: Footprint, clock: Clock, *, batch: str | None, ended: int) -> Respawn:
    """Add a line to the history; it is on the disk when this returns."""
    line = Respawn(
        at_ms=clock.now_ms(),
        pid=found.pid,
        footprint_bytes=found.bytes,
        limit_bytes=found.limit_bytes,
        batch=batch,
        ended=ended,
    )
    with (folder / HISTORY_FILE).open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return line


def history(folder: Path) -> list[Respawn]:
    """The history, oldest first; a line that is torn (the power went out) is left out."""
    path = folder / HISTORY_FILE
    lines = path.read_bytes().splitlines() if path.is_file() else []
    found = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(line, type=Respawn))
    return found
