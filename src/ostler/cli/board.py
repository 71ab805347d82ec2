"""The board of `ostler top`: what needs a person, what runs, what waits. Pure: answers of the hub in, rows out.

A row knows what may be done with it, so that keys and hints cannot disagree.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from ostler.cli import words
from ostler.cli.render import line
from ostler.cli.task_view import wait_text
from ostler.domain.alerts import AlertState, Severity
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.alert_views import AlertList
from ostler.hub.views import HubStatus, TaskList

if TYPE_CHECKING:
    from ostler.hub.alert_views import AlertRow

RUNNING = (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING)
ASKED_STATES = ("needs_human", "assigned", "running", "evaluating")
WAITING_STATES = ("queued", "scheduled", "retry_wait")


class Act(StrEnum):
    """What may be done with a row."""

    ACK = "acknowledge"
    ANSWER = "answer"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


class Kind(StrEnum):
    """What a row is about."""

    ALERT = "alert"
    TASK = "task"
    GROUP = "group"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `id`: of the alert or task; of a group, of one of its tasks."""

    kind: Kind
    id: str
    cells: tuple[str, ...]
    acts: tuple[Act, ...] = ()
    mark: str = ""
    """The word whose colour it has."""


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three bands. `empty`: what it says without a row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    empty: str = ""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub said, as it is printed by `--json`."""

    status: HubStatus
    tasks: TaskList
    alerts: AlertList
    waiting: TaskList | None = None
    """Tasks one by one, where they were asked for."""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on one screen."""

    head: str
    needs: Band
    running: Band
    waiting: Band
    idle: str = ""
    """Why nothing runs, where work waits and nothing runs."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """From the top."""
        return (self.needs, self.running, self.waiting)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order of the screen."""
        return tuple(row for band in self.bands for row in band.rows)


def board_of(answers: Answers, now_ms: int) -> Board:
    """The board at an instant of the hub's clock."""
    status, tasks = answers.status, answers.tasks.tasks
    asking = [task for task in tasks if task.state is TaskState.NEEDS_HUMAN]
    running = [task for task in tasks if task.state in RUNNING]
    alerts = [_alert(row, now_ms) for row in answers.alerts.alerts if row.alert.state is AlertState.ACTIVE]
    return Board(
        head=_head(status, now_ms),
        needs=Band(
            title="NEEDS YOU",
            headings=("what", "since", "why"),
            rows=(*alerts, *(_asking(task, now_ms) for task in asking)),
            empty="nothing",
        ),
        running=Band(
            title="RUNNING",
            headings=("task", "model", "at", "tier", "for", "tokens"),
            rows=tuple(_running(task, answers.tasks.output_tokens, now_ms) for task in _oldest_first(running)),
            empty="nothing; `ostler submit` hands in a task" if not status.waiting else "nothing",
        ),
        waiting=_waiting(answers, now_ms),
        idle=status.idle_because,
    )


def _head(status: HubStatus, now_ms: int) -> str:
    ended = sum(status.counts.get(state, 0) for state in ("succeeded", "failed", "dead_letter", "expired", "cancelled"))
    parts = [
        f"{status.in_flight} running",
        f"{sum(group.count for group in status.waiting)} waiting",
        f"{words.count(status.calls_running, 'call')} live" if status.calls_running else "",
        f"{ended} ended",
        f"{status.endpoints_up}/{status.endpoints_total} endpoints",
        words.count(status.workers, "worker"),
        f"up {words.duration(max(0, now_ms - status.started_ms) // 1000 * 1000)}",
        status.profile,
    ]
    return " | ".join(part for part in parts if part)


def _alert(row: "AlertRow", now_ms: int) -> Row:
    alert = row.alert
    mark = "failed" if alert.severity is Severity.CRITICAL else "retry_wait"
    cells = (row.id, words.ago(alert.raised_ms, now_ms), alert.message)
    return Row(kind=Kind.ALERT, id=row.id, cells=cells, acts=(Act.ACK,), mark=mark)


def _asking(task: Task, now_ms: int) -> Row:
    why = task.failure.message if task.failure is not None else "it asks for a person"
    terms = words.question_text(task.failure.question, now_ms) if task.failure is not None else ""
    return Row(
        kind=Kind.TASK,
        id=task.id,
        cells=(_name(task), words.ago(task.updated_ms, now_ms), line(f"{why} ({terms})" if terms else why, 300)),
        acts=(Act.ANSWER, Act.RETRY, Act.CANCEL),
        mark="needs_human",
    )


def _running(task: Task, tokens: Mapping[str, int], now_ms: int) -> Row:
    begin = task.started_ms or task.updated_ms
    place = task.endpoint or task.worker or words.NONE
    return Row(
        kind=Kind.TASK,
        id=task.id,
        cells=(
            _name(task),
            task.model or words.NONE,
            f"{place} (fallback)" if task.fallback_used else place,
            task.tier or words.NONE,
            words.duration(max(0, now_ms - begin)),
            str(tokens[task.id]) if tokens.get(task.id) else words.NONE,
        ),
        acts=(Act.CANCEL,),
        mark="running",
    )


def _waiting(answers: Answers, now_ms: int) -> Band:
    if answers.waiting is None:
        rows = [
            Row(
                kind=Kind.GROUP,
                id=group.example,
                cells=(
                    str(group.count),
                    group.tier or words.NONE,
                    words.duration(max(0, now_ms - group.wait.since_ms)),
                    line(wait_text(group.wait, now_ms), 300),
                ),
                mark="retry_wait",
            )
            for group in answers.status.waiting
        ]
        headings: tuple[str, ...] = ("tasks", "tier", "for", "because")
    else:
        headings = ("task", "tier", "for", "because")
        rows = [_queued(task, now_ms) for task in _oldest_first(answers.waiting.tasks)]
    return Band(title="WAITING", headings=headings, rows=tuple(rows), empty="nothing")


def _queued(task: Task, now_ms: int) -> Row:
    because = "paused" if task.paused else wait_text(task.wait, now_ms) if task.wait is not None else task.state.value
    if task.state is TaskState.RETRY_WAIT and task.not_before_ms is not None:
        because = f"tried again {words.ago(task.not_before_ms, now_ms)}"
    since = task.queued_ms or task.created_ms
    return Row(
        kind=Kind.TASK,
        id=task.id,
        cells=(_name(task), task.tier or words.NONE, words.duration(max(0, now_ms - since)), line(because, 300)),
        acts=(Act.RESUME if task.paused else Act.PAUSE, Act.CANCEL),
        mark="retry_wait",
    )


def _name(task: Task) -> str:
    title = line(task.title, 30)
    return f"{task.id} {title}".rstrip() if title else task.id


def _oldest_first(tasks: Iterable[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: task.seq)
