"""`ostler answer`: what needs a person, and the answer to it."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.domain.errors import InvalidInputError
from ostler.domain.states import TaskState

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient


@click.command(epilog=example("ostler answer", 'ostler answer t-k3v5q7aymz "the green one"'))
@click.argument("task_id", metavar="[TASK]", required=False)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@json_option
@hub_options
def answer(client: "HubClient", *, task_id: str | None, words: tuple[str, ...], as_json: bool) -> None:
    """Answer a task that needs a person: it goes on, and its next attempt is told. Without a task: list what asks."""
    from ostler.cli import render
    from ostler.cli.words import ago

    if task_id is None:
        found = client.tasks((TaskState.NEEDS_HUMAN,), None, 1000, None)
        if as_json:
            render.print_json(found)
            return
        rows = [
            (
                task.id,
                ago(task.updated_ms, found.now_ms).removesuffix(" ago"),
                task.failure.kind.value if task.failure is not None else "",
                task.failure.message if task.failure is not None else "",
            )
            for task in found.tasks
        ]
        render.print_table(("task", "since", "what", "asked"), rows, empty="nothing needs a person")
        return
    if not words:
        raise InvalidInputError("no answer is given", where="ostler answer", remedy="write it behind the task")
    task = client.answer(task_id, " ".join(words))
    if as_json:
        render.print_json(task)
    else:
        click.echo(f"{task.id}  {task.state}")
