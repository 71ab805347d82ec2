"""Bring a database to the schema of this code, or say clearly why not.

Migrations are numbered files under `migrations/versions`, each marked in its name: `pre` only adds, so that the code
before it still runs on the new schema; `post` removes what only older code needed. A file that is opened by one
process runs both kinds when it is opened; several hubs on one database run `pre`, change their code, then run `post`.

All of an upgrade is one transaction: a crash in the middle leaves the old schema. Alembic and SQLAlchemy are imported
only when there is something to migrate: who opens a database asks `is_current` first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ostler.store.errors import StoreError

if TYPE_CHECKING:
    import sqlalchemy as sa

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
"""Every revision this code knows, oldest first; the last one is what it needs."""

DIRECTORY = Path(__file__).with_name("migrations")


def is_current(revision: str | None) -> bool:
    """Whether a schema is just that of this code; `None` is one that is not there."""
    return revision == REVISIONS[-1]


def bring_up_to_date(
    connection: "sa.Connection",
    *,
    where: str,
    migrate: bool = True,
    alone: str = "BEGIN IMMEDIATE",
    finish: "Callable[[sa.Connection], None]" = lambda _: None,
) -> None:
    """Run the migrations that a database lacks. `where` names it in errors; `alone` is the statement that keeps others
    from doing the same meanwhile; `finish` is what an engine adds to an upgrade.

    Raises `StoreError`: 1. it is not ours, 2. it was written by newer code, 3. it is old and `migrate` is false.
    """
    connection.exec_driver_sql(alone)
    try:
        revision = _stored_revision(connection, where)
        if not is_current(revision):
            if revision is not None:
                _check_known(revision, where, migrate=migrate)
            _upgrade(connection)
            finish(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _stored_revision(connection: "sa.Connection", where: str) -> str | None:
    """The revision of the schema; `None` in an empty file."""
    import sqlalchemy as sa  # noqa: PLC0415 - as in `_upgrade`

    tables = set(sa.inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables:  # 1
        raise StoreError(
            "this database belongs to another program", where=where, remedy="name a file that does not exist"
        )
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def check_current(revision: str | None, where: str) -> None:
    """Raises `StoreError` unless a database has just the schema of this code. `revision`: `None` = none of ours."""
    if revision is None:
        raise StoreError("there is no database of Ostler in it", where=where, remedy="name the database of a hub")
    if not is_current(revision):
        _check_known(revision, where, migrate=False)


def _check_known(revision: str, where: str, *, migrate: bool) -> None:
    if revision not in REVISIONS:  # 2
        raise StoreError(
            f"the database has schema {revision}, this version of Ostler knows schemas up to {REVISIONS[-1]}",
            where=where,
            remedy="use the newer version that wrote it, or restore a backup made before the upgrade",
        )
    if not migrate:  # 3
        raise StoreError(
            f"the database has schema {revision}, this version of Ostler needs {REVISIONS[-1]}",
            where=where,
            remedy="make a backup, then 'ostler db migrate', or `ostler up`: it upgrades what it opens",
        )


def _upgrade(connection: "sa.Connection") -> None:
    from alembic import command  # noqa: PLC0415 - a quarter of a second that a file in order does not pay
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))  # the option is interpolated
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
