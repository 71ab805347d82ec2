"""All that is particular to SQLite: connections, durability, errors, backup and versions.

Durability: write-ahead log with `synchronous=FULL`, so a commit is on the disk before it is acknowledged; with group
commit that costs nearly nothing.

Checkpoints: SQLite before 3.51.3 can corrupt a database in WAL mode when two connections write or checkpoint at the
same instant. Here one connection, in one thread, writes and checkpoints; every other one is query-only with automatic
checkpoints off, and is closed before the writer (the last connection to close would checkpoint). A lock file keeps
other processes of ours away (`file_lock`). This stops holding when something else opens the file for writing.
"""

import functools
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.store.errors import CannotBeginError, StoreError, changed_meanwhile, of_the_driver
from ostler.store.migrate import bring_up_to_date, is_current
from ostler.store.reads import Queries
from ostler.store.rows import Row, Run
from ostler.store.statements import Statements
from ostler.store.texts import new_file, texts_of

if TYPE_CHECKING:
    import sqlalchemy as sa

BUSY_TIMEOUT_S = 5.0
CHECKPOINT_PAGES = 1000
"""A commit that leaves more pages than this in the log copies them into the database."""
LOG_LIMIT_BYTES = 64 * 1024 * 1024
"""The log file is cut to this after a checkpoint; it grows beyond only while a reader holds an old snapshot."""
CACHE_KIB = 4 * 1024

_OLDEST = (3, 37, 0)
"""The first with STRICT tables."""
_WAL_RESET_FIXED = (3, 51, 3)

LAST_EVENT_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)"
"""The counter behind AUTOINCREMENT: unlike `max(seq)` it does not fall when old events are pruned."""


class LinkedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The SQLite library this Python is linked to."""

    text: str
    supported: bool
    """Whether the store can run on it at all."""
    has_wal_reset_bug: bool
    """Whether it has the corruption bug that the single writer keeps away from."""


def linked_version() -> LinkedVersion:
    """The library in use, for the doctor."""
    version = sqlite3.sqlite_version_info
    return LinkedVersion(
        text=sqlite3.sqlite_version, supported=version >= _OLDEST, has_wal_reset_bug=version < _WAL_RESET_FIXED
    )


def statements() -> Statements:
    """Every statement of a flush for this engine."""
    return texts_of("sqlite").statements


def queries() -> Queries:
    """Every read for this engine."""
    return texts_of("sqlite").queries


def create_private_file(path: Path) -> None:
    """Make an empty file only its owner can read, unless it exists: prompts and token hashes live in it.

    SQLite gives its log the permissions of the database.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def open_writer(path: Path, *, where: str = "", migrate: bool = True, at_once: bool = True) -> sqlite3.Connection:
    """The one connection that writes, to a file with the schema of this code. `where` names it in errors; a file with
    nothing in it is made `at_once`, or by one migration after the other.

    Raises `sqlite3.Error`; `StoreError` when there is no WAL, and as `bring_up_to_date`.
    """
    connection = _connect(path)
    try:
        _make_durable(connection, path)
        if at_once and is_current(new_file().revision):
            _make_if_new(connection)
        if not is_current(revision_of(lambda text, values: connection.execute(text, values).fetchall())):
            with _core(connection) as core:
                bring_up_to_date(core, where=where or str(path), migrate=migrate)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"the file system does not allow a write-ahead log (journal mode is {mode!r})",
            where=str(path),
            remedy="put the database on a local disk",
        )
    for pragma in (
        "synchronous = FULL",
        # Without these two a Mac answers a sync before the data has left the drive's cache; no effect elsewhere.
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {LOG_LIMIT_BYTES}",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _make_if_new(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():  # still
            for text in new_file().texts:
                connection.execute(text)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def revision_of(run: Run) -> str | None:
    """The schema that a file has; `None`: none of ours."""
    if not run("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'", ()):
        return None
    found = run("SELECT version_num FROM alembic_version", ())
    return found[0][0] if found else None


@contextmanager
def _core(connection: sqlite3.Connection) -> Iterator["sa.Connection"]:
    """The same connection, as Core speaks to it: for the migrations alone."""
    import sqlalchemy as sa  # noqa: PLC0415 - a fifth of a second that a file in order does not pay
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415 - as above

    with sa.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool).connect() as core:
        yield core


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: the driver begins no transaction by itself, every BEGIN is ours. A connection may only be
    # used by the thread that opened it; the driver enforces it.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


_GROUPS = (64, 8)
"""Rows in one statement; few sizes, so that each is prepared once."""
_VALUES = re.compile(r" VALUES (\((?:\?, )*\?\))")


@functools.lru_cache(maxsize=128)
def _grouped(text: str, rows: int) -> str:
    """An insertion of one row as one of several; empty for any other statement."""
    found = _VALUES.search(text)
    return f"{text[: found.end()]}{f', {found[1]}' * (rows - 1)}{text[found.end() :]}" if found is not None else ""


class SqliteSession:
    """The one connection that writes; see `flush.Session`. Nobody else writes to the file, so nothing needs a seal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.look = self._cursor.execute

    def last_event_seq(self) -> int:
        """Number of the newest event ever written."""
        found: int = self._cursor.execute(LAST_EVENT_SEQ).fetchone()[0]
        return found

    def begin(self) -> None:
        """Begin a transaction that may write. Raises `CannotBeginError`."""
        try:
            if self._connection.in_transaction:  # a rollback failed too; until it succeeds nothing can begin
                self._connection.rollback()
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise CannotBeginError from error

    def many(self, text: str, parameters: list[Row]) -> None:
        """Run a statement for each row.

        Rows to insert go in groups: with each statement the interpreter is given up and has to be waited for again,
        beside a busy event loop for longer than the row takes.
        """
        rest = 0
        for group in _GROUPS if len(parameters) >= _GROUPS[-1] else ():
            grouped = _grouped(text, group)
            while grouped and len(parameters) - rest >= group:
                self._cursor.execute(grouped, list(chain.from_iterable(parameters[rest : rest + group])))
                rest += group
        if rest < len(parameters):
            self._cursor.executemany(text, parameters[rest:] if rest else parameters)

    def exactly(self, text: str, parameters: list[Row]) -> None:
        """Run a statement that changes one row for each."""
        self._cursor.executemany(text, parameters)
        if self._cursor.rowcount != len(parameters):
            raise changed_meanwhile()

    def commit(self, last_event_seq: int) -> None:
        """Make it durable."""
        del last_event_seq  # the engine counts
        self._connection.commit()

    def rollback(self) -> None:
        """Undo it."""
        self._connection.rollback()

    def lost(self) -> bool:
        """A file does not go away in the middle of a transaction."""
        return False


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[Run]:
    """Several queries that see one state of the database."""
    connection.execute("BEGIN")
    try:
        yield lambda text, parameters: connection.execute(text, parameters).fetchall()
    finally:
        connection.rollback()


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that is in use into one new file, complete and synced, or not at all.

    Raises `ConflictError` when the target exists, `StoreError` with the file that is to blame. The copy is one read
    transaction: the writer goes on, and what it commits meanwhile is not in the copy.
    """
    if target.exists():
        raise ConflictError(f"{target} exists", remedy="name a file that does not exist")
    if not target.parent.is_dir():
        raise StoreError(f"there is no folder {target.parent}", where=str(target), remedy="make it, or name another")
    try:
        _copy_whole(source, target)
    except (OSError, sqlite3.Error) as error:
        kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_FULL) & 0xFF
        raise explained(error, source if kind in _OF_THE_SOURCE else target) from error


_OF_THE_SOURCE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_BUSY)
"""What cannot be wrong with a file that was just made."""


def _copy_whole(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    create_private_file(partial)
    try:
        with closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT_S)) as reader:
            reader.execute("PRAGMA query_only = ON")
            reader.execute("PRAGMA wal_autocheckpoint = 0")
            with closing(sqlite3.connect(partial, isolation_level=None)) as writer:
                reader.backup(writer)
                # One file, without a log beside it, until it is opened as a store again.
                writer.execute("PRAGMA journal_mode = DELETE")
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Bring the log of a database that nobody has open into it, as far as that goes: a damaged one stays as it is."""
    with suppress(sqlite3.Error, StoreError), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the last one to close takes the log away


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on the disk; nothing that was acknowledged is lost",
    sqlite3.SQLITE_BUSY: "another program holds a lock on the database; close it",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable",
    sqlite3.SQLITE_CANTOPEN: "check that the directory exists and is writable",
    sqlite3.SQLITE_NOTADB: "name a database of Ostler, or a file that does not exist",
    sqlite3.SQLITE_CORRUPT: "restore a backup",
    sqlite3.SQLITE_IOERR: "check the disk; nothing that was acknowledged is lost",
    sqlite3.SQLITE_CONSTRAINT: "this is a mistake in Ostler; please report it",
}


def explained(error: Exception, path: Path) -> Exception:
    """What a caller is told when the engine refuses; an error that is not the engine's is returned as it is."""
    error = of_the_driver(error)
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind of error, the rest says more than a person can use.
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return StoreError(f"the database says: {error}", where=str(path), remedy=_REMEDIES.get(kind, ""))
    if isinstance(error, OSError):
        return StoreError(f"cannot use this file: {error.strerror}", where=str(path), remedy="check the directory")
    if isinstance(error, msgspec.MsgspecError):
        return StoreError(
            f"a stored row cannot be read: {error}",
            where=str(path),
            remedy="restore a backup, or move the file away: the hub begins with an empty one",
        )
    if isinstance(error, UnicodeDecodeError):  # no text that was stored is anything but UTF-8
        return StoreError(
            "the file is damaged: what should be text is none", where=str(path), remedy="restore a backup"
        )
    if isinstance(error, ValueError | TypeError | OverflowError):
        return InvalidInputError(f"a value cannot be stored: {error}")
    return error


def own_problems(run: Run) -> list[str]:
    """What only this engine can have wrong: pages, references (an edit by hand may have had them off), its counter."""
    found = [line for (line,) in run("PRAGMA integrity_check", ()) if line != "ok"]
    found += [
        f"{table} row {rowid} points to a {parent} that is not there"
        for table, rowid, parent, _ in run("PRAGMA foreign_key_check", ())
    ]
    above = run("SELECT seq FROM event WHERE seq > (SELECT seq FROM sqlite_sequence WHERE name = 'event')", ())
    return found + [f"event {seq} is above the counter of events" for (seq,) in above]
