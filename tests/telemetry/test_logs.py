"""Log lines: JSON for collectors, text for people, every event where that is asked for."""

import json
from collections.abc import Iterator

import pytest
import structlog

from ostler.app import logs
from ostler.domain.event import Event
from ostler.telemetry.event_log import EventLog


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OSTLER_LOG", raising=False)
    yield
    structlog.reset_defaults()


def test_as_json_each_line_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With level, instant in UTC and all fields; whatever is in them stays on the line."""
    logs.set_up("info", json=True)
    structlog.get_logger("x").warning("two\nlines", task="t-1", odd={1}, size=3)

    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["task"], said["size"]) == ("two\nlines", "warning", "t-1", 3)
    assert said["timestamp"].endswith("Z")


def test_the_environment_says_json_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For one process, without a profile."""
    monkeypatch.setenv("OSTLER_LOG", "json")
    logs.set_up("info")
    structlog.get_logger("x").info("here")

    assert json.loads(capsys.readouterr().err)["event"] == "here"


def test_for_people_it_is_text_and_what_is_below_the_level_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """The default."""
    logs.set_up("warning")
    log = structlog.get_logger("x")
    log.info("quiet")
    log.warning("loud", task="t-1")

    err = capsys.readouterr().err
    assert "loud" in err
    assert "task=t-1" in err
    assert "quiet" not in err


def test_setting_up_again_is_obeyed_by_loggers_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The profile is read after the first line was written."""
    logs.set_up("info")
    log = structlog.get_logger("x")
    log.info("text")
    logs.set_up("info", json=True)
    log.info("json")

    first, second = capsys.readouterr().err.splitlines()
    assert "text" in first
    assert json.loads(second)["event"] == "json"


def test_an_event_is_a_line_with_all_it_carries(capsys: pytest.CaptureFixture[str]) -> None:
    """What a person must see is a warning; fields that the log itself uses get another name."""
    logs.set_up("info", json=True)
    EventLog().write(
        [
            Event(
                name="scheduler.route",
                at_ms=5,
                task_id="t-1",
                measurements={"candidate_count": 2},
                metadata={"selected_model": "qwen", "fallback_reason": None},
            ),
            Event(name="alert.budget", at_ms=6, metadata={"level": "degraded"}),
            Event(name="worker.lost", at_ms=7),
            Event(name="task.failed", at_ms=8, task_id="t-2", metadata={"failure": "command", "message": "last words"}),
        ]
    )

    route, budget, lost, failed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert {name: route[name] for name in ("event", "task", "candidate_count", "selected_model", "at_ms", "level")} == {
        "event": "scheduler.route",
        "task": "t-1",
        "candidate_count": 2,
        "selected_model": "qwen",
        "at_ms": 5,
        "level": "info",
    }
    assert "fallback_reason" not in route
    assert (budget["level"], budget["level_"]) == ("info", "degraded")
    assert lost["level"] == "warning"
    assert (failed["failure"], failed["level"]) == ("command", "warning")
    assert "last words" not in str(failed)
