"""When a plan has the tasks of a run start and end, beside what they do: for tables and lines of progress.

Instants are told as durations since the plan was made. Pure: who shows it says what time it is.
"""

from collections.abc import Iterable

from ostler.cli import words
from ostler.domain.tasks import Task
from ostler.hub.plan_views import RunPlan
from ostler.planning.guide import Versus

NEAR_MS = 500
"""Closer than this is as planned."""


class PlannedTimes:
    """The plan of a run, by task."""

    def __init__(self, plan: RunPlan) -> None:
        self._started_ms = plan.started_ms
        self._rows: dict[str, Versus] = {row.task: row for row in plan.rows}

    def planned(self, task: Task) -> str:
        """Planned start and end."""
        row = self._rows.get(task.id)
        return words.NONE if row is None else span_text(row.planned_start_ms, row.planned_end_ms)

    def actual(self, task: Task) -> str:
        """Start and end as they were."""
        if task.started_ms is None:
            return words.NONE
        end_ms = None if task.finished_ms is None else task.finished_ms - self._started_ms
        return span_text(task.started_ms - self._started_ms, end_ms)

    def late(self, task: Task, now_ms: int) -> str:
        """How much later or earlier than planned it ended; of one that has not ended, how late it is by now."""
        row = self._rows.get(task.id)
        if row is None:
            return words.NONE
        if task.finished_ms is not None:
            return late_text(task.finished_ms - self._started_ms - row.planned_end_ms)
        due_ms = row.planned_start_ms if task.started_ms is None else row.planned_end_ms
        behind_ms = now_ms - self._started_ms - due_ms
        return f"{late_text(behind_ms)} so far" if behind_ms > NEAR_MS else ""


def span_text(start_ms: int, end_ms: int | None) -> str:
    """From one instant to another.

    >>> span_text(0, 50_000), span_text(75_000, None)
    ('0 s to 50 s', '1 min 15 s to ...')
    """
    return f"{words.duration(max(0, start_ms))} to {'...' if end_ms is None else words.duration(max(0, end_ms))}"


def late_text(late_ms: int) -> str:
    """A difference to the plan.

    >>> late_text(5_000), late_text(-3_000), late_text(200)
    ('5 s late', '3 s early', 'as planned')
    """
    if abs(late_ms) <= NEAR_MS:
        return "as planned"
    return f"{words.duration(abs(late_ms))} {'late' if late_ms > 0 else 'early'}"


def lateness(rows: Iterable[Versus]) -> tuple[int, int, int]:
    """Of the tasks that ended: how many as planned, late, early."""
    ended = [row.late_ms for row in rows if row.late_ms is not None]
    late, early = sum(ms > NEAR_MS for ms in ended), sum(ms < -NEAR_MS for ms in ended)
    return len(ended) - late - early, late, early
