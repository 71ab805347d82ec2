"""What needs a person, as data: one row for each task that waits for somebody."""

import sys

import msgspec

from ostler.domain.states import FailureClass, Question
from ostler.domain.tasks import Task


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One task that needs a person."""

    task: str
    title: str = ""
    kind: FailureClass
    """`question`: it asks something. Others: what went wrong that only a person can mend, such as `auth`."""
    asked: str
    """The question, or what went wrong."""
    since_ms: int
    owner: str = ""
    """Who is to answer; empty = anybody."""
    choices: tuple[str, ...] = ()
    default: str | None = None
    deadline_ms: int | None = None
    """From then on the default is taken, or what `scheduler.unanswered` says happens."""


class QuestionList(msgspec.Struct, frozen=True, kw_only=True):
    """What needs a person, the most urgent first."""

    questions: tuple[Asked, ...]
    now_ms: int


def asked_of(task: Task) -> Asked:
    """The row of a task that needs a person."""
    failure = task.failure
    question = failure.question if failure is not None and failure.question is not None else Question()
    return Asked(
        task=task.id,
        title=task.title,
        kind=failure.kind if failure is not None else FailureClass.QUESTION,
        asked=failure.message if failure is not None else "",
        since_ms=task.updated_ms,
        owner=question.owner,
        choices=question.choices,
        default=question.default,
        deadline_ms=question.deadline_ms,
    )


def urgency(asked: Asked) -> tuple[int, int, str]:
    """Sorts the nearest deadline first, then the oldest question."""
    deadline_ms = asked.deadline_ms if asked.deadline_ms is not None else sys.maxsize
    return deadline_ms, asked.since_ms, asked.task
