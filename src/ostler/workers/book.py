"""What a worker has under way, on disk, so that the next daemon can take it up.

    <folder>/<attempt>/attempt.json    the assignment, its session, when it began
                      /<step>/         each command of it: see `supervision`

Invariants: an attempt is in the book before anything of it runs, and leaves it after its end is safe. What is taken up
is only what is whole: an attempt of this boot all of whose commands go on or have ended by themselves. An attempt that
runs no command of its own (a model call) is not in the book: a call that was cut off cannot be taken up.

The assignment holds the key of the attempt, which is good for it alone: the files are for their user only.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import msgspec

from ostler.domain.work import Assignment
from ostler.workers import companion
from ostler.workers.run import Key

_FILE = "attempt.json"
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt in the book. `begun_us`: of the stopwatch that all daemons of a boot share."""

    assignment: Assignment
    session_id: str
    begun_ms: int
    begun_us: int
    boot: str = ""

    @property
    def key(self) -> Key:
        """(task id, generation)."""
        return self.assignment.task_id, self.assignment.generation


class Book(Protocol):
    """Where a daemon writes down what it has under way."""

    def begin(self, entry: Entry) -> Path | None:
        """Write an attempt down; its folder. `None`: it cannot be taken up later, and runs all the same."""
        ...

    def end(self, key: Key) -> None:
        """Its end is safe, or it is given up; nothing of it runs."""
        ...

    def load(self) -> tuple[Entry, ...]:
        """What an earlier daemon left that can be taken up, oldest first."""
        ...

    def can_be_taken_up(self, key: Key) -> bool:
        """Whether that still holds for one of them."""
        ...

    def folder_of(self, key: Key) -> Path | None:
        """Where an attempt of the book has its files."""
        ...

    def clear(self, kept: Collection[Key]) -> None:
        """Strike out all others; nothing of them runs."""
        ...


class FolderBook:
    """A book in a folder of one worker alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = boot_name()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self, entry: Entry) -> Path | None:
        """See the port."""
        folder = self._place(entry.key)
        entry = msgspec.structs.replace(entry, boot=self._boot)
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            partial = folder / f"{_FILE}.partial"
            with open(partial, "wb", opener=_private) as file:
                file.write(msgspec.json.encode(entry))
            partial.replace(folder / _FILE)
        except OSError:
            return None
        return folder

    def end(self, key: Key) -> None:
        """See the port."""
        shutil.rmtree(self._place(key), ignore_errors=True)

    def load(self) -> tuple[Entry, ...]:
        """See the port."""
        found = [entry for path in self._folder.glob(f"*/{_FILE}") if (entry := _read(path)) is not None]
        whole = [entry for entry in found if entry.boot == self._boot and self.can_be_taken_up(entry.key)]
        return tuple(sorted(whole, key=lambda entry: (entry.begun_us, entry.key)))

    def can_be_taken_up(self, key: Key) -> bool:
        """See the port."""
        return companion.is_whole(f"{self._place(key)}")

    def folder_of(self, key: Key) -> Path | None:
        """See the port."""
        return self._place(key)

    def clear(self, kept: Collection[Key]) -> None:
        """See the port."""
        places = {self._place(key) for key in kept}
        for path in self._folder.iterdir():
            if path not in places:
                shutil.rmtree(path, ignore_errors=True)

    def _place(self, key: Key) -> Path:
        name = hashlib.sha256(f"{key[0]}\0{key[1]}".encode(errors="surrogatepass")).hexdigest()[:32]
        return self._folder / name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path) -> Entry | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    return None


def boot_name() -> str:
    """What tells this boot of the machine from any other; instants and processes of another mean nothing."""
    with contextlib.suppress(OSError):
        return _BOOT_FILE.read_text(encoding="ascii").strip()
    import psutil  # noqa: PLC0415 -- only where the system has no name for it

    return str(round(psutil.boot_time()))
