"""`ostler tasks`: list, show and steer tasks."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.domain.errors import InvalidInputError
from ostler.domain.states import FINAL_STATES, TaskState

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.tasks import Task

PAGE = 1000
"""The largest page the hub gives."""
COLUMNS = ("id", "state", "tier", "place", "age", "note", "title")


@click.group(
    epilog=example(
        "ostler tasks list --state queued", "ostler tasks show t-k3v5q7aymz", "ostler tasks cancel t-k3v5q7aymz"
    )
)
def tasks() -> None:
    """List, show and steer tasks."""


@tasks.command(
    "list", epilog=example("ostler tasks list --open", "ostler tasks list --state failed --state dead_letter --json")
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in TaskState]),
    help="Only these.  [several times]",
)
@click.option("--open", "only_open", is_flag=True, help="Only tasks that have not ended.")
@click.option("--batch", metavar="NAME", help="Only tasks of this batch, such as a run.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--before", metavar="SEQ", type=click.IntRange(min=0), help="Go on below this sequence number.")
@json_option
@hub_options
def list_tasks(
    client: "HubClient",
    *,
    states: tuple[str, ...],
    only_open: bool,
    batch: str | None,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """List tasks, newest first, each with what it waits for or how it ended."""
    from ostler.cli import render, words
    from ostler.cli.task_view import note_text, place_text

    if only_open and states:
        raise InvalidInputError("--open and --state exclude each other", where="ostler tasks list", remedy="use one")
    wanted = tuple(state for state in TaskState if state not in FINAL_STATES) if only_open else states
    answer = client.tasks(wanted, batch, limit, before)
    if as_json:
        render.print_json(answer)
        return
    rows = [
        (
            task.id,
            task.state,
            task.tier or words.NONE,
            place_text(task),
            words.ago(task.created_ms, answer.now_ms).removesuffix(" ago"),
            note_text(task, answer.now_ms),
            task.title,
        )
        for task in answer.tasks
    ]
    render.print_table(COLUMNS, rows, empty="no tasks")
    counts = Counter(task.state for task in answer.tasks)
    if counts:
        total = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        more = f"; go on with --before {answer.tasks[-1].seq}" if len(answer.tasks) == limit else ""
        click.echo(f"\n{words.count(len(answer.tasks), 'task')}: {total}{more}")


@tasks.command("show", epilog=example("ostler tasks show t-k3v5q7aymz --all"))
@click.argument("task_id", metavar="TASK")
@click.option("--all", "everything", is_flag=True, help="Every candidate of the decision, and the events.")
@json_option
@hub_options
def show(client: "HubClient", *, task_id: str, everything: bool, as_json: bool) -> None:
    """Show one task: state, why it waits, attempts, decision, output."""
    from ostler.cli import render
    from ostler.cli.events import EventLines
    from ostler.cli.task_view import decision_lines, facts, timeline

    answer = client.task(task_id)
    if as_json:
        render.print_json(answer)
        return
    render.print_pairs(facts(answer))
    _section("attempts", iter(timeline(answer)))
    if answer.decisions:
        _section("decision", decision_lines(answer.decisions[-1], every_candidate=everything))
    if everything:
        _section("events", map(EventLines(time.time(), answer.events).line, answer.events))
    if answer.output is not None:
        _section("output", iter(answer.output.splitlines()))


def _section(name: str, lines: Iterator[str]) -> None:
    from ostler.cli.render import clean

    for index, text in enumerate(lines):
        if index == 0:
            click.echo(f"\n{name}")
        click.echo(f"  {clean(text)}")


@tasks.command("results", epilog=example("ostler tasks results r-x2m4k7", "ostler tasks results r-x2m4k7 --phase 1"))
@click.argument("run", metavar="RUN")
@click.option("--phase", metavar="N", type=click.IntRange(min=0), help="Only this phase.")
@json_option
@hub_options
def results(client: "HubClient", *, run: str, phase: int | None, as_json: bool) -> None:
    """Show the results of a run by derived phase.

    What needs nothing is phase 0, what needs only that phase 1, and so on; names that the tasks declare are shown.
    """
    from ostler.cli import render
    from ostler.cli.results import print_results

    found = client.results(run, phase)
    if phase is not None and not found.phases:
        raise InvalidInputError(f"run {run} has no phase {phase}", where="--phase", remedy="leave it out to see all")
    if as_json:
        render.print_json(found)
    else:
        print_results(found)


@tasks.command(
    "cancel",
    epilog=example('ostler tasks cancel t-k3v5q7aymz --reason "asked twice"', "ostler tasks cancel --batch r-x2m4k7"),
)
@click.argument("task_ids", metavar="[TASK]...", nargs=-1)
@click.option("--batch", metavar="NAME", help="All tasks of this batch that have not ended.")
@click.option("--reason", default="", metavar="TEXT", help="Why; shown with the task.")
@json_option
@hub_options
def cancel(client: "HubClient", *, task_ids: tuple[str, ...], batch: str | None, reason: str, as_json: bool) -> None:
    """Cancel tasks; what runs is stopped. Tasks that need them are cancelled too, unless they are optional."""
    if (batch is None) == (not task_ids):
        raise InvalidInputError(
            "name tasks or a batch", where="ostler tasks cancel", remedy="give ids, or --batch NAME"
        )
    ids = task_ids if batch is None else tuple(task.id for task in open_tasks(client, batch))
    _act(ids, lambda task_id: client.cancel(task_id, reason), as_json=as_json, until_ended="being stopped")


@tasks.command("retry", epilog=example("ostler tasks retry t-k3v5q7aymz"))
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@json_option
@hub_options
def retry(client: "HubClient", *, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Send tasks that ended badly, or need a person, back to the queue."""
    _act(task_ids, lambda task_id: client.act(task_id, "retry"), as_json=as_json)


@tasks.command("pause", epilog=example("ostler tasks pause t-k3v5q7aymz"))
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@json_option
@hub_options
def pause(client: "HubClient", *, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Keep tasks that wait from being started."""
    _act(task_ids, lambda task_id: client.act(task_id, "pause"), as_json=as_json)


@tasks.command("resume", epilog=example("ostler tasks resume t-k3v5q7aymz"))
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@json_option
@hub_options
def resume(client: "HubClient", *, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Let paused tasks be started again."""
    _act(task_ids, lambda task_id: client.act(task_id, "resume"), as_json=as_json)


def open_tasks(client: "HubClient", batch: str) -> Iterator["Task"]:
    """Tasks of a batch that have not ended, over all pages."""
    for task in batch_tasks(client, batch)[0]:
        if task.state not in FINAL_STATES:
            yield task


def batch_tasks(client: "HubClient", batch: str) -> "tuple[tuple[Task, ...], int]":
    """All tasks of a batch in the order of arrival, over all pages, and the hub's time at the last page."""
    found: list[Task] = []
    before: int | None = None
    while True:
        page = client.tasks((), batch, PAGE, before)
        found.extend(page.tasks)
        if len(page.tasks) < PAGE:
            return tuple(found[::-1]), page.now_ms
        before = page.tasks[-1].seq


def _act(task_ids: tuple[str, ...], act: "Callable[[str], Task]", *, as_json: bool, until_ended: str = "") -> None:
    """Do it to each task, printing one line for each; the first refusal ends it and says which task it was.

    `until_ended`: what is said of one that has not ended yet.
    """
    from ostler.cli import render
    from ostler.domain.errors import OstlerError

    for task_id in task_ids:
        try:
            task = act(task_id)
        except OstlerError as error:
            error.where = error.where or task_id
            raise
        if as_json:
            render.print_json(task)
        else:
            told = "paused" if task.paused else until_ended if task.state not in FINAL_STATES else ""
            click.echo(f"{task.id}  {task.state}" + (f" ({told})" if told else ""))
    if not task_ids and not as_json:
        click.echo("no task to act on")
