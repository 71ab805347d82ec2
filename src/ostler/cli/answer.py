"""`ostler answer`: what needs a person, and the answer to it."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient


@click.command(epilog=example("ostler answer --owner ada", 'ostler answer t-k3v5q7aymz "the green one"'))
@click.argument("task_id", metavar="[TASK]", required=False)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("--owner", metavar="NAME", help="List what is theirs to answer, or anybody's.")
@click.option("--other", is_flag=True, help="The answer is meant to be none of the choices.")
@json_option
@hub_options
def answer(
    client: "HubClient", *, task_id: str | None, words: tuple[str, ...], owner: str | None, other: bool, as_json: bool
) -> None:
    """Answer a task that needs a person: it goes on, and its next attempt is told. Without a task: list what asks."""
    from ostler.cli import render

    if task_id is None:
        _list(client, owner, as_json=as_json)
        return
    if owner is not None:
        remedy = "leave the task out to list, or the option to answer"
        raise InvalidInputError("an owner is only for the list", where="--owner", remedy=remedy)
    if not words:
        raise InvalidInputError("no answer is given", where="ostler answer", remedy="write it behind the task")
    task = client.answer(task_id, " ".join(words), other=other)
    if as_json:
        render.print_json(task)
    else:
        click.echo(f"{task.id}  {task.state}")


def _list(client: "HubClient", owner: str | None, *, as_json: bool) -> None:
    from ostler.cli import render
    from ostler.cli.words import ago, deadline_text

    found = client.questions(owner)
    if as_json:
        render.print_json(found)
        return
    rows = [
        (
            one.task,
            ago(one.since_ms, found.now_ms).removesuffix(" ago"),
            one.owner,
            one.kind.value,
            one.asked,
            " | ".join(one.choices),
            deadline_text(one.default, one.deadline_ms, found.now_ms),
        )
        for one in found.questions
    ]
    header = ("task", "since", "for", "what", "asked", "choices", "answer")
    empty = "nothing needs a person" if owner is None else f"nothing needs {owner}"
    render.print_table(header, rows, empty=empty)
