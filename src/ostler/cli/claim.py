"""`ostler claim` and `ostler unclaim`: who works on what, in the repository's `TODO.md`. No hub is needed."""

from collections.abc import Callable
from typing import Any

import click

from ostler.cli.flags import example, json_option


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option("--with-issue", is_flag=True, help="Tell GitHub too (`gh`); makes an issue where none is named."),
        click.option("--push", is_flag=True, help="Commit the one line on top of the remote's branch, and push it."),
        click.option("--force", is_flag=True, help="Also when somebody else has claimed it; that is recorded."),
        click.option("--as", "who", metavar="NAME", help="Whose claim.  [default: OSTLER_ASSIGNEE, or USER@HOST]"),
        click.option("--repo", metavar="DIR", default=".", show_default=True, help="A folder of the repository."),
        click.argument("task", metavar="ID"),
    ):
        command = option(command)
    return command


@click.command(epilog=example("ostler claim t001", "ostler claim t001 --repo ~/src/shop --push --with-issue"))
@_options
def claim(**told: Any) -> None:  # noqa: ANN401 -- click's options
    """Claim a task: its line in the repository's TODO.md gets your `assignee:`. Somebody else's claim is left alone."""
    _change(release=False, **told)


@click.command(epilog=example("ostler unclaim t001", "ostler unclaim t001 --force"))
@_options
def unclaim(**told: Any) -> None:  # noqa: ANN401 -- click's options
    """Give a claim back. Somebody else's needs --force, and is then recorded."""
    _change(release=True, **told)


SAID = {
    "claimed": "{task} is claimed by {name}",
    "held": "{task} was claimed by {name} already",
    "released": "{task} is free again",
    "free": "{task} was not claimed",
}


def _change(*, release: bool, repo: str, as_json: bool, **told: Any) -> None:  # noqa: ANN401 -- click's options
    from ostler.app.claims import ClaimWish, change
    from ostler.cli import render

    answer = change(ClaimWish(release=release, folder=repo, **told))
    if as_json:
        render.print_json(answer)
        return
    said = SAID[answer.change].format(task=answer.task, name=answer.assignee)
    click.echo(said + (" (pushed)" if answer.pushed is not None else ""))
    if answer.issue:
        click.echo(answer.issue)
