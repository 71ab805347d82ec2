"""Ends of attempts on disk until the hub has them, so that work that was done is not lost with its daemon.

A journal: an end is appended before it is offered to the hub, and so is the word that the hub has it; when nothing
waits any more the file is emptied. So an end costs one small write, also where files are dear to make.

Invariants: an end is on disk before it is offered, and leaves the disk only after the hub has it. What cannot be read
tells nothing: a piece that was written half, for each begins with a new line, and whatever else lies in the folder. A
kill of the process loses nothing; a loss of power may lose the newest ends, whose attempts are then run again.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ostler.domain.work import Finished, Report
from ostler.workers.run import Key

JOURNAL = "ends"
LARGE_BYTES = 4 * 1024 * 1024
"""From this size on a journal that holds mostly what the hub has is written anew."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SUFFIX = ".json"
_PARTIAL = ".partial"


class Spool:
    """A folder of ends, of one daemon alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        self._kept: dict[Key, Finished] = {}
        self._bytes = 0
        """Length of the journal."""
        self._limit = LARGE_BYTES
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, end: Finished) -> None:
        """Keep an end. One that cannot be written is still told, it only does not outlive the daemon."""
        self._kept[end.task_id, end.generation] = end
        self._append(msgspec.json.encode(end))

    def drop(self, reports: Iterable[Report]) -> None:
        """The hub has them."""
        ends = {(report.task_id, report.generation) for report in reports if isinstance(report, Finished)}
        told = [key for key in ends if self._kept.pop(key, None) is not None]
        if not told:
            return
        if not self._kept:
            self._empty()
            return
        self._append(msgspec.json.encode(told))
        if self._bytes > self._limit:
            self._write_anew()

    def load(self) -> list[Finished]:
        """What an earlier daemon could not tell, oldest first."""
        self._kept = self._journal()
        for end in self._loose():
            if (end.task_id, end.generation) not in self._kept:
                self.put(end)
        self._sweep()
        return list(self._kept.values())

    def _journal(self) -> dict[Key, Finished]:
        """The ends of the journal of which nothing says that the hub has them."""
        try:
            raw = self._path.read_bytes()
        except OSError:
            return {}
        self._bytes = len(raw)
        found: dict[Key, Finished] = {}
        for record in raw.split(b"\n"):
            with contextlib.suppress(*UNREADABLE):
                if record.startswith(b"["):
                    for key in msgspec.json.decode(record, type=list[Key]):
                        found.pop(key, None)
                elif record:
                    end = msgspec.json.decode(record, type=Finished)
                    found[end.task_id, end.generation] = end
        return found

    def _loose(self) -> list[Finished]:
        """Ends in files of their own, as earlier versions kept them, oldest first."""
        found: list[tuple[int, str, Finished]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError, *UNREADABLE):
                end = msgspec.json.decode(path.read_bytes(), type=Finished)
                found.append((path.stat().st_mtime_ns, path.name, end))
        return [end for _, _, end in sorted(found, key=lambda row: row[:2])]

    def _sweep(self) -> None:
        """Take away what is no journal: what could be read of it is in there now."""
        for path in self._folder.iterdir():
            if path.name != JOURNAL:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _append(self, record: bytes) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._bytes += os.write(handle, b"\n" + record)
            finally:
                os.close(handle)

    def _empty(self) -> None:
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
            self._bytes, self._limit = 0, LARGE_BYTES

    def _write_anew(self) -> None:
        """Leave out what the hub has. Where more than half of it waits, that is not worth its time yet."""
        whole = b"".join(b"\n" + msgspec.json.encode(end) for end in self._kept.values())
        if 2 * len(whole) > self._bytes:
            self._limit = 2 * self._bytes
            return
        self._limit = LARGE_BYTES
        partial = self._path.with_suffix(_PARTIAL)
        with contextlib.suppress(OSError):
            partial.write_bytes(whole)
            partial.replace(self._path)
            self._bytes = len(whole)
