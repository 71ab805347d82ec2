"""The table in which the pools of one database say what they hold of what they have in common.

It is in a schema of its own, made by whoever comes first. A pool has one row with all its claims and the end of it, on
the clock of the database; a row that ended counts no more. One number says how often anybody has written: whoever
writes names the number that it read, and is refused when another was faster. So every row is written by somebody who
has seen all others as they are, nothing is locked while it thinks, and a process that freezes holds nobody up. The
epoch of the leader that wrote is in the row: one that was replaced can write no more.

Claims are JSON, which newer versions add to without changing the table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import psycopg

from ostler.scheduling.shares import Claim
from ostler.store.asker import Asker
from ostler.store.errors import StoreError
from ostler.store.postgres_engine import NOW_MS, Place

SCHEMA = "ostler__shared"
"""No pool can be called so: their names begin with a letter."""
_THERE = f"SELECT to_regclass('{SCHEMA}.share') IS NOT NULL"
_MAKE = f"""
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('schema of ostler'), hashtext('{SCHEMA}'));
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.turn (version bigint NOT NULL);
INSERT INTO {SCHEMA}.turn (version) SELECT 0 WHERE NOT EXISTS (SELECT FROM {SCHEMA}.turn);
CREATE TABLE IF NOT EXISTS {SCHEMA}.share (
    pool text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL, until_ms bigint NOT NULL, body text NOT NULL
);
COMMIT
"""  # noqa: S608 - our own names
_LOOK = f"""
SELECT turn.version, {NOW_MS}, share.pool, share.epoch, share.until_ms, share.body
FROM {SCHEMA}.turn LEFT JOIN {SCHEMA}.share ON true ORDER BY share.pool
"""  # noqa: S608 - our own names
_PUT = f"""
WITH mine AS (UPDATE {SCHEMA}.turn SET version = version + 1 WHERE version = %s RETURNING version)
INSERT INTO {SCHEMA}.share AS share (pool, epoch, until_ms, body) SELECT %s, %s::bigint, %s::bigint, %s FROM mine
ON CONFLICT (pool) DO UPDATE SET epoch = excluded.epoch, until_ms = excluded.until_ms, body = excluded.body
WHERE share.epoch <= excluded.epoch RETURNING share.pool
"""  # noqa: S608 - our own names


class PoolShares(msgspec.Struct, frozen=True, kw_only=True):
    """One pool's row. `claims`: by resource."""

    pool: str
    epoch: int
    until_ms: int
    claims: Mapping[str, Claim]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """All rows at one instant of the database's clock."""

    version: int
    now_ms: int
    rows: tuple[PoolShares, ...] = ()

    def of(self, pool: str) -> PoolShares | None:
        """The row of a pool, ended or not."""
        return next((row for row in self.rows if row.pool == pool), None)

    def alive(self) -> tuple[PoolShares, ...]:
        """Those that have not ended, by pool."""
        return tuple(row for row in self.rows if row.until_ms >= self.now_ms)


def look_beside(connection: psycopg.Connection[Any]) -> Look | None:
    """All rows, for who is no hub; `None` where there is no such table, or this user may not read it."""
    try:
        ((is_there,),) = connection.execute(_THERE).fetchall()
        return _look_of(connection.execute(_LOOK).fetchall()) if is_there else None
    except psycopg.errors.InsufficientPrivilege:
        return None


def _look_of(found: Sequence[tuple[Any, ...]]) -> Look:
    rows = [
        PoolShares(pool=pool, epoch=epoch, until_ms=until_ms, claims=msgspec.json.decode(body, type=dict[str, Claim]))
        for _, _, pool, epoch, until_ms, body in found
        if pool is not None
    ]
    return Look(version=found[0][0], now_ms=found[0][1], rows=tuple(rows))


class ShareTable:
    """The table as one process sees it. Belongs to one event loop."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @classmethod
    def at(cls, place: Place, limit_s: float) -> Self:
        """The table of a database, whichever the pool. `limit_s`: how long an answer may take."""
        return cls(Asker(place, limit_s, "shares"))

    async def prepare(self) -> bool:
        """Make it where nobody has; false when this user may not. Two at once are no harm. Raises `StoreError`."""
        try:
            ((is_there,),) = await self._asker.ask(_THERE)
            if not is_there:
                await self._asker.ask(_MAKE)
            await self.look()
        except StoreError as error:
            if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
                return False
            raise
        return True

    async def look(self) -> Look:
        """All rows. Raises `StoreError`."""
        return _look_of(await self._asker.ask(_LOOK))

    async def put(self, version: int, row: PoolShares) -> bool:
        """Write a pool's row; false when somebody wrote since `version`, or a later leader of the pool has. Raises
        `StoreError`: then nobody knows whether it was written, and the next look says.
        """
        body = msgspec.json.encode(row.claims, order="deterministic").decode()
        return bool(await self._asker.ask(_PUT, (version, row.pool, row.epoch, row.until_ms, body)))

    async def close(self) -> None:
        """Close the connection. Safe to repeat."""
        await self._asker.close()
