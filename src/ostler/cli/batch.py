"""`ostler batch` and `ostler dashboard`: tasks that belong together."""

import sys
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.domain.errors import ExitCode, InvalidInputError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.tasks import Task
    from ostler.hub.batch_views import BatchAnswer, BatchRow

COLUMNS = ("batch", "is", "tasks", "at once", "began", "cost")
NOTHING = "no batches; `ostler batch NAME --tasks a,b` makes one of tasks that are there"


@click.command(
    epilog=example(
        "ostler batch my-batch --concurrency 3 --tasks t001,t002,t003",
        "ostler batch my-batch --pause",
        "ostler batch my-batch",
        "ostler batch --list",
    )
)
@click.argument("name", required=False)
@click.option("--tasks", metavar="ID,ID", help="Open tasks to put into it; held ones start.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="At most so many of it run at once.")
@click.option("--pause", "verb", flag_value="pause", help="Keep what has not started from starting.")
@click.option("--resume", "verb", flag_value="resume", help="Let it go on.")
@click.option("--cancel", "verb", flag_value="cancel", help="Cancel what has not ended.")
@click.option("--list", "want_list", is_flag=True, help="List the batches.")
@json_option
@hub_options
def batch(
    client: "HubClient",
    *,
    name: str | None,
    tasks: str | None,
    concurrency: int | None,
    verb: str | None,
    want_list: bool,
    as_json: bool,
) -> int:
    """Make a batch of tasks that are there, show it, pause, resume or cancel it."""
    from ostler.cli import render

    wishes = [wish for wish in (verb, tasks or concurrency, want_list) if wish]
    if len(wishes) > 1:
        raise InvalidInputError("these do not go together", where="ostler batch", remedy="ask for one thing at a time")
    if name is None:
        if wishes and not want_list:
            raise InvalidInputError("which batch?", where="ostler batch", remedy="name it first")
        return _list(client, as_json=as_json)
    if not wishes:
        return show(client, name, as_json=as_json)
    if verb is not None:
        row = client.act_on_batch(name, verb)
    else:
        ids = [one.strip() for one in (tasks or "").split(",") if one.strip()]
        row = client.make_batch(name, ids, concurrency)
    if as_json:
        render.print_json(row)
    else:
        click.echo(line(row))
    return ExitCode.OK


def show(client: "HubClient", name: str, *, as_json: bool) -> int:
    """One batch with its tasks; the exit code says whether anything of it went wrong."""
    from ostler.cli import render

    answer = client.batch(name)
    if as_json:
        render.print_json(answer)
    else:
        _print(answer)
    return ExitCode.OK


def line(row: "BatchRow") -> str:
    """A batch in one line."""
    counts = ", ".join(f"{count} {state}" for state, count in row.counts.items())
    at_once = f", {row.concurrency} at once" if row.concurrency is not None else ""
    return f"batch {row.name} is {row.state}: {counts}{at_once}"


def _list(client: "HubClient", *, as_json: bool) -> int:
    from ostler.cli import render, words

    answer = client.batches()
    if as_json:
        render.print_json(answer)
        return ExitCode.OK
    rows = [
        (
            row.name,
            row.state,
            ", ".join(f"{count} {state}" for state, count in row.counts.items()),
            words.NONE if row.concurrency is None else str(row.concurrency),
            words.ago(row.created_ms, answer.now_ms),
            words.exact_money(row.cost_micro_usd),
        )
        for row in answer.batches
    ]
    render.print_table(COLUMNS, rows, empty=NOTHING)
    return ExitCode.OK


def _print(answer: "BatchAnswer") -> None:
    from ostler.cli import render, words
    from ostler.cli.task_view import note_text, place_text

    row, now_ms = answer.row, answer.now_ms
    over = f", over {words.ago(row.finished_ms, now_ms)}" if row.finished_ms is not None else ""
    click.echo(line(row))
    click.echo(f"began {words.ago(row.created_ms, now_ms)}{over}, cost {words.exact_money(row.cost_micro_usd)}")
    click.echo()
    rows = [(task.id, task.state.value, place_text(task), note_text(task, now_ms), task.title) for task in answer.tasks]
    render.print_table(("task", "state", "where", "note", "title"), rows, empty="")


@click.command(epilog=example("ostler dashboard --batch my-batch", "ostler dashboard"))
@click.option("--batch", "name", metavar="NAME", help="Only this batch.  [default: all open tasks]")
@json_option
@hub_options
def dashboard(client: "HubClient", *, name: str | None, as_json: bool) -> int:
    """Watch a batch, or all open tasks, in the terminal until it is over; Ctrl-C leaves it running.

    Where the output is no terminal, a line is printed for each change.
    """
    from ostler.cli import render
    from ostler.cli.progress import progress
    from ostler.cli.watch import Bell, pictures

    if as_json:
        render.print_json(client.pulse(name, look=True))
        return ExitCode.OK

    def ask() -> "tuple[tuple[Task, ...], int]":
        if name is not None:
            answer = client.batch(name)
            return answer.tasks, answer.now_ms
        return _open_tasks(client)

    live = sys.stdout.isatty()
    picture = None
    with progress(live=live) as display:
        for picture in pictures(ask, Bell(client, lambda _task_id: True), *([LIVE_TICK_S] if live else [])):
            display.show(picture)
    if picture is None or not picture.tasks:
        click.echo("nothing is open")
        return ExitCode.OK
    return picture.exit_code


LIVE_TICK_S = 1.0


def _open_tasks(client: "HubClient") -> "tuple[tuple[Task, ...], int]":
    from ostler.domain.states import FINAL_STATES, TaskState

    states = [state.value for state in TaskState if state not in FINAL_STATES]
    answer = client.tasks(states, None, 1000)
    return answer.tasks[::-1], answer.now_ms
