"""The phases and results of a run in words."""

from collections.abc import Iterator, Sequence

import click

from ostler.cli import words
from ostler.cli.render import clean, line
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.results import PhaseTasks, is_skipped, phase_row, phases_of, stands_in_for
from ostler.hub.views import PhaseRow, ResultRow, RunResults

NAMES_MAX = 6


def phase_lines(tasks: Sequence[Task]) -> list[str]:
    """A line for each derived phase: what was in it, how long it took, what was left out or done by another model."""
    return [phase_line(phase) for phase in phases_of(tasks)]


def phase_line(group: PhaseTasks) -> str:
    """One phase in one line."""
    phase, tasks = phase_row(group), group.tasks
    names = words.words([row.name for row in phase.tasks], NAMES_MAX)
    parts = [f"{phase_name(phase)}, {_span(phase)}: {names}"]
    skipped = [row.name for row in phase.tasks if row.skipped]
    if skipped:
        parts.append(f"skipped: {words.words(skipped, NAMES_MAX)}")
    others = [f"{task.model} instead of {stood}" for task in tasks if (stood := stands_in_for(task))]
    if others:
        parts.append(words.words(list(dict.fromkeys(others)), NAMES_MAX))
    return line("; ".join(parts), 200)


def phase_name(phase: PhaseRow) -> str:
    """How a phase is called: its number, and the names its tasks declare."""
    return f"phase {phase.depth}" + (f" ({phase.label})" if phase.label else "")


def _span(phase: PhaseRow) -> str:
    if phase.started_ms is None:
        return words.NONE
    if phase.finished_ms is None:
        return "not over"
    return words.duration(max(0, phase.finished_ms - phase.started_ms))


def print_results(results: RunResults) -> None:
    """Every result, phase by phase."""
    for phase in results.phases:
        click.echo(f"\n{phase_name(phase)}, {_span(phase)}")
        for row in phase.tasks:
            for text in _result_lines(row):
                click.echo(clean(text))


def _result_lines(row: ResultRow) -> Iterator[str]:
    where = " on ".join(part for part in (row.model, row.endpoint) if part)
    instead = f", instead of {row.instead_of}" if row.instead_of else ""
    skipped = ", optional: skipped" if row.skipped else ""
    yield f"  {row.name}  {row.state}{skipped}" + (f"  [{where}{instead}]" if where else "")
    if row.state is not TaskState.SUCCEEDED and row.failure is not None:
        yield f"    {row.failure.kind}: {row.failure.message}"
    elif row.output:
        for text in row.output.rstrip("\n").splitlines():
            yield f"    {text}"


def model_note(task: Task) -> str:
    """Which model it stands in for, if it does; and that it is skipped, if it is."""
    stood = stands_in_for(task)
    notes = [f"instead of {stood}"] if stood else []
    if is_skipped(task):
        notes.append("optional: skipped")
    return ", ".join(notes)
