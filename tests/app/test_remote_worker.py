"""`ostler worker`: what somebody who started it on another machine is told."""

import asyncio
from pathlib import Path

import pytest
import structlog

from ostler.app import logs, remote_worker
from ostler.app.options import WorkerOptions
from ostler.app.remote_worker import serve_worker


async def test_a_hub_that_is_not_there_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and whoever started the worker sees what for; not again with each try."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(logs, "set_up", lambda level: None)
    stop, tries = asyncio.Event(), []

    def next_s(_self: object) -> float:
        tries.append(1)
        if len(tries) == 4:
            stop.set()
        return 0.001

    monkeypatch.setattr("ostler.workers.daemon.Backoff.next_s", next_s)
    monkeypatch.setattr(remote_worker, "stop_requested", lambda: stop)

    with structlog.testing.capture_logs() as told:
        await asyncio.wait_for(serve_worker(WorkerOptions(hub="http://127.0.0.1:9", token="t", name="box")), 20)

    (line,) = told
    refused = "http://127.0.0.1:9: no answer from the hub: Connection refused (is it running there?)"
    assert line["event"] == f"cannot join the hub yet: {refused}"


def test_what_happens_next_is_told_again() -> None:
    """Joined, lost, and in vain once more."""
    notes = remote_worker._Notes()

    with structlog.testing.capture_logs() as told:
        for text in ("cannot join", "cannot join", "joined as s-1", "cannot join", "cannot join"):
            notes(text)

    assert [line["event"] for line in told] == ["cannot join", "joined as s-1", "cannot join"]
