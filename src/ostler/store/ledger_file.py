"""A ledger in a file, without an event loop: for a library inside another program, and for the command line.

Each call opens the file, does one thing and closes it, so that several programs may share it: writers wait for their
turn, readers do not wait. What was written is durable when the call returns. Beside a running hub only reads are
possible: the file is the hub's. O(1) for each call, some milliseconds.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec

from ostler.domain.commands import Command, Result
from ostler.domain.errors import ConflictError
from ostler.store.file_lock import FileLock
from ostler.store.flush import Flusher
from ostler.store.ledger_reader import LedgerReader, Read, checked
from ostler.store.local_use import SQLITE_USE, KeptUse, kept_use
from ostler.store.rows import Run
from ostler.store.sqlite_engine import (
    SqliteSession,
    create_private_file,
    explained,
    open_reader,
    open_writer,
    queries,
    snapshot,
    statements,
)

T = TypeVar("T")
PATIENCE_S, PAUSE_S = 5.0, 0.01


class LedgerFile(LedgerReader):
    """Reads and writes of a ledger, each by itself."""

    def __init__(self, path: str | Path, *, patience_s: float = PATIENCE_S) -> None:
        self.path = Path(path).resolve()
        self._patience_s = patience_s
        """How long a writer waits for its turn."""

    def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Apply commands in one transaction; durable when it returns. Raises `ConflictError` when the file stays in
        use, `StoreError` when it cannot be used.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        try:
            return self._guarded(lambda: self._apply(commands))
        finally:
            lock.release()

    def use(self, run: Run) -> KeptUse:
        """See `LedgerReader`."""
        return kept_use(run, SQLITE_USE)

    def _lock(self) -> FileLock:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return FileLock(self.path)
            except ConflictError:
                if time.monotonic() >= deadline:
                    raise
            except OSError as error:
                raise explained(error, self.path) from error
            time.sleep(PAUSE_S)

    def _apply(self, commands: Sequence[Command]) -> list[Result]:
        create_private_file(self.path)
        with closing(open_writer(self.path)) as connection:
            flusher = Flusher(SqliteSession(connection), statements(), lambda error: explained(error, self.path))
            (outcome,) = flusher.flush([commands])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def read(self, read: Read[T], empty: T) -> T:
        """See `LedgerReader`."""
        if not self.path.exists():
            return empty

        def inside() -> T:
            with closing(open_reader(self.path)) as connection, snapshot(connection) as run:
                return read(checked(run, str(self.path)), queries().ledger)

        return self._guarded(inside)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            raise explained(error, self.path) from error
