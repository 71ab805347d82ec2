"""`ostler context`: the working sets of agents on this machine: aims, decisions, errors, summaries."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from ostler.app.working_set import WorkingSet


@click.group(
    epilog=example("ostler context show", "ostler context export night > night.json", "ostler context clear night")
)
def context() -> None:
    """Show, export and clear working sets.

    A working set is what an agent keeps in mind: aims, decisions, errors and summaries of older talk.
    """


def which(command: "Callable[..., None]") -> "Callable[..., None]":
    """NAME, `--data-dir` and `--file`."""
    folder = click.option("--data-dir", metavar="DIR", help="Folder of working sets.  [default: data]")
    file = click.option("--file", metavar="FILE", help="The file itself, wherever it is.")
    return click.argument("name", default="default", metavar="[NAME]")(folder(file(command)))


@context.command(epilog=example("ostler context show", "ostler context show night --data-dir ~/agents/data"))
@which
@json_option
def show(*, name: str, data_dir: str | None, file: str | None, as_json: bool) -> None:
    """Show a working set."""
    from ostler.cli.render import print_json

    working = _named(name, data_dir, file)
    state = working.state
    if as_json:
        print_json({"path": str(working.path), "version": working.version, **_lists(working)})
        return
    click.echo(state.text() or "nothing is kept in mind")
    click.echo(f"\nversion {working.version} of {working.path}", err=True)


@context.command(epilog=example("ostler context export > default.json", "ostler context export night --to night.json"))
@which
@click.option("--to", metavar="FILE", help="Write it there.  [default: standard output]")
@json_option
def export(*, name: str, data_dir: str | None, file: str | None, to: str | None, as_json: bool) -> None:
    """Write the four lists of a working set as JSON; with `--json` on one line."""
    from pathlib import Path

    import msgspec

    from ostler.domain.errors import InvalidInputError

    lists = msgspec.json.encode(_lists(_named(name, data_dir, file)))
    text = (lists if as_json else msgspec.json.format(lists, indent=2)).decode() + "\n"
    if to is None:
        click.echo(text, nl=False)
        return
    try:
        Path(to).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot be written: {error.strerror}", where=to, remedy="name another file") from None


@context.command(epilog=example("ostler context clear night", "ostler context clear --only errors"))
@which
@click.option(
    "--only",
    type=click.Choice(["objectives", "decisions", "errors", "summaries"]),
    help="Only this list.  [default: all four]",
)
@json_option
def clear(*, name: str, data_dir: str | None, file: str | None, only: str | None, as_json: bool) -> None:
    """Empty a working set, or one of its lists. What it was before stays beside it as FILE.previous."""
    from ostler.cli.render import print_json

    working = _named(name, data_dir, file)
    working.clear(only)
    if as_json:
        print_json({"path": str(working.path), "version": working.version, **_lists(working)})
    else:
        click.echo(f"cleared {only or 'all four lists'} of {working.path}")


def _named(name: str, data_dir: str | None, file: str | None) -> "WorkingSet":
    from ostler.app.working_set import WorkingSet

    return WorkingSet(file) if file is not None else WorkingSet.of(name, data_dir or "data")


def _lists(working: "WorkingSet") -> dict[str, list[str]]:
    from ostler.domain.working_set import Kind

    state = working.state
    return {kind.value: list(state.of(kind.value)) for kind in Kind}
