"""`ostler answer`: what asks is listed, an answer is handed on."""

import json

import pytest

from ostler.domain.errors import ConflictError, ExitCode
from ostler.domain.tasks import Task
from ostler.hub.people_views import QuestionList
from tests.cli.conftest import Ostler
from tests.web import samples
from tests.web.recording_desks import RecordingPeople
from tests.web.recording_hub import ServedHub


def test_an_answer_is_handed_to_the_task(ostler: Ostler, served: ServedHub) -> None:
    """Its words as one text; the state that it has then is printed."""
    result = ostler("answer", "t-one", "the", "green one")

    assert (result.code, result.out) == (ExitCode.OK, "t-one  queued\n")
    assert served.asked("answer") == [("t-one", "the green one")]
    assert json.loads(ostler("answer", "t-one", "yes", "--json").out)["id"] == "t-one"


def test_another_answer_than_the_choices_is_said_to_be_meant(ostler: Ostler, served: ServedHub) -> None:
    """Otherwise the hub would take it for a slip."""
    assert ostler("answer", "t-one", "--other", "none of them").code == ExitCode.OK
    assert served.asked("answer") == [("t-one", "none of them", "other")]


def test_without_a_task_it_lists_what_asks(ostler: Ostler, served: ServedHub) -> None:
    """Each with who is asked, what can be answered, until when, and what is taken else."""
    result = ostler("answer")

    assert served.asked("questions") == [(None,)]
    header, first, second = result.out.splitlines()
    assert header.lower().split() == ["task", "since", "for", "what", "asked", "choices", "answer"]
    assert first.split(maxsplit=1)[0] == "t-asks"
    for words in ("1 min", "ada", "question", "Which colour?", "red | green", "within 1 h, else 'red'"):
        assert words in first
    assert [words in second for words in ("t-key", "2 h", "auth", "the key is refused")] == [True] * 4


def test_the_list_is_data_too(ostler: Ostler, served: ServedHub) -> None:
    """With the instants as they are stored."""
    rows = json.loads(ostler("answer", "--owner", "ada", "--json").out)["questions"]

    assert served.asked("questions") == [("ada",)]
    assert (rows[0]["choices"], rows[0]["deadline_ms"]) == (["red", "green"], samples.NOW_MS + 3_600_000)


def test_nothing_asks(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time."""

    async def questions(_desk: RecordingPeople, owner: str | None = None) -> QuestionList:
        del owner
        return QuestionList(questions=(), now_ms=samples.NOW_MS)

    monkeypatch.setattr(RecordingPeople, "questions", questions)
    assert ostler("answer").out == "nothing needs a person\n"
    assert ostler("answer", "--owner", "ada").out == "nothing needs ada\n"


def test_an_answer_needs_no_owner(ostler: Ostler, served: ServedHub) -> None:
    """Anybody may answer; an option that would do nothing is refused."""
    result = ostler("answer", "t-one", "yes", "--owner", "ada")

    assert result.code == ExitCode.USAGE
    assert "an owner is only for the list" in result.err
    assert served.asked("answer") == []


def test_an_answer_needs_words(ostler: Ostler, served: ServedHub) -> None:
    """Bad input, exit code 2."""
    result = ostler("answer", "t-one")

    assert result.code == ExitCode.USAGE
    assert "no answer is given" in result.err
    assert served.asked("answer") == []


def test_a_task_that_asks_nobody_refuses(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, in the words of the hub."""

    async def refuse(_desk: RecordingPeople, task_id: str, text: str, *, other: bool = False) -> Task:
        raise ConflictError(f"task {task_id} is running", remedy="only tasks that need a person take an answer")

    monkeypatch.setattr(RecordingPeople, "answer", refuse)
    result = ostler("answer", "t-one", "green")

    assert result.code == ExitCode.REFUSED
    assert "task t-one is running (only tasks that need a person take an answer)" in result.err
