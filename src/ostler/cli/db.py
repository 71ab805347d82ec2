"""`ostler db`: look after the database of a hub."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ostler.cli.flags import example, json_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from ostler.app.database_options import DatabaseOptions, MoveReport

SHOWN = 40
"""Problems that are told one by one."""

F = TypeVar("F", bound=Callable[..., Any])


def database_options(command: F) -> F:
    """Which database a verb is about."""
    profile = click.option(
        "--profile", metavar="FILE", help="Profile that names it.  [default: the one that `ostler up` would take]"
    )
    database = click.option(
        "--database", metavar="FILE|URL", help="A SQLite file, or the address of a PostgreSQL database."
    )
    pool = click.option("--pool", metavar="NAME", default="default", help="The pool in it, where it is an address.")
    return database(pool(profile(command)))


@click.group(epilog=example("ostler db backup friday.db"))
def db() -> None:
    """Check, back up, restore, move and upgrade a database."""


@db.command(epilog=example("ostler db check", "ostler db check --database backup.db"))
@database_options
@json_option
def check(*, database: str | None, pool: str, profile: str | None, as_json: bool) -> int:
    """Read all of it and tell what is wrong; may run beside a hub.

    One that is empty is not sound: a hub writes into its database when it starts. Exit codes: 0 nothing is wrong,
    1 something is.
    """
    from ostler.app import databases
    from ostler.app.database_options import CheckReport
    from ostler.cli import render

    problems = databases.check(_options(database, pool, profile))
    if as_json:
        render.print_json(CheckReport(problems=tuple(problems)))
    else:
        for line in problems[:SHOWN] or ["the database is sound"]:
            click.echo(render.clean(line))
        if len(problems) > SHOWN:
            click.echo(f"... and {len(problems) - SHOWN} more; --json tells all")
    return ExitCode.FAILED if problems else ExitCode.OK


@db.command(epilog=example("ostler db migrate"))
@database_options
@json_option
def migrate(*, database: str | None, pool: str, profile: str | None, as_json: bool) -> None:
    """Bring its schema up to this version, as the next start of the hub would."""
    from ostler.app import databases
    from ostler.app.database_options import MigrateReport
    from ostler.cli import render

    revision = databases.migrate(_options(database, pool, profile))
    if as_json:
        render.print_json(MigrateReport(revision=revision))
    else:
        click.echo(f"the database has schema {revision}")


@db.command(
    epilog=example("ostler db backup friday.db", "ostler db backup friday.db --database postgresql://db/ostler")
)
@click.argument("target", metavar="TARGET")
@database_options
@json_option
def backup(*, target: str, database: str | None, pool: str, profile: str | None, as_json: bool) -> None:
    """Copy everything into one new SQLite file, while the hub works on."""
    from ostler.app import databases

    _tell(databases.back_up(_options(database, pool, profile), target, _progress(quiet=as_json)), as_json=as_json)


@db.command(epilog=example("ostler db restore friday.db"))
@click.argument("backup", metavar="BACKUP")
@database_options
@json_option
def restore(*, backup: str, database: str | None, pool: str, profile: str | None, as_json: bool) -> None:
    """Put a backup in the place of the database, of a hub that is stopped.

    The backup is checked first. A file that was there is kept beside it; a PostgreSQL pool must be empty.
    """
    from ostler.app import databases

    _tell(databases.restore(_options(database, pool, profile), backup, _progress(quiet=as_json)), as_json=as_json)


@db.command(epilog=example("ostler db copy postgresql://ostler@db.lan/ostler"))
@click.argument("target", metavar="FILE|URL")
@click.option("--to-pool", metavar="NAME", default="default", help="The pool to make there, where it is an address.")
@database_options
@json_option
def copy(*, target: str, to_pool: str, database: str | None, pool: str, profile: str | None, as_json: bool) -> None:
    """Move to another database: copy everything, compare it, and leave the old one as it is.

    The hub must be stopped. Start it again with `hub.database` set to the new one.
    """
    from ostler.app import databases

    options = _options(database, pool, profile)
    _tell(databases.move(options, target, to_pool, _progress(quiet=as_json)), as_json=as_json)


def _options(database: str | None, pool: str, profile: str | None) -> "DatabaseOptions":
    from ostler.app.database_options import DatabaseOptions

    return DatabaseOptions(database=database, pool=pool, profile=profile)


def _progress(*, quiet: bool) -> Callable[[str, int], None]:
    """A line on a terminal that tells how far it is; nothing elsewhere."""
    shown = _on_terminal() and not quiet

    def tell(table: str, rows: int) -> None:
        if shown:
            click.echo(f"\r\x1b[K{table}: {rows} rows", nl=False, err=True)

    return tell


def _tell(report: "MoveReport", *, as_json: bool) -> None:
    from ostler.cli import render

    if as_json:
        render.print_json(report)
        return
    if _on_terminal():
        click.echo("\r\x1b[K", nl=False, err=True)
    counted = f": {sum(report.rows.values())} rows, each compared" if report.rows else ""
    click.echo(f"copied {render.clean(report.source)} to {render.clean(report.target)}{counted}")
    if report.changed:
        click.echo(f"{report.changed} rows hold a zero character, which PostgreSQL cannot: \u2400 stands in its place")
    if report.kept:
        click.echo(f"what was there is kept as {render.clean(report.kept)}")


def _on_terminal() -> bool:
    return sys.stderr.isatty()
