"""`SqliteStore`: the durable store in one file, for one hub process.

Two threads besides the event loop. The writer (`group_commit`) owns the connection that writes: it opens the file,
brings its schema up to date, flushes, checkpoints and closes. The reader runs the reads of the port one after the
other on a connection that cannot write. Neither ever runs on the event loop, so a slow disk does not stop the hub.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from ostler.domain.commands import Command, Result
from ostler.domain.errors import InvalidInputError
from ostler.store.errors import StoreError
from ostler.store.file_lock import FileLock
from ostler.store.flush import Flusher
from ostler.store.group_commit import GroupCommit, Outcome
from ostler.store.reads import Queries
from ostler.store.rows import Run
from ostler.store.sqlite_engine import (
    SqliteSession,
    copy_database,
    create_private_file,
    explained,
    linked_version,
    open_reader,
    open_writer,
    own_problems,
    queries,
    snapshot,
    statements,
)
from ostler.store.store_reads import StoreReads

T = TypeVar("T")


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the store was opened."""

    flushes: int
    """Transactions that waiting commands were gathered into."""
    commands: int
    retried_flushes: int
    """Flushes that failed as a whole and were applied batch by batch."""


class _WriterSide:
    """What lives in the writer thread: the connection that writes, from open to close."""

    def __init__(self, path: Path, *, migrate: bool) -> None:
        self._path = path
        self._migrate = migrate
        self._connection: sqlite3.Connection | None = None
        self._flusher: Flusher | None = None

    def open(self) -> None:
        """Open or make the file and bring its schema up to date."""
        try:
            create_private_file(self._path)
            self._connection = open_writer(self._path, migrate=self._migrate)
            self._flusher = Flusher(SqliteSession(self.driver()), statements(), self.explain)
        except Exception as error:  # boundary: explained to whoever opens the store
            self.close()
            raise self.explain(error) from error

    def driver(self) -> sqlite3.Connection:
        """The driver's connection."""
        if self._connection is None:
            raise StoreError("the store is closed", where=str(self._path))
        return self._connection

    def flush(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        """See `group_commit.Backend`."""
        if self._flusher is None:
            raise StoreError("the store is closed")
        return self._flusher.flush(batches)

    @property
    def retry_count(self) -> int:
        """See `StoreStats`."""
        return self._flusher.retry_count if self._flusher is not None else 0

    def close(self) -> None:
        """Close; the last connection to do so copies the log into the database and removes it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._flusher = None

    def explain(self, error: Exception) -> Exception:
        """What a caller is told."""
        return explained(error, self._path)


class SqliteStore(StoreReads):
    """The durable store. Make one with `await SqliteStore.open(path)`; end it with `close`."""

    def __init__(self, path: Path, lock: FileLock, *, migrate: bool) -> None:
        self.path = path
        self._lock = lock
        self._side = _WriterSide(path, migrate=migrate)
        self._writer = GroupCommit(self._side, name=f"store-writer {path.name}")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix=f"store-reader {path.name}")
        self._maintenance = ThreadPoolExecutor(1, thread_name_prefix=f"store-maintenance {path.name}")
        self._reader: sqlite3.Connection | None = None
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, path: str | Path, *, migrate: bool = True) -> Self:
        """Open a database, or make one.

        Raises `ConflictError` when a process has it open; `StoreError` when it is no database of ours, is newer than
        this code, needs a migration and `migrate` is false, or cannot be read and written.
        """
        if str(path) == ":memory:":
            raise InvalidInputError("a durable store needs a file", where="path", remedy="use MemoryStore for memory")
        version = linked_version()
        if not version.supported:
            raise StoreError(f"SQLite {version.text} is too old", remedy="use a Python linked to SQLite 3.37 or later")
        store = cls(*_lock(path), migrate=migrate)
        try:
            await store._writer.run(store._side.open)
            await store._in_thread(store._readers, store._open_reader)
        except BaseException:
            await store.close()
            raise
        return store

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """See the port. An error means that no command of this call was applied, with one exception.

        When the disk fails during the commit itself the outcome is open, and asking again is safe.
        """
        if not commands:
            return []
        self._must_be_open()
        return await self._writer.apply(tuple(commands))

    async def backup(self, target: str | Path) -> None:
        """Copy the database into a new file while work goes on. Raises `ConflictError` when the file exists."""
        await self._maintain(lambda: copy_database(self.path, Path(target)))

    async def check(self) -> list[str]:
        """Everything that is wrong with the database, one line each; empty when it is sound. Reads all of it."""
        return await self._maintain(self._check)

    def stats(self) -> StoreStats:
        """Counters since the store was opened."""
        return StoreStats(
            flushes=self._writer.flush_count,
            commands=self._writer.command_count,
            retried_flushes=self._side.retry_count,
        )

    async def close(self) -> None:
        """Finish what was handed over, close and let go of the file. Safe to repeat; every caller waits for the end."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        """In a thread, which nobody can end in the middle; whatever becomes of one part, those after it are closed."""
        # The writer is the last to close: the last one copies the log into the database, and only the writer may.
        try:
            with contextlib.ExitStack() as ending:
                ending.callback(self._lock.release)
                ending.callback(self._writer.end, self._side.close)
                ending.callback(self._readers.shutdown)
                ending.callback(lambda: self._readers.submit(self._close_reader).result())
                self._maintenance.shutdown()
        except (sqlite3.Error, OSError) as error:
            raise explained(error, self.path) from error

    def _open_reader(self) -> None:
        self._reader = open_reader(self.path)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _must_be_open(self) -> None:
        if self._closing is not None:
            raise StoreError("the store is closed", where=str(self.path))

    async def _read(self, read: Callable[[Run, Queries], T]) -> T:
        def inside_snapshot() -> T:
            if self._reader is None:
                raise StoreError("the store is closed", where=str(self.path))
            with snapshot(self._reader) as run:
                return read(run, queries())

        self._must_be_open()
        return await self._in_thread(self._readers, inside_snapshot)

    async def _maintain(self, work: Callable[[], T]) -> T:
        self._must_be_open()
        return await self._in_thread(self._maintenance, work)

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            raise explained(error, self.path) from error

    def _check(self) -> list[str]:
        from ostler.store.check import problems  # noqa: PLC0415 - Core, which nothing else here needs

        with contextlib.closing(open_reader(self.path)) as connection, snapshot(connection) as run:
            return own_problems(run) + problems(run)


def _lock(path: str | Path) -> tuple[Path, FileLock]:
    """The file behind a path, and the lock beside it: not beside a link to it, or two names would be two locks."""
    resolved = Path(path).resolve()
    try:
        return resolved, FileLock(resolved)
    except OSError as error:
        raise explained(error, resolved) from error
