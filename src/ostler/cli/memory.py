"""`ostler mem-check` and `ostler respawn-history`: the memory of the hub on this machine."""

from pathlib import Path

import click

from ostler.cli.flags import example, json_option
from ostler.domain.errors import ExitCode, UnreachableError

data_dir_option = click.option(
    "--data-dir", metavar="DIR", help="Folder of the hub's files.  [default: OSTLER_HUB_DATA_DIR, or the usual one]"
)


@click.command("mem-check", epilog=example("ostler mem-check", "ostler mem-check --limit 4096 --json"))
@click.option(
    "--limit", metavar="MB", type=click.IntRange(1), help="Limit in MB.  [default: OSTLER_SELF_MEM_LIMIT, or 8192]"
)
@data_dir_option
@json_option
def mem_check(*, limit: int | None, data_dir: str | None, as_json: bool) -> int:
    """Show what the hub of this machine takes of the memory, with its children. Exit code 1 when it is above the limit.

    A hub that is above ends in good order after a wave of work: `ostler pulse` always, `ostler up` with
    --respawn-above.
    """
    import msgspec

    from ostler.app.footprint import footprint, limit_bytes
    from ostler.cli import render

    folder = _folder(data_dir)
    pid = _pid(folder)
    found = footprint(pid, limit_bytes(limit)) if pid is not None else None
    if found is None:
        raise UnreachableError("no hub runs on this machine", where=str(folder), remedy="'ostler up' starts one")
    if as_json:
        render.print_json({**msgspec.to_builtins(found), "is_above": found.is_above})
    else:
        verdict = "above" if found.is_above else "below"
        click.echo(
            f"hub (pid {found.pid}, {found.children} {'child' if found.children == 1 else 'children'}):"
            f" {found.bytes / 1024**2:.0f} MB, {verdict} the limit of {found.limit_bytes / 1024**2:.0f} MB"
        )
    return ExitCode.FAILED if found.is_above else ExitCode.OK


@click.command("respawn-history", epilog=example("ostler respawn-history", "ostler respawn-history --json"))
@data_dir_option
@json_option
def respawn_history(*, data_dir: str | None, as_json: bool) -> None:
    """List when a hub of this machine ended because it had grown too large."""
    import datetime as dt

    import msgspec

    from ostler.app.footprint import history
    from ostler.cli import render

    found = history(_folder(data_dir))
    if as_json:
        render.print_json([msgspec.to_builtins(one) for one in found])
        return
    rows = [
        (
            dt.datetime.fromtimestamp(one.at_ms / 1000, dt.UTC).isoformat(timespec="seconds"),
            str(one.pid),
            f"{one.footprint_bytes / 1024**2:.0f} MB",
            f"{one.limit_bytes / 1024**2:.0f} MB",
            one.batch or "-",
            str(one.ended),
        )
        for one in found
    ]
    render.print_table(
        ("when", "pid", "memory", "limit", "batch", "tasks ended"), rows, empty="no hub has ended for its memory"
    )


def _folder(told: str | None) -> Path:
    import os

    from ostler.config.place import data_dir

    return Path(told).expanduser() if told else data_dir(os.environ)


def _pid(folder: Path) -> int | None:
    import json

    from ostler.config.place import HUB_FILE

    try:
        pid = json.loads((folder / HUB_FILE).read_bytes())["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None
