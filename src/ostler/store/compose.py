"""All texts of an engine, composed: see `texts`. Run when they are made anew and when they are tested."""

from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ostler.store.compose_reads import compile_queries
from ostler.store.compose_sets import with_sets
from ostler.store.compose_statements import compile_statements
from ostler.store.texts import Texts

ENGINES = ("sqlite", "postgres")
LAST_EVENT_SEQ = {
    # The counter behind AUTOINCREMENT: unlike `max(seq)` it does not fall when old events are pruned.
    "sqlite": "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)",
    "postgres": "SELECT last_event_seq FROM writer",
}


def composed(engine: str) -> Texts:
    """The texts of one of `ENGINES`."""
    last = LAST_EVENT_SEQ[engine]
    if engine == "sqlite":
        dialect = sqlite_dialect(paramstyle="qmark")
        return Texts(compile_statements(dialect, sqlite_insert), compile_queries(dialect, last))
    other = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
    return Texts(with_sets(compile_statements(other, postgres_insert)), compile_queries(other, last))
