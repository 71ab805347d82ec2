"""`ostler submit`: hand in one task, or a file of them."""

from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.cli.spec import build_spec, new_id, spec_options
from ostler.domain.errors import ExitCode, InvalidInputError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.views import SubmitAnswer


@click.command(
    epilog=example(
        'ostler submit "why does test_parser fail?" --tier standard --touches src/parser.py',
        "ostler submit --wait --command -- make test",
        "git diff | ostler submit - --title review --local-only",
    )
)
@click.argument("words", metavar="[PROMPT]...", nargs=-1)
@spec_options
@click.option(
    "--id", "task_id", metavar="ID", help="Its id; the same one again is not done twice.  [default: a new one]"
)
@click.option("--file", "file", metavar="FILE", help="Hand in a file of tasks instead (see `ostler run`).")
@click.option("--wait", is_flag=True, help="Wait for the end and print the output; the exit code tells success.")
@json_option
@hub_options
def submit(
    client: "HubClient",
    *,
    words: tuple[str, ...],
    task_id: str | None,
    file: str | None,
    wait: bool,
    as_json: bool,
    **fields: Any,  # noqa: ANN401 -- the options of a task
) -> int:
    """Hand in one task: a prompt for a model, or a command.

    The id is made here, so that a submit whose answer was lost can be repeated with --id and is not done twice.
    """
    if file is not None:
        if words or task_id is not None:
            raise InvalidInputError("a file names its own tasks", where="--file", remedy="leave prompt and --id out")
        from ostler.cli.run import submit_file

        return submit_file(client, file, wait=wait, as_json=as_json)
    spec = build_spec(task_id or new_id(), words, fields)
    answer = client.submit([spec])
    if wait:
        from ostler.cli.watch import wait_for_one

        return wait_for_one(client, spec.id, as_json=as_json)
    print_submitted(answer, as_json=as_json)
    return ExitCode.OK


def print_submitted(answer: "SubmitAnswer", *, as_json: bool) -> None:
    """The ids of accepted tasks, one on each line."""
    from ostler.cli import render

    if as_json:
        render.print_json(answer)
        return
    for task in answer.tasks:
        click.echo(task.id + (f"  (known already, {task.state})" if task.duplicate else ""))
