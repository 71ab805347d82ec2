"""Who leads a pool: a lease in the row of its writer, kept by the clock of the database alone.

The one who leads renews the lease; when it ends, or is given back, anybody may take it, which also makes the one before
unable to write (see `postgres_engine`). The lease is in a row and not in a session, so a frozen process or a machine
that went away keeps it no longer than it lasts, and it works behind a pooler. Who waits hears of a lease that was given
back at once, by a notification on a connection of its own (`direct_url` where the other goes through a pooler); when
that is lost, it looks again a moment later all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self, TypeVar

import msgspec
import psycopg

from ostler.domain.hubs import HubRow
from ostler.store.postgres_engine import CONNECT, NOW_MS, Place, explained

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
GONE_AFTER_MS = 3_600_000
"""A hub that was not seen for so long is forgotten."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who leads now. `left_ms` <= 0: nobody does any more."""

    owner: str
    url: str
    epoch: int
    left_ms: int


class Seat:
    """The lease of one pool as one process sees it. Belongs to one event loop."""

    def __init__(self, place: Place, direct: Place) -> None:
        self._place = place
        self._direct = direct
        self._connection: Connection | None = None
        self._listener: Connection | None = None
        self._lock = asyncio.Lock()
        self._writer = f'"{place.schema}".writer'
        self._hub = f'"{place.schema}".hub'
        self._channel = f"{place.schema}_free"

    @classmethod
    def at(cls, place: Place, direct_url: str = "") -> Self:
        """The seat of a pool whose tables are there."""
        return cls(place, Place(direct_url or place.url, place.pool))

    async def take(self, owner: str, url: str, lease_ms: int) -> int | None:
        """The new epoch if nobody leads; `None` if somebody does. Raises `StoreError`."""
        text = (
            f"UPDATE {self._writer} SET epoch = epoch + 1, owner = %s, url = %s, until_ms = {NOW_MS} + %s"  # noqa: S608 - our own names
            f" WHERE until_ms < {NOW_MS} RETURNING epoch"
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
                self._listener = await _connect(self._direct)
                await self._listener.execute(f'LISTEN "{self._channel}"')
                return  # it may have been given back before we listened
            async for _ in self._listener.notifies(timeout=wait_s, stop_after=1):
                pass
            return
        await asyncio.sleep(wait_s)  # without notifications: look again a little later

    async def close(self) -> None:
        """Close all connections; a lease that is held ends by itself. Safe to repeat."""
        for connection in (self._connection, self._listener):
            if connection is not None:
                await connection.close()
        self._connection = self._listener = None

    async def _ask(self, text: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        async with self._lock:
            return await self._guarded(lambda: self._run(text, values))

    async def _run(self, text: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """On the connection that is open; on a new one if that turns out to be broken. Each of ours can be repeated."""
        if self._connection is not None and not self._connection.closed:
            try:
                return await _rows(self._connection, text, values)
            except psycopg.OperationalError:
                await self._connection.close()
        self._connection = await _connect(self._place)
        return await _rows(self._connection, text, values)

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except (psycopg.Error, OSError) as error:
            raise explained(error, self._place) from error


async def _connect(place: Place) -> Connection:
    return await psycopg.AsyncConnection.connect(place.url, **CONNECT, application_name="ostler seat")


async def _rows(connection: Connection, text: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(text.encode(), values)
    return await cursor.fetchall() if cursor.description else []
