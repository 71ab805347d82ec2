"""`ostler add`: write a task down; it waits until a batch takes it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.cli.spec import build_spec, spec_options
from ostler.domain.errors import ExitCode, InvalidInputError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

REPO_PATH_LABEL = "repo_path"
"""Label that keeps where the repository is on the machine that wrote the task down."""


@click.command(
    epilog=example(
        'ostler add t001 --repo "$(pwd)" --description "Fix the login form"',
        'ostler add t002 --repo shop --description "Add a test" --needs t001 --verify "make test"',
        "ostler batch my-batch --concurrency 3 --tasks t001,t002",
    )
)
@click.argument("task_id", metavar="ID")
@click.argument("words", metavar="[-- COMMAND]...", nargs=-1)
@spec_options
@click.option("--description", metavar="TEXT", default="", help="What is to be done: the prompt.")
@json_option
@hub_options
def add(
    client: "HubClient",
    *,
    task_id: str,
    words: tuple[str, ...],
    description: str,
    as_json: bool,
    **fields: Any,  # noqa: ANN401 -- the options of a task
) -> int:
    """Write a task down. It waits, held, until `ostler batch` takes it or `ostler tasks resume` lets it go on.

    With --repo it is a task for an agent. The repository is a name that workers know, or a folder, whose name is then
    that of its top folder.
    """
    import msgspec

    from ostler.cli import render

    if not description and not words:
        raise InvalidInputError("nothing is to be done", where="--description", remedy="say what the task is")
    label: dict[str, str] = {}
    if fields["repo"] is not None:
        fields["repo"], path = repo_of(fields["repo"])
        label = {} if path is None else {REPO_PATH_LABEL: str(path)}
        if fields["kind"] is None and not fields["is_command"]:
            fields["kind"] = "agent"
    spec = build_spec(task_id, (description,) if description else words, fields)
    spec = msgspec.structs.replace(spec, held=True, metadata={**spec.metadata, **label})
    answer = client.submit([spec])
    if as_json:
        render.print_json(answer)
        return ExitCode.OK
    (row,) = answer.tasks
    known = f" (known already, {row.state.value})" if row.duplicate else ""
    click.echo(f"{row.id}{known}  held; `ostler batch NAME --tasks {row.id}` starts it")
    return ExitCode.OK


def repo_of(text: str) -> tuple[str, Path | None]:
    """The name of a repository and, when a folder was given, its top folder. Raises `InvalidInputError`."""
    if "/" not in text and text not in (".", ".."):
        return text, None
    folder = Path(text).expanduser().resolve()
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return place.name, place
    raise InvalidInputError(
        f"'{text}' is not in a git repository", where="--repo", remedy="name a folder of one, or a name workers know"
    )
