"""All that is particular to PostgreSQL: connections, transactions, who may write, errors.

One writer at a time, as on a file: every transaction begins by locking the one row of `writer`, and ends there when its
epoch is no longer the one that this store was opened with. So a hub that was paused, cut off or thought dead can write
nothing once another has taken its place, whatever it believes; and numbers can be given in memory, because nobody else
gives any. The row also says which flush was the last: when a connection breaks during a commit, that tells whether it
happened, so no outcome stays open while the server comes back within `PATIENCE_S`.

A pool of work has a schema of its own, named after it. The search path is set in each transaction, not in the session,
so that the store also works behind a pooler that gives every transaction another session.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.types.numeric import IntLoader
from psycopg.types.string import StrDumper

from ostler.domain.errors import InvalidInputError
from ostler.store.errors import FencedError, StoreError, changed_meanwhile, of_the_driver
from ostler.store.postgres_absence import IS_IT_THERE, unreached
from ostler.store.postgres_sets import without_zeros
from ostler.store.reads import Queries
from ostler.store.rows import Run
from ostler.store.statements import Statements
from ostler.store.texts import texts_of

PATIENCE_S = 15.0
"""How long a server that went away is waited for."""
PAUSE_S = 0.2
CONNECT: Mapping[str, Any] = {
    "autocommit": True,
    "connect_timeout": 2,
    # A peer that died without a word is noticed in seconds, not in hours.
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3_000,
    # A pooler may give the next transaction a session that knows no statement of this one.
    "prepare_threshold": None,
}
SERVER_NOTICES = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;"
    " SET tcp_user_timeout = 3000"
)
"""The same on the server's side, where half of a statement, or none of its answer, may have come through: what the
transaction has locked is free again in seconds. A pooler keeps it, which does no harm.
"""
FROZEN_MS = 10_000
"""How long a transaction may be silent while its wire is whole: longer than a batch of any size takes to be thought
over on a busy machine. A hub that freezes in the middle holds the writer's row no longer than this.
"""
ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z+]+)://(?:(?P<name>[^:/?#@]*)(?::(?P<secret>[^@/]*))?@)?"
    r"(?P<where>(?:\[[^/?#@]*\]|[^:/?#@]*)(?::(?P<port>[0-9]{0,5}))?)(?P<path>/[^?#@]*)?(?:[?#][^@]*)?"
)
"""An address as libpq takes it, with one @ at most: whatever a password has in it, none is shown as anything else."""
PORT_MAX = 65_535
POOL = re.compile(r"[a-z][a-z0-9_]{0,30}")
DEFAULT_POOL = "default"

COUNT_DIFFERS = psycopg.errors.DivisionByZero
"""What the server says to a statement that is counted and changes another number of rows; no other one divides."""
NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

Connection = psycopg.Connection[tuple[Any, ...]]


class _WithoutZeros(StrDumper):
    """Text of this engine holds no zero character: what a program wrote into its output stands as its picture."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(without_zeros(obj) if "\0" in obj else obj)


class Place(NamedTuple):
    """A database and the pool in it."""

    url: str
    pool: str

    @property
    def schema(self) -> str:
        """The schema that holds the pool's tables."""
        return "ostler" if self.pool == DEFAULT_POOL else f"ostler_{self.pool}"

    @property
    def shown(self) -> str:
        """The address for people, without a password and the options, which may hold one too."""
        found = ADDRESS.fullmatch(self.url)
        if found is None:  # nobody made it with `place_of`
            return "a database"
        name, secret = found["name"], found["secret"]
        who = "" if name is None else f"{name}{':***' if secret else ''}@"
        return f"{found['scheme']}://{who}{found['where']}{found['path'] or ''}"

    def __repr__(self) -> str:
        return f"Place({self.shown!r}, {self.pool!r})"


def place_of(url: str, pool: str = DEFAULT_POOL) -> Place:
    """A checked address. Raises `InvalidInputError`."""
    found = ADDRESS.fullmatch(url)
    if found is None or int(found["port"] or 0) > PORT_MAX:
        remedy = "postgresql://USER@HOST:PORT/DATABASE; a / in a password is %2F, any other @ is %40"
        raise InvalidInputError("this is no address of a database", where="hub.database", remedy=remedy)
    if found["scheme"] not in {"postgresql", "postgres"}:
        what = f"there is no store for {found['scheme']} databases"
        raise InvalidInputError(what, where="hub.database", remedy="postgresql://... or the name of a SQLite file")
    if POOL.fullmatch(pool) is None:
        remedy = "lower-case letters, digits and _, a letter first, at most 31"
        raise InvalidInputError(f"{pool!r} cannot name a pool", where="hub.pool", remedy=remedy)
    return Place(url, pool)


def statements() -> Statements:
    """Every statement of a flush for this engine."""
    return texts_of("postgres").statements


def queries() -> Queries:
    """Every read for this engine."""
    return texts_of("postgres").queries


def connect(place: Place) -> Connection:
    """A connection without a transaction of its own; every BEGIN is ours. Raises `psycopg.Error`."""
    connection = psycopg.connect(place.url, **CONNECT, application_name="ostler")
    # Sums of integers come as numerics; all of ours are whole.
    connection.adapters.register_loader("numeric", IntLoader)
    connection.adapters.register_dumper(str, _WithoutZeros)
    try:
        connection.execute(SERVER_NOTICES)
    except psycopg.Error:
        connection.close()
        raise
    return connection


def begin_text(place: Place, kind: str = "") -> str:
    """The start of a transaction in a pool's schema, as one message to the server."""
    return (
        f'BEGIN {kind}; SET LOCAL search_path TO "{place.schema}";'
        # A plan made for the values at hand: the generic one is several times slower on lists of ids.
        " SET LOCAL plan_cache_mode = force_custom_plan;"
        f" SET LOCAL idle_in_transaction_session_timeout = {FROZEN_MS}"
    )


Lost = Callable[[], str]
"""Why a writer may go on no longer, as far as it knows without the database; empty while it may."""


def always() -> str:
    """For a writer whose right does not end by itself."""
    return ""


def waited_for(place: Place, patience_s: float = PATIENCE_S, lost: Lost = always) -> Connection:
    """A connection to a server that may be starting. Raises `psycopg.Error` when it does not come, `FencedError` when
    there is no right to write any more.
    """
    deadline = time.monotonic() + patience_s
    while True:
        if reason := lost():
            raise FencedError(place.shown, reason)
        try:
            return connect(place)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_S)


def claim(connection: Connection, place: Place, owner: str) -> int:
    """Become the only one who may write; the new epoch. Whoever wrote before is refused from now on."""
    with transaction(connection, place) as cursor:
        found = cursor.execute("UPDATE writer SET epoch = epoch + 1, owner = %s RETURNING epoch", (owner,)).fetchone()
    if found is None:
        raise StoreError("the row of writers is gone", where=place.shown, remedy="restore a backup")
    epoch: int = found[0]
    return epoch


@contextmanager
def transaction(connection: Connection, place: Place, kind: str = "") -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    """Statements that happen together or not at all."""
    cursor = connection.cursor()
    cursor.execute(begin_text(place, kind))
    try:
        yield cursor
    except BaseException:
        with suppress(psycopg.OperationalError):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def revision_of(run: Run, place: Place) -> str | None:
    """The schema that a pool has; `None`: none of ours."""
    table = f'"{place.schema}".alembic_version'
    if run("SELECT to_regclass(%s)", (table,)) == [(None,)]:
        return None
    found = run(f"SELECT version_num FROM {table}", ())  # noqa: S608 - our own names
    return found[0][0] if found else None


@contextmanager
def snapshot(connection: Connection, place: Place) -> Iterator[Run]:
    """Several queries that see one state of the database, and cannot change it."""
    with transaction(connection, place, "ISOLATION LEVEL REPEATABLE READ READ ONLY") as cursor:
        yield lambda text, parameters: cursor.execute(text, parameters).fetchall()


def explained(error: Exception, place: Place) -> Exception:
    """What a caller is told when the server refuses; an error that is not the server's is returned as it is."""
    error = of_the_driver(error)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return unreached(str(error), place.shown)
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:  # the address was not even tried
        return InvalidInputError(str(error).strip(), where="hub.database", remedy="correct the address")
    said = " ".join(str(error).split())
    if isinstance(error, COUNT_DIFFERS):
        return changed_meanwhile(place.shown)
    if isinstance(error, psycopg.DataError):
        return InvalidInputError(f"a value cannot be stored: {said}")
    if isinstance(error, psycopg.Error):
        return StoreError(f"the database says: {said}", where=place.shown, remedy=_remedy(error))
    if isinstance(error, msgspec.MsgspecError):
        return StoreError(f"a stored row cannot be read: {error}", where=place.shown, remedy="restore a backup")
    if isinstance(error, ValueError | TypeError | OverflowError):
        return InvalidInputError(f"a value cannot be stored: {error}")
    return error


def _remedy(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "let the user create a schema in this database, or make it and hand it over"
    if isinstance(error, psycopg.errors.DiskFull):
        return "free space on the server's disk; nothing that was acknowledged is lost"
    if isinstance(error, psycopg.IntegrityError):
        return "this is a mistake in Ostler; please report it"
    if isinstance(error, psycopg.OperationalError):
        return IS_IT_THERE
    return ""


def server_version(url: str) -> str:
    """What answers at an address, for people. Raises `OstlerError`."""
    place = place_of(url)
    try:
        connection = connect(place)
    except psycopg.Error as error:
        raise explained(error, place) from error
    with connection:
        number = connection.info.server_version
    return f"{place.shown}, PostgreSQL {number // 10_000}.{number % 10_000}"
