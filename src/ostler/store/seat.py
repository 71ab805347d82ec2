"""Who leads a pool: a lease in the row of its writer, kept by the clock of the database alone.

The one who leads renews the lease; when it ends, or is given back, anybody may take it, which also makes the one before
unable to write (see `postgres_engine`). The lease is in a row and not in a session, so a frozen process or a machine
that went away keeps it no longer than it lasts, and it works behind a pooler. Who waits hears of a lease that was given
back at once, by a notification on a connection of its own (`direct_url` where the other goes through a pooler); when
that is lost, it looks again a moment later all the same.

Nothing is waited for longer than `limit_s`: a wire that was cut tells nobody, and who leads must know in time that it
no longer does. What was asked in vain is left behind with its connection; whether it happened, the next look says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

import msgspec
import psycopg

from ostler.domain.hubs import HubRow
from ostler.store.migrate import REVISIONS
from ostler.store.postgres_engine import CONNECT, NOW_MS, Place, explained

T = TypeVar("T")
Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]
GONE_AFTER_MS = 3_600_000
"""A hub that was not seen for so long is forgotten."""
LIMIT_S = 5.0
LEFT_BEHIND_S = 10.0
"""Beyond what a wire that was cut takes to be noticed: a question that is given up ends by that, or now."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who leads now. `left_ms` <= 0: nobody does any more."""

    owner: str
    url: str
    epoch: int
    left_ms: int


class Seat:
    """The lease of one pool as one process sees it. Belongs to one event loop."""

    def __init__(self, place: Place, direct: Place, limit_s: float) -> None:
        self._place = place
        self._direct = direct
        self._limit_s = limit_s
        self._behind: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._connection: Connection | None = None
        self._listener: Connection | None = None
        self._lock = asyncio.Lock()
        self._writer = f'"{place.schema}".writer'
        self._hub = f'"{place.schema}".hub'
        self._channel = f"{place.schema}_free"

    @classmethod
    def at(cls, place: Place, direct_url: str = "", limit_s: float = LIMIT_S) -> Self:
        """The seat of a pool whose tables are there. `limit_s`: how long an answer may take."""
        return cls(place, Place(direct_url or place.url, place.pool), limit_s)

    async def take(self, owner: str, url: str, lease_ms: int) -> int | None:
        """The new epoch if nobody leads; `None` if somebody does. Raises `StoreError`.

        A row that is locked is not waited for: the transaction of a leader that was cut off holds it until the server
        gives it up, and a lease that was asked for long ago would be over when it came.
        """
        free = f"SELECT ctid FROM {self._writer} WHERE until_ms < {NOW_MS} FOR NO KEY UPDATE SKIP LOCKED"  # noqa: S608 - our own names
        text = (
            f"UPDATE {self._writer} SET epoch = epoch + 1, owner = %s, url = %s, until_ms = {NOW_MS} + %s"  # noqa: S608 - our own names
            f" WHERE ctid = ({free}) RETURNING epoch"
        )
        found = await self._ask(text, (owner, url, lease_ms))
        return found[0][0] if found else None

    async def renew(self, epoch: int, lease_ms: int) -> bool:
        """Lead on; whether that is still so. Raises `StoreError`: then nobody knows."""
        text = f"UPDATE {self._writer} SET until_ms = {NOW_MS} + %s WHERE epoch = %s RETURNING epoch"  # noqa: S608 - our own names
        return bool(await self._ask(text, (lease_ms, epoch)))

    async def give_back(self, epoch: int) -> None:
        """Let the next one lead at once. Raises `StoreError`: then the lease ends by itself."""
        text = f"UPDATE {self._writer} SET until_ms = 0, owner = '', url = '' WHERE epoch = %s"  # noqa: S608 - our own names
        await self._ask(text, (epoch,))
        await self._ask("SELECT pg_notify(%s, '')", (self._channel,))

    async def knows_schema(self) -> bool:
        """Whether this code can write in the pool as it is now: a newer version may have brought it up to date while
        this one stood by. Raises `StoreError`.
        """
        ((revision,),) = await self._ask(f'SELECT version_num FROM "{self._place.schema}".alembic_version', ())  # noqa: S608 - our own names
        return revision in REVISIONS

    async def holder(self) -> Holder:
        """Who leads. Raises `StoreError`."""
        text = f"SELECT owner, url, epoch, until_ms - {NOW_MS} FROM {self._writer}"  # noqa: S608 - our own names
        ((owner, url, epoch, left_ms),) = await self._ask(text, ())
        return Holder(owner=owner, url=url, epoch=epoch, left_ms=left_ms)

    async def announce(self, row: HubRow) -> None:
        """Say that this hub is there. Raises `StoreError`."""
        body = msgspec.json.encode(row).decode()
        text = (
            f"INSERT INTO {self._hub} (name, url, seen_ms, body) VALUES (%s, %s, {NOW_MS}, %s)"  # noqa: S608 - our own names
            " ON CONFLICT (name) DO UPDATE SET url = excluded.url, seen_ms = excluded.seen_ms, body = excluded.body"
        )
        await self._ask(text, (row.name, row.url, body))
        await self._ask(f"DELETE FROM {self._hub} WHERE seen_ms < {NOW_MS} - %s", (GONE_AFTER_MS,))  # noqa: S608 - our own names

    async def leave(self, name: str) -> None:
        """A hub is there no longer. Raises `StoreError`."""
        await self._ask(f"DELETE FROM {self._hub} WHERE name = %s", (name,))  # noqa: S608 - our own names

    async def hubs(self) -> tuple[HubRow, ...]:
        """All hubs that were seen lately, by name. Raises `StoreError`."""
        text = (
            f"SELECT hub.body, {NOW_MS} - seen_ms, writer.owner = hub.name AND writer.until_ms >= {NOW_MS}"  # noqa: S608 - our own names
            f" FROM {self._hub} AS hub, {self._writer} AS writer ORDER BY hub.name"
        )
        return tuple(
            msgspec.structs.replace(msgspec.json.decode(body, type=HubRow), seen_ago_ms=max(0, ago_ms), leads=leads)
            for body, ago_ms, leads in await self._ask(text, ())
        )

    async def freed(self, wait_s: float) -> None:
        """Return when the lease was given back, or after so long."""
        with suppress(psycopg.Error):
            if self._listener is None or self._listener.closed:
                self._listener = await self._in_time(_listening(self._direct, self._channel), _close)
                if self._is_closed:
                    await self._let_go()
                return  # it may have been given back before we listened
            async for _ in self._listener.notifies(timeout=wait_s, stop_after=1):
                pass
            return
        await asyncio.sleep(wait_s)  # without notifications: look again a little later

    async def close(self) -> None:
        """Close all connections, also those of questions that are still to be answered; a lease that is held ends by
        itself. Safe to repeat.
        """
        self._is_closed = True
        await self._let_go()
        behind = tuple(self._behind)
        for task in behind:
            task.cancel()
        await asyncio.gather(*behind, return_exceptions=True)

    async def _let_go(self) -> None:
        for connection in (self._connection, self._listener):
            if connection is not None:
                await connection.close()
        self._connection = self._listener = None

    async def _ask(self, text: str, values: tuple[object, ...]) -> list[Row]:
        async with self._lock:
            open_one, self._connection = self._connection, None
            try:
                answer = await self._in_time(_asked(self._place, open_one, text, values), _close_asked)
            except (psycopg.Error, OSError) as error:
                raise explained(error, self._place) from error
            self._connection, rows = answer
            if self._is_closed:
                await self._let_go()
            return rows

    async def _in_time(self, asking: Coroutine[Any, Any, T], close: Callable[[T], Awaitable[None]]) -> T:
        """Its answer, in time. Raises `psycopg.OperationalError` when there is none; one that comes later is closed."""
        task = asyncio.ensure_future(asking)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._limit_s)
        except asyncio.CancelledError:
            self._leave_behind(_given_up(task, close))
            raise
        if not done:
            self._leave_behind(_given_up(task, close))
            raise psycopg.OperationalError(f"no answer within {self._limit_s:g} s")
        return task.result()

    def _leave_behind(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)


async def _asked(
    place: Place, connection: Connection | None, text: str, values: tuple[object, ...]
) -> tuple[Connection, list[Row]]:
    """An answer, on the connection that is open, or on a new one if that turns out to be broken: each of ours can be
    repeated. Without an answer no connection is left open.
    """
    if connection is not None and not connection.closed:
        with suppress(psycopg.OperationalError):
            return connection, await _rows(connection, text, values)
    connection = await _connect(place)
    return connection, await _rows(connection, text, values)


async def _close_asked(answer: tuple[Connection, list[Row]]) -> None:
    await answer[0].close()


async def _listening(place: Place, channel: str) -> Connection:
    connection = await _connect(place)
    await _rows(connection, f'LISTEN "{channel}"', ())
    return connection


async def _close(connection: Connection) -> None:
    await connection.close()


async def _given_up(task: "asyncio.Future[T]", close: Callable[[T], Awaitable[None]]) -> None:
    """Wait for the end of a question that nobody waits for. The driver answers a cancel by asking the server to end it
    too; the second one it obeys.
    """
    try:
        await asyncio.wait({task}, timeout=LEFT_BEHIND_S)
    finally:
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await close(task.result())


async def _connect(place: Place) -> Connection:
    return await psycopg.AsyncConnection.connect(place.url, **CONNECT, application_name="ostler seat")


async def _rows(connection: Connection, text: str, values: tuple[object, ...]) -> list[Row]:
    """Raises `psycopg.Error` with the connection closed."""
    try:
        cursor = await connection.execute(text.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []
    except BaseException:
        await connection.close()
        raise
