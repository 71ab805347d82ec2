"""A pool of a PostgreSQL database as an end of a copy (see `moving`)."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from ostler.domain.errors import ConflictError
from ostler.store.moving import TABLES, End
from ostler.store.postgres import prepare
from ostler.store.postgres_engine import NOW_MS, Place, connect, revision_of, transaction
from ostler.store.postgres_sets import without_zeros
from ostler.store.rows import Row

_LEADER = f"SELECT owner FROM writer WHERE until_ms >= {NOW_MS}"  # noqa: S608 - our own names


class _PoolEnd:
    """One pool."""

    def __init__(self, place: Place, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        self.where = f"{place.shown}, pool {place.pool}"
        self._place = place
        self._cursor = cursor

    def ask(self, text: str, values: Sequence[object]) -> list[Row]:
        return self._cursor.execute(text.replace("?", "%s").encode(), values).fetchall()

    def put(self, table: sa.Table, found: list[Row]) -> None:
        listed = ", ".join(f'"{column.name}"' for column in table.columns)
        with self._cursor.copy(f'COPY "{table.name}" ({listed}) FROM STDIN'.encode()) as copied:
            for row in found:
                copied.write_row(row)

    def fit(self, value: Any) -> Any:  # noqa: ANN401 - see `End`
        return without_zeros(value) if isinstance(value, str) else value

    def revision(self) -> str | None:
        return revision_of(lambda text, values: self._cursor.execute(text.encode(), values).fetchall(), self._place)

    def own_problems(self) -> list[str]:
        return []  # the server checks its own files and references

    def last_event_seq(self) -> int:
        seq: int = self.ask("SELECT last_event_seq FROM writer", ())[0][0]
        return seq

    def continue_from(self, last_event_seq: int) -> None:
        self._cursor.execute("UPDATE writer SET last_event_seq = %s", (last_event_seq,))
        for table in TABLES:
            if table.autoincrement_column is not None:  # the server numbers it where nobody gives a number
                column = table.autoincrement_column.name
                highest = f'greatest(1, (SELECT coalesce(max("{column}"), 0) FROM "{table.name}"))'  # noqa: S608 - our own names
                sequence = f"pg_get_serial_sequence('{table.name}', '{column}')"
                self._cursor.execute(f"SELECT setval({sequence}, {highest})".encode())


@contextmanager
def reading_pool(place: Place) -> Iterator[End]:
    """A pool that may be in use: what is committed meanwhile is not seen. Raises `psycopg.Error`."""
    with (
        closing(connect(place)) as connection,
        transaction(connection, place, "ISOLATION LEVEL REPEATABLE READ READ ONLY") as cursor,
    ):
        yield _PoolEnd(place, cursor)


@contextmanager
def new_pool(place: Place) -> Iterator[End]:
    """A pool that nobody leads, brought to the schema of this code; kept only if all goes well. Raises `psycopg.Error`,
    `ConflictError` when a hub leads it.
    """
    prepare(place)
    with closing(connect(place)) as connection, transaction(connection, place) as cursor:
        # The row is locked until the end: a hub that starts meanwhile waits.
        cursor.execute("UPDATE writer SET epoch = epoch + 1")
        found = cursor.execute(_LEADER.encode()).fetchone()
        if found is not None:
            remedy = "stop the hubs of this pool first"
            raise ConflictError(f"hub {found[0]} leads this pool", where=place.shown, remedy=remedy)
        yield _PoolEnd(place, cursor)
