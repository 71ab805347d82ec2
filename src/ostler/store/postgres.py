"""`PostgresStore`: the durable store in a PostgreSQL database, written by one hub at a time (see `postgres_engine`).

Threads as in the SQLite store: the writer flushes all that waits in one transaction; a reader runs the reads of the
port one after the other, each in one read-only snapshot. Reads are asked again on a new connection when the server
went away in the middle; they change nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Self, TypeVar

import msgspec
import psycopg

from ostler.domain.commands import Command, Result
from ostler.store.errors import StoreError
from ostler.store.flush import Flusher
from ostler.store.group_commit import GroupCommit, Outcome
from ostler.store.migrate import is_current
from ostler.store.postgres_engine import (
    DEFAULT_POOL,
    PATIENCE_S,
    Connection,
    Lost,
    Place,
    always,
    claim,
    connect,
    explained,
    place_of,
    queries,
    revision_of,
    snapshot,
    statements,
    waited_for,
)
from ostler.store.postgres_session import PostgresSession
from ostler.store.reads import Queries
from ostler.store.rows import Run
from ostler.store.store_reads import StoreReads

T = TypeVar("T")


def prepare(place: Place, *, migrate: bool = True) -> None:
    """Make the pool's schema, or bring it up to date. Raises `OstlerError`."""
    try:
        with closing(connect(place)) as connection, snapshot(connection, place) as run:
            if is_current(revision_of(run, place)):
                return
    except psycopg.Error as error:
        raise explained(error, place) from error
    from ostler.store.postgres_migrating import upgrade  # noqa: PLC0415 - a fifth of a second, for this alone

    upgrade(place, migrate=migrate)


class _WriterSide:
    """What lives in the writer thread."""

    def __init__(self, place: Place, owner: str, epoch: int | None, patience_s: float, lost: Lost) -> None:
        self._place = place
        self._lost = lost
        self._owner = owner
        self._epoch = epoch
        self._patience_s = patience_s
        self._session: PostgresSession | None = None
        self._flusher: Flusher | None = None

    def open(self) -> None:
        """Become the writer, unless the caller did that before."""
        try:
            self._session = self._writing(connect(self._place))
            self._flusher = Flusher(self._session, statements(), self.explain)
        except Exception as error:  # boundary: explained to whoever opens the store
            self.close()
            raise self.explain(error) from error

    def _writing(self, connection: Connection) -> PostgresSession:
        try:
            epoch = self._epoch if self._epoch is not None else claim(connection, self._place, self._owner)
            return PostgresSession(self._place, connection, epoch, self._patience_s, self._lost)
        except (psycopg.Error, StoreError):
            connection.close()
            raise

    def flush(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        """See `group_commit.Backend`."""
        if self._flusher is None:
            raise StoreError("the store is closed")
        return self._flusher.flush(batches)

    def close(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            self._session.close()
            self._session = self._flusher = None

    def explain(self, error: Exception) -> Exception:
        """What a caller is told."""
        return explained(error, self._place)


class PostgresStore(StoreReads):
    """The durable store. Make one with `await PostgresStore.open(url)`; end it with `close`."""

    def __init__(self, place: Place, side: _WriterSide, patience_s: float, lost: Lost) -> None:
        self.place = place
        self._lost = lost
        self._side = side
        self._patience_s = patience_s
        self._writer = GroupCommit(side, name=f"store-writer {place.pool}")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix=f"store-reader {place.pool}")
        self._reader: Connection | None = None
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        pool: str = DEFAULT_POOL,
        owner: str = "",
        epoch: int | None = None,
        migrate: bool = True,
        patience_s: float = PATIENCE_S,
        lost: Lost = always,
    ) -> Self:
        """Open a pool, or make it; from then on whoever had it open before can write no more.

        `epoch`: the right to write that was won before; `None` takes it. `patience_s`: how long a server that goes away
        is waited for. `lost`: why the right to write is over, asked before each transaction and while a server is
        waited for; any thread may ask. Raises `InvalidInputError` for an address, `StoreError` when it cannot be used.
        """
        place = place_of(url, pool)
        await asyncio.to_thread(prepare, place, migrate=migrate)
        store = cls(place, _WriterSide(place, owner, epoch, patience_s, lost), patience_s, lost)
        try:
            await store._writer.run(store._side.open)
        except BaseException:
            await store.close()
            raise
        return store

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """See the port. An error means that no command of this call was applied, unless the server went away during
        the commit and did not come back in time: then the outcome is open, and asking again is safe.
        """
        if not commands:
            return []
        self._must_be_open()
        return await self._writer.apply(tuple(commands))

    async def check(self) -> list[str]:
        """Everything that is wrong with the pool, one line each; empty when it is sound. Reads all of it."""
        from ostler.store.check import problems  # noqa: PLC0415 - Core, which nothing else here needs

        return await self._read(lambda run, _: problems(lambda text, values: run(text.replace("?", "%s"), values)))

    async def close(self) -> None:
        """Finish what was handed over and close. Safe to repeat; every caller waits for the end."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        """In a thread, which nobody can end in the middle; whatever becomes of one part, those after it are closed."""
        with ExitStack() as ending:
            ending.callback(self._writer.end, self._side.close)
            ending.callback(self._readers.shutdown)
            self._readers.submit(self._close_reader).result()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _must_be_open(self) -> None:
        if self._closing is not None:
            raise StoreError("the store is closed", where=self.place.shown)

    async def _read(self, read: Callable[[Run, Queries], T]) -> T:
        self._must_be_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self._in_snapshot(read))
        except (psycopg.Error, msgspec.MsgspecError, ValueError) as error:
            raise explained(error, self.place) from error

    def _in_snapshot(self, read: Callable[[Run, Queries], T]) -> T:
        if self._reader is None or self._reader.closed:
            self._reader = waited_for(self.place, self._patience_s, self._lost)
        try:
            with snapshot(self._reader, self.place) as run:
                return read(run, queries())
        except psycopg.OperationalError:
            if not self._reader.closed:
                raise
        self._reader = waited_for(self.place, self._patience_s, self._lost)
        with snapshot(self._reader, self.place) as run:
            return read(run, queries())
