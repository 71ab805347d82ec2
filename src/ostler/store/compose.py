"""All texts of an engine, composed: see `texts`. Run when they are made anew and when they are tested."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ostler.store import sqlite_engine
from ostler.store.compose_reads import compile_queries
from ostler.store.compose_sets import with_sets
from ostler.store.compose_statements import compile_statements
from ostler.store.migrate import REVISIONS
from ostler.store.texts import NewFile, Texts

ENGINES = ("sqlite", "postgres")
LAST_EVENT_SEQ = {"sqlite": sqlite_engine.LAST_EVENT_SEQ, "postgres": "SELECT last_event_seq FROM writer"}


def composed(engine: str) -> Texts:
    """The texts of one of `ENGINES`."""
    last = LAST_EVENT_SEQ[engine]
    if engine == "sqlite":
        dialect = sqlite_dialect(paramstyle="qmark")
        return Texts(compile_statements(dialect, sqlite_insert), compile_queries(dialect, last))
    other = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
    return Texts(with_sets(compile_statements(other, postgres_insert)), compile_queries(other, last))


def composed_new_file(path: Path) -> NewFile:
    """What the migrations make of a file that is not there: it is made, step by step, and read."""
    with closing(sqlite_engine.open_writer(path, at_once=False)) as connection:
        made = connection.execute(
            "SELECT name, type, sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        ).fetchall()
        rows = [text for name, kind, _ in made if kind == "table" for text in _rows(connection, name)]
    return NewFile(revision=REVISIONS[-1], texts=(*(text for _, _, text in made), *rows))


def _rows(connection: sqlite3.Connection, table: str) -> list[str]:
    """What puts the rows of a table into another one."""
    names = [column[1] for column in connection.execute(f'PRAGMA table_info("{table}")')]
    quoted = " || ', ' || ".join(f'quote("{name}")' for name in names)
    found = connection.execute(f'SELECT {quoted} FROM "{table}"')  # noqa: S608 - our own names
    return [f'INSERT INTO "{table}" VALUES ({values})' for (values,) in found]  # noqa: S608 - as above
