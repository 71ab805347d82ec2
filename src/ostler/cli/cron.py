"""`ostler cron`: a pulse every few minutes, by the system's own scheduler."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, json_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from ostler.app.periodic import Installed, System

system_option = click.option(
    "--with",
    "by",
    type=click.Choice(["launchd", "systemd", "crontab"]),
    help="Scheduler of the system.  [default: the one that this machine has]",
)
data_dir_option = click.option(
    "--data-dir", metavar="DIR", help="Folder of the hub's files.  [default: OSTLER_HUB_DATA_DIR, or the usual one]"
)


@click.group(epilog=example("ostler cron install", "ostler cron status", "ostler cron remove"))
def cron() -> None:
    """Have the system take a pulse every few minutes, for those who keep no hub running."""


@cron.command(epilog=example("ostler cron install", "ostler cron install --every 5m --profile ostler.yaml"))
@click.option("--every", metavar="DURATION", default="2m", show_default=True, help="Whole minutes.")
@click.option("--profile", metavar="FILE", help="Profile to serve with.")
@click.option("--batch", metavar="NAME", help="Only this batch.")
@system_option
@data_dir_option
@json_option
def install(
    *, every: str, profile: str | None, batch: str | None, by: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Install the pulse; what was installed for the same folder is replaced."""
    from ostler.app.periodic import schedule_for
    from ostler.cli.spec import duration_ms

    schedule = schedule_for(_folder(data_dir), duration_ms(every, "--every") // 1000, profile, batch)
    _tell(_system(by).install(schedule), as_json=as_json)


@cron.command(epilog=example("ostler cron remove"))
@system_option
@data_dir_option
@json_option
def remove(*, by: str | None, data_dir: str | None, as_json: bool) -> None:
    """Remove the pulse; what else the scheduler does stays."""
    from ostler.app.periodic import name_of
    from ostler.cli import render

    was_there = _system(by).remove(name_of(_folder(data_dir)))
    if as_json:
        render.print_json({"removed": was_there})
        return
    click.echo("removed" if was_there else "no pulse was installed for this folder")


@cron.command(epilog=example("ostler cron status --json"))
@system_option
@data_dir_option
@json_option
def status(*, by: str | None, data_dir: str | None, as_json: bool) -> int:
    """Say whether a pulse is installed. Exit code 1 when it is not."""
    from ostler.app.periodic import name_of

    found = _system(by).status(name_of(_folder(data_dir)))
    _tell(found, as_json=as_json)
    return ExitCode.OK if found.is_there else ExitCode.FAILED


def _tell(found: "Installed", *, as_json: bool) -> None:
    from ostler.cli import render, words

    if as_json:
        render.print_json(found)
    elif not found.is_there:
        click.echo(f"no pulse is installed with {found.by}; 'ostler cron install' does it")
    else:
        every = f" every {words.duration(found.every_s * 1000)}" if found.every_s is not None else ""
        click.echo(f"a pulse{every} by {found.by} ({found.where})")


def _system(by: str | None) -> "System":
    from ostler.app.periodic import system

    return system(by)


def _folder(told: str | None) -> "Path":
    import os
    from pathlib import Path

    from ostler.config.place import data_dir

    return (Path(told).expanduser() if told else data_dir(os.environ)).absolute()
