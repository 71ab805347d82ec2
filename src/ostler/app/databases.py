"""`ostler db`: look after the database of a hub without a hub: check, back up, restore, move, bring up to date.

A database is a SQLite file, or a pool of a PostgreSQL database. Reading verbs may run beside a hub and see one state;
writing ones take the place of the hub, and are refused while one runs.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ostler.app.database_options import DatabaseOptions, MoveReport, Told
from ostler.config.load import load_profile
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError
from ostler.store.check import problems
from ostler.store.migrate import REVISIONS, check_current
from ostler.store.moving import End, copy, is_empty

EMPTY = (
    "the database is empty: it has the tables of Ostler and nothing in them, as after a copy that was broken off;"
    " copy into it again, or name another one"
)


def check(options: DatabaseOptions) -> list[str]:
    """Everything that is wrong, a line each; also that nothing is in it, which is so of no database that a hub has had.
    Raises `OstlerError` when it has not the schema of this version.
    """
    url, pool = _database(options)
    with _guarded(url, pool), _reading(url, pool) as end:
        check_current(end.revision(), end.where)
        found = end.own_problems() + problems(end.ask)
        return found or ([EMPTY] if is_empty(end) else [])


def migrate(options: DatabaseOptions) -> str:
    """Bring the schema up to date; the revision that it has then."""
    url, pool = _database(options)
    with _guarded(url, pool):
        if "://" in url:
            from ostler.store.postgres import prepare
            from ostler.store.postgres_engine import place_of

            prepare(place_of(url, pool))
        else:
            from ostler.store.file_lock import FileLock

            path = _file(url)
            lock = FileLock(path)
            try:
                _migrate_file(path, shown=path)
            finally:
                lock.release()
    return REVISIONS[-1]


def back_up(options: DatabaseOptions, target: str, told: Told) -> MoveReport:
    """Everything into one new SQLite file, while work goes on."""
    from ostler.store.sqlite_engine import copy_database

    url, pool = _database(options)
    path = Path(target).absolute()
    if "://" in url:
        if path.exists():
            raise ConflictError(f"{path} exists", where="TARGET", remedy="name a file that does not exist")
        return _moved(url, pool, str(path), pool, told)
    with _guarded(url, pool):
        _check_ours(_file(url), shown=url)
        copy_database(_file(url), path)
    return MoveReport(source=url, target=str(path))


def restore(options: DatabaseOptions, source: str, told: Told) -> MoveReport:
    """A backup takes the place of the database; a file that was there is kept beside it. One of an older version is
    brought up to date on the way.
    """
    from ostler.store.file_lock import FileLock

    url, pool = _database(options)
    backup = Path(source).absolute()
    if not backup.is_file():
        raise NotFoundError(f"there is no file {backup}", where="BACKUP", remedy="name the file that `backup` made")
    if "://" in url:
        with TemporaryDirectory(prefix="ostler-restore-") as folder:
            fresh = Path(folder) / "backup.db"
            _checked_copy(backup, fresh)
            moved = _moved(str(fresh), pool, url, pool, told)
        return msgspec.structs.replace(moved, source=str(backup))
    path = Path(url)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _guarded(url, pool):
        lock = FileLock(path)
        try:
            fresh = path.with_name(path.name + ".restored")
            _checked_copy(backup, fresh)
            kept = _replace(path, fresh)
        finally:
            lock.release()
    return MoveReport(source=str(backup), target=url, kept=kept)


def _checked_copy(backup: Path, fresh: Path) -> None:
    """A copy of a backup with the schema of this version, in which nothing is wrong; no file is left if there is.
    Raises `OstlerError`.
    """
    from ostler.store.sqlite_engine import copy_database

    fresh.unlink(missing_ok=True)
    with _guarded(str(backup), ""):
        _check_ours(backup, shown=str(backup))
        copy_database(backup, fresh)
        try:
            _migrate_file(fresh, shown=backup)
            found = check(DatabaseOptions(database=str(fresh)))
        except BaseException:
            fresh.unlink()
            raise
    if found:
        fresh.unlink()
        remedy = f"take another one; 'ostler db check --database {backup}' tells all"
        raise InvalidInputError(f"the backup is not whole: {found[0]}", where=str(backup), remedy=remedy)


def _migrate_file(path: Path, *, shown: Path) -> None:
    from ostler.store.sqlite_engine import open_writer

    open_writer(path, where=str(shown)).close()


def _check_ours(path: Path, *, shown: str) -> None:
    """Raises `StoreError` for a file that holds no database of ours, as an empty one: it would be copied well."""
    with _reading(str(path), "") as end:
        revision = end.revision()
        if revision is None:
            check_current(revision, shown)


def _replace(path: Path, fresh: Path) -> str:
    """Put a file in the place of a database, which is kept beside it; where, or nothing if there was none.

    Whenever this is broken off, one of the two is in the place, whole; unless the old one cannot be opened any more, or
    is on a disk without hard links: then there may be none.
    """
    from ostler.store.sqlite_engine import settle

    if not path.exists():
        fresh.rename(path)
        return ""
    number = 1
    while (aside := path.with_name(f"{path.name}.before-restore-{number}")).exists():
        number += 1
    settle(path)
    if path.with_name(path.name + "-wal").exists() or not _linked(path, aside):
        _put_aside(path, aside)
    fresh.rename(path)
    return str(aside)


def _linked(path: Path, aside: Path) -> bool:
    try:
        aside.hardlink_to(path)
    except OSError:
        return False
    return True


def _put_aside(path: Path, aside: Path) -> None:
    """Move a database and its log out of the way."""
    for suffix in ("-wal", "-shm", ""):  # the database last: until then the old one can still be opened
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))


def move(options: DatabaseOptions, target: str, pool: str, told: Told) -> MoveReport:
    """Everything into another, empty database, compared before it counts; the source stays as it is."""
    url, own_pool = _database(options)
    if "://" not in url:
        from ostler.store.file_lock import FileLock

        with _guarded(url, own_pool):
            lock = FileLock(_file(url))  # what a hub would write meanwhile would be left behind
        try:
            return _moved(url, own_pool, target, pool, told)
        finally:
            lock.release()
    return _moved(url, own_pool, target, pool, told)


def _moved(source: str, source_pool: str, target: str, target_pool: str, told: Told) -> MoveReport:
    with (
        _guarded(source, source_pool),
        _guarded(target, target_pool),
        _reading(source, source_pool) as before,
        _writing(target, target_pool) as after,
    ):
        copied = copy(before, after, told)
        shown, read = after.where, before.where
    return MoveReport(source=read, target=shown, rows=copied.rows, changed=copied.changed)


def _reading(url: str, pool: str) -> AbstractContextManager[End]:
    if "://" in url:
        from ostler.store.postgres_end import reading_pool
        from ostler.store.postgres_engine import place_of

        return reading_pool(place_of(url, pool))
    from ostler.store.ends import reading_file

    return reading_file(_file(url))


def _writing(url: str, pool: str) -> AbstractContextManager[End]:
    if "://" in url:
        from ostler.store.postgres_end import new_pool
        from ostler.store.postgres_engine import place_of

        return new_pool(place_of(url, pool))
    from ostler.store.ends import new_file

    return new_file(Path(url))


def _database(options: DatabaseOptions) -> tuple[str, str]:
    """Address or file, and pool."""
    if options.database is not None:
        return options.database, options.pool
    profile = load_profile(options.profile, os.environ)
    hub = profile.hub
    return hub.database, hub.pool


def _file(url: str) -> Path:
    path = Path(url)
    if not path.is_file():
        remedy = "name it with --database, or the profile with --profile"
        raise NotFoundError(f"there is no database {path}", where="--database", remedy=remedy)
    return path


@contextmanager
def _guarded(url: str, pool: str) -> Iterator[None]:
    """Errors of an engine become errors for people."""
    try:
        yield
    except OstlerError:
        raise
    except ImportError:
        what, remedy = "PostgreSQL needs the extra 'postgres'", "pip install 'ostler[postgres]'"
        raise InvalidInputError(what, where="--database", remedy=remedy) from None
    except Exception as error:  # boundary: of either engine, of the disk; what none of them said is raised as it is
        told = _explained(error, url, pool)
        if told is error:
            raise
        raise told from error


def _explained(error: Exception, url: str, pool: str) -> Exception:
    if "://" in url:
        from ostler.store.postgres_engine import explained as by_server
        from ostler.store.postgres_engine import place_of

        return by_server(error, place_of(url, pool))
    from ostler.store.sqlite_engine import explained

    return explained(error, Path(url))
