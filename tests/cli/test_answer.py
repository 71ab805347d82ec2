"""`ostler answer`: what asks is listed, an answer is handed on."""

import json

import msgspec
import pytest

from ostler.domain.errors import ConflictError, ExitCode
from ostler.domain.ports import TaskQuery
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Task
from ostler.hub.views import TaskList
from tests.cli.conftest import Ostler
from tests.web import samples
from tests.web.recording_desks import RecordingPeople
from tests.web.recording_hub import RecordingHub, ServedHub


def test_an_answer_is_handed_to_the_task(ostler: Ostler, served: ServedHub) -> None:
    """Its words as one text; the state that it has then is printed."""
    result = ostler("answer", "t-one", "the", "green one")

    assert (result.code, result.out) == (ExitCode.OK, "t-one  queued\n")
    assert served.asked("answer") == [("t-one", "the green one")]
    assert json.loads(ostler("answer", "t-one", "yes", "--json").out)["id"] == "t-one"


def test_without_a_task_it_lists_what_asks(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what it asks, and since when."""
    failure = Failure(kind=FailureClass.QUESTION, message="Which one? [red | green]", at_ms=1)
    row = msgspec.structs.replace(samples.task("t-asks", TaskState.NEEDS_HUMAN), failure=failure)
    asked: list[TaskQuery] = []

    async def tasks(_hub: RecordingHub, query: TaskQuery) -> TaskList:
        asked.append(query)
        return TaskList(tasks=(row,), now_ms=row.updated_ms + 60_000)

    monkeypatch.setattr(RecordingHub, "tasks", tasks)
    result = ostler("answer")

    assert [query.states for query in asked] == [(TaskState.NEEDS_HUMAN,)]
    assert result.out.splitlines()[1].split(maxsplit=1)[0] == "t-asks"
    assert "question" in result.out
    assert "Which one? [red | green]" in result.out


def test_nothing_asks(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time."""

    async def tasks(_hub: RecordingHub, query: TaskQuery) -> TaskList:
        del query
        return TaskList(tasks=(), now_ms=samples.NOW_MS)

    monkeypatch.setattr(RecordingHub, "tasks", tasks)
    assert ostler("answer").out == "nothing needs a person\n"


def test_an_answer_needs_words(ostler: Ostler, served: ServedHub) -> None:
    """Bad input, exit code 2."""
    result = ostler("answer", "t-one")

    assert result.code == ExitCode.USAGE
    assert "no answer is given" in result.err
    assert served.asked("answer") == []


def test_a_task_that_asks_nobody_refuses(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, in the words of the hub."""

    async def refuse(_desk: RecordingPeople, task_id: str, text: str) -> Task:
        raise ConflictError(f"task {task_id} is running", remedy="only tasks that need a person take an answer")

    monkeypatch.setattr(RecordingPeople, "answer", refuse)
    result = ostler("answer", "t-one", "green")

    assert result.code == ExitCode.REFUSED
    assert "task t-one is running (only tasks that need a person take an answer)" in result.err
