"""What `ostler run` shows while it watches: a live table on a terminal, a line for each change elsewhere."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from ostler.cli import words
from ostler.cli.render import clean, line, style_of
from ostler.cli.results import model_note, phase_line
from ostler.cli.task_view import note_text, place_text
from ostler.cli.watch import Picture
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.results import phases_of

if TYPE_CHECKING:
    from rich.table import Table

    from ostler.cli.planned import PlannedTimes

HEADINGS: tuple[str, ...] = ("phase", "task", "state", "tier", "model", "endpoint", "time", "note")
PLANNED_HEADINGS: tuple[str, ...] = ("task", "state", "model", "planned", "actual", "end")
NOTES_MAX = 4
ROWS_MAX = 40
"""A live table longer than a screen flickers: of more tasks only those that are not over are shown."""


class Progress(Protocol):
    """Shows one picture after the other."""

    def show(self, picture: Picture) -> None:
        """Show the newest picture."""
        ...


class PlainProgress:
    """A line whenever a task changes its state or the reason it waits for, and when a phase of a run is over.

    `aside`: to standard error, because standard output is for the result. `plan`: what ended is told beside it.
    """

    def __init__(self, *, aside: bool = False, plan: "PlannedTimes | None" = None) -> None:
        self._aside = aside
        self._plan = plan
        self._seen: dict[str, tuple[object, ...]] = {}
        self._was_stale = False
        self._over: set[int] = set()
        """Phases that were said to be over."""

    def show(self, picture: Picture) -> None:
        """Print what has changed since the last picture."""
        if picture.stale and not self._was_stale:
            click.echo("the hub does not answer; waiting for it", err=True)
        self._was_stale = picture.stale
        for task in picture.tasks:
            sign = (task.state, task.generation, task.wait.code if task.wait else None)
            if self._seen.get(task.id) != sign:
                self._seen[task.id] = sign
                late = self._plan.late(task, picture.now_ms) if self._plan and task.finished_ms is not None else ""
                told = f" ({late})" if late not in ("", words.NONE) else ""
                click.echo(change_line(task, picture.now_ms) + told, err=self._aside)
        self._tell_phases(picture)

    def _tell_phases(self, picture: Picture) -> None:
        """Say once of each phase that it is over; of a run with one phase its end says enough."""
        phases = phases_of(picture.tasks)
        for phase in phases if len(phases) > 1 else ():
            if phase.depth not in self._over and all(task.finished_ms is not None for task in phase.tasks):
                self._over.add(phase.depth)
                click.echo(f"{phase_line(phase)} (over)", err=self._aside)


class LiveProgress:
    """A table that is redrawn in place."""

    def __init__(self, update: "LiveUpdate", plan: "PlannedTimes | None" = None) -> None:
        self._update = update
        self._plan = plan

    def show(self, picture: Picture) -> None:
        """Redraw the table."""
        self._update(live_table(picture, self._plan))


class LiveUpdate(Protocol):
    """Puts a new table in the place of the last one."""

    def __call__(self, table: "Table") -> None:
        """Draw it."""
        ...


@contextmanager
def progress(*, live: bool, plan: "PlannedTimes | None" = None) -> Iterator[Progress]:
    """The way of showing that fits standard output. `plan`: shown beside what the tasks do."""
    if not live:
        yield PlainProgress(plan=plan)
        return
    from rich.live import Live

    with Live(auto_refresh=False, transient=False) as display:
        yield LiveProgress(lambda table: display.update(table, refresh=True), plan)


def short_name(task: Task) -> str:
    """The id of a task without that of its run: as it stands in the file."""
    return task.id.removeprefix(f"{task.batch}.") if task.batch else task.id


def change_line(task: Task, now_ms: int) -> str:
    """A change in one line: state, id in the file, place, and what there is to say of it."""
    parts = [task.state.ljust(11), short_name(task)]
    if place_text(task) != words.NONE:
        parts.append(f"[{place_text(task)}]")
    note = note_text(task, now_ms)
    aside = model_note(task)
    if aside:
        note = f"{note} ({aside})" if note else f"({aside})"
    return line(" ".join(parts) + (f"  {note}" if note else ""), 200)


def live_table(picture: Picture, plan: "PlannedTimes | None" = None) -> "Table":
    """The tasks as they are at this moment, with countdowns; with a plan its times instead of tier and phase."""
    from rich.table import Table
    from rich.text import Text

    now_ms, tasks = picture.hub_ms(), list(shown(picture.tasks))
    caption = summary(picture)
    if plan is None:
        depth = {task.id: phase.depth for phase in phases_of(picture.tasks) for task in phase.tasks}
        headings, rows = HEADINGS, [_row(task, depth[task.id], now_ms) for task in tasks]
    else:
        headings, rows = PLANNED_HEADINGS, [_planned_row(task, plan, now_ms) for task in tasks]
        caption = "\n".join([caption, *_notes(tasks, now_ms)])
    table = Table(box=None, header_style="bold", pad_edge=False, caption=Text(caption), caption_justify="left")
    for heading in headings:
        table.add_column(heading.upper(), no_wrap=heading != "note", overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    return table


def _row(task: Task, depth: int, now_ms: int) -> tuple[str, ...]:
    return (
        str(depth),
        short_name(task),
        task.state,
        task.tier or words.NONE,
        task.model or words.NONE,
        task.endpoint or task.worker or words.NONE,
        elapsed(task, now_ms),
        _note(task, note_text(task, now_ms)),
    )


def _planned_row(task: Task, plan: "PlannedTimes", now_ms: int) -> tuple[str, ...]:
    return (
        short_name(task),
        task.state,
        task.model or words.NONE,
        plan.planned(task),
        plan.actual(task),
        plan.late(task, now_ms),
    )


def _notes(tasks: Iterable[Task], now_ms: int) -> list[str]:
    """Beside planned times there is no room for notes, so the first ones stand below. The times of what is running or
    went well say all there is of it.
    """
    plain = (TaskState.RUNNING, TaskState.SUCCEEDED)
    notes = [(task, _note(task, "" if task.state in plain else note_text(task, now_ms))) for task in tasks]
    return [f"{short_name(task)}: {note}" for task, note in notes if note][:NOTES_MAX]


def _note(task: Task, text: str) -> str:
    return clean("; ".join(part for part in (text, model_note(task)) if part))


def shown(tasks: tuple[Task, ...]) -> Iterable[Task]:
    """All tasks, or of very many those that have not ended first."""
    if len(tasks) <= ROWS_MAX:
        return tasks
    return sorted(tasks, key=lambda task: task.finished_ms is not None)[:ROWS_MAX]


def elapsed(task: Task, now_ms: int) -> str:
    """How long it has been running, or took; while it waits, how long it has been waiting."""
    begin = task.started_ms or task.queued_ms or task.created_ms
    return words.duration(max(0, (task.finished_ms or now_ms) - begin))


def summary(picture: Picture) -> str:
    """Counts by state in one line."""
    counts = Counter(task.state for task in picture.tasks)
    text = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return text + ("; the hub does not answer, waiting for it" if picture.stale else "")
