"""Everything of one database into another, empty one, whatever the engines, in one transaction, and looked at again.

Tables are copied in the order of their references, in pages by primary key, so memory does not grow with them. Every
table is then read back from both sides and compared by a digest of its rows, before the copy is committed. What belongs
to one installation alone (who may write, which hubs there are) stays behind; numbers that must never be given twice
come along. O(the database), one pass each way.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from ostler.domain.errors import ConflictError
from ostler.store import schema
from ostler.store.errors import StoreError
from ostler.store.migrate import check_current
from ostler.store.rows import Row

PAGE = 1_000
LEFT_BEHIND = ("writer", "hub")
TABLES = tuple(table for table in schema.METADATA.sorted_tables if table.name not in LEFT_BEHIND)

Told = Callable[[str, int], None]
"""Told after each page: the table, and how many rows of it are over."""


class Copied(NamedTuple):
    """What was copied: rows by table, and how many of them hold a text that had to be changed."""

    rows: dict[str, int]
    changed: int


class End(Protocol):
    """One side of a copy, inside a transaction."""

    where: str
    """Its name for people."""

    def ask(self, text: str, values: Sequence[object]) -> list[Row]:
        """Rows of a query with `?` for each value."""
        ...

    def put(self, table: sa.Table, found: list[Row]) -> None:
        """Insert rows that have all columns of the table."""
        ...

    def fit(self, value: Any) -> Any:  # noqa: ANN401 - any value of a column
        """A value as this side can hold it."""
        ...

    def revision(self) -> str | None:
        """The schema that it has; `None` if it has none of ours."""
        ...

    def own_problems(self) -> list[str]:
        """What only this engine can have wrong, a line each."""
        ...

    def last_event_seq(self) -> int:
        """Number of the newest event ever written."""
        ...

    def continue_from(self, last_event_seq: int) -> None:
        """Give no number again that was given on the other side."""
        ...


def is_empty(end: End) -> bool:
    """Whether nothing is in it. A hub writes that it starts before anything else, so none has had what is empty."""
    return _table_in_use(end) is None


def _table_in_use(end: End) -> sa.Table | None:
    """The first table with a row. O(tables)."""
    for table in TABLES:
        if end.ask(f'SELECT 1 FROM "{table.name}" LIMIT 1', ()):  # noqa: S608 - our own names
            return table
    return None


def copy(source: End, target: End, told: Told) -> Copied:
    """Copy, and compare. Raises `ConflictError` when something is there already, `StoreError` when the sides differ."""
    check_current(source.revision(), source.where)
    if (used := _table_in_use(target)) is not None:
        remedy = "copy into a database that is new, or into a pool of another name"
        raise ConflictError(f"there is work in it already ({used.name})", where=target.where, remedy=remedy)
    counts: dict[str, int] = {}
    changed = 0
    for table in TABLES:
        counts[table.name] = 0
        for page in pages(source, table):
            fitting = [tuple(map(target.fit, row)) for row in page]
            changed += sum(row != fit for row, fit in zip(page, fitting, strict=True))
            target.put(table, fitting)
            counts[table.name] += len(page)
            told(table.name, counts[table.name])
    target.continue_from(source.last_event_seq())
    for table in TABLES:
        if digest(pages(source, table), target.fit) != digest(pages(target, table), target.fit):
            remedy = "nothing was kept; run 'ostler db check' on the source, then try again"
            raise StoreError(f"what was copied of {table.name} differs", where=target.where, remedy=remedy)
    return Copied(counts, changed)


def pages(end: End, table: sa.Table) -> Iterator[list[Row]]:
    """All rows of a table by primary key, in lists of at most `PAGE`."""
    columns = [column.name for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in columns)
    key = [column.name for column in table.primary_key]
    places = [columns.index(name) for name in key]
    ordered = ", ".join(f'"{name}"' for name in key)
    first = f'SELECT {listed} FROM "{table.name}" ORDER BY {ordered} LIMIT {PAGE}'  # noqa: S608 - our own names
    marks = ", ".join("?" for _ in key)
    further = f'SELECT {listed} FROM "{table.name}" WHERE ({ordered}) > ({marks}) ORDER BY {ordered} LIMIT {PAGE}'  # noqa: S608 - our own names
    page = end.ask(first, ())
    while page:
        yield page
        page = end.ask(further, [page[-1][place] for place in places]) if len(page) == PAGE else []


def digest(found: Iterable[list[Row]], fit: Callable[[Any], Any]) -> bytes:
    """What all rows come to, in their order."""
    summed = hashlib.blake2b(digest_size=16)
    for page in found:
        for row in page:
            summed.update(repr(tuple(map(fit, row))).encode(errors="surrogatepass"))
    return summed.digest()


def insert_text(table: sa.Table, mark: str) -> str:
    """An insert of a whole row, with a mark for each value."""
    columns = [column.name for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{table.name}" ({listed}) VALUES ({", ".join(mark for _ in columns)})'  # noqa: S608 - our own names
