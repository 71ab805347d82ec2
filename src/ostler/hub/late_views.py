"""Late results as people see them."""

from enum import StrEnum

import msgspec

from ostler.domain.states import Failure, Outcome, TaskState


class LateStanding(StrEnum):
    """What can become of a late result."""

    OPEN = "open"
    """It is good, and its task has no result: it can be adopted."""
    RUNNING = "running"
    """It is good, and another attempt of its task is under way: it can be adopted when that one has ended."""
    SETTLED = "settled"
    """Its task has a result of another attempt, which stands."""
    ADOPTED = "adopted"
    """It is the result of its task."""
    FAILED = "failed"
    """It tells of a failure: nothing can be adopted."""


class LateRow(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt that had been given up before it was reported."""

    task_id: str
    title: str = ""
    generation: int
    at_ms: int
    """When the attempt ended, by the clock of its worker."""
    worker: str
    model: str | None = None
    ok: bool
    outcome: Outcome
    failure: Failure | None = None
    exit_code: int | None = None
    output_bytes: int = 0
    state: TaskState
    """Of the task, now."""
    standing: LateStanding


class LateList(msgspec.Struct, frozen=True, kw_only=True):
    """Late results, newest first."""

    late: tuple[LateRow, ...]
    now_ms: int


class LateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One late result with what it put out."""

    row: LateRow
    output: str
    now_ms: int
