"""Who leads a pool: a lease in the row of its writer, kept by the clock of the database alone.

The one who leads renews the lease; when it ends, or is given back, anybody may take it, which also makes the one before
unable to write (see `postgres_engine`). The lease is in a row and not in a session, so a frozen process or a machine
that went away keeps it no longer than it lasts, and it works behind a pooler. Who waits hears of a lease that was given
back at once, by a notification on a connection of its own (`direct_url` where the other goes through a pooler); when
that is lost, it looks again a moment later all the same.

Every question is answered in time or not at all (see `asker`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import msgspec
import psycopg

from ostler.domain.hubs import HubRow
from ostler.store.asker import Asker, Connection, connected, rows
from ostler.store.errors import StoreError
from ostler.store.migrate import REVISIONS
from ostler.store.postgres_engine import DEFAULT_POOL, NOW_MS, Place

GONE_AFTER_MS = 3_600_000
"""A hub that was not seen for so long is forgotten."""
LIMIT_S = 5.0
POOLS = (
    "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE relname = 'hub' AND relkind = 'r' AND (nspname = 'ostler' OR nspname ~ '^ostler_[a-z]')"
    " AND has_schema_privilege(pg_namespace.oid, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')"
    " ORDER BY nspname"
)
"""The schemas of all pools of the database that this user may read."""


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
        self._asker = Asker(place, limit_s, "seat")
        self._ask = self._asker.ask
        self._listener: Connection | None = None
        self._is_closed = False
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

    async def leave(self, name: str, url: str) -> None:
        """A hub is there no longer; another one that has its name stays listed. Raises `StoreError`."""
        await self._ask(f"DELETE FROM {self._hub} WHERE name = %s AND url = %s", (name, url))  # noqa: S608 - our own names

    async def hubs(self) -> tuple[HubRow, ...]:
        """All hubs of the pool that were seen lately, by name. Raises `StoreError`."""
        return await self._hubs_of((self._place,))

    async def others(self) -> tuple[HubRow, ...]:
        """Those of all other pools of the database that may be looked into, by pool and name. Raises `StoreError`."""
        schemas = [schema for (schema,) in await self._ask(POOLS) if schema != self._place.schema]
        pools = sorted(DEFAULT_POOL if schema == "ostler" else schema.removeprefix("ostler_") for schema in schemas)
        places = [Place(self._place.url, pool) for pool in pools]
        try:
            return await self._hubs_of(places)
        except StoreError:  # one of them was removed meanwhile, or is older than this table has been
            found = [await self._readable(place) for place in places]
            return tuple(row for rows in found for row in rows)

    async def _readable(self, place: Place) -> tuple[HubRow, ...]:
        with suppress(StoreError):
            return await self._hubs_of((place,))
        return ()

    async def _hubs_of(self, places: Sequence[Place]) -> tuple[HubRow, ...]:
        """Asked in one statement for all pools."""
        parts = [
            f"(SELECT '{place.pool}', hub.name, hub.body, {NOW_MS} - seen_ms,"  # noqa: S608 - our own names
            f" writer.owner = hub.name AND writer.until_ms >= {NOW_MS}"
            f' FROM "{place.schema}".hub AS hub, "{place.schema}".writer AS writer'
            f" WHERE seen_ms >= {NOW_MS} - {GONE_AFTER_MS})"
            for place in places
        ]
        found = await self._ask(" UNION ALL ".join(parts)) if parts else []
        rows = [
            msgspec.structs.replace(
                msgspec.json.decode(body, type=HubRow), pool=pool, seen_ago_ms=max(0, ago_ms), leads=leads
            )
            for pool, _, body, ago_ms, leads in found
        ]
        return tuple(sorted(rows, key=lambda row: (row.pool, row.name)))

    async def freed(self, wait_s: float) -> None:
        """Return when the lease was given back, or after so long."""
        with suppress(psycopg.Error):
            if self._listener is None or self._listener.closed:
                self._listener = await self._asker.in_time(lambda: _listening(self._direct, self._channel), _close)
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
        await self._asker.close()

    async def _let_go(self) -> None:
        if self._listener is not None:
            await self._listener.close()
            self._listener = None


async def _listening(place: Place, channel: str) -> Connection:
    connection = await connected(place, "seat")
    await rows(connection, f'LISTEN "{channel}"', ())
    return connection


async def _close(connection: Connection) -> None:
    await connection.close()
