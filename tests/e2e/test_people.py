"""A question of a worker over real HTTP: listed, answered with a choice, and durable through a kill of the hub."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import QUICK_PROFILE, HubProcess, until

PROFILE = QUICK_PROFILE.replace("scheduler:\n", "scheduler:\n  owner: ada\n")


def call(hub: HubProcess, path: str, body: object = None, *, token: str = "") -> Any:  # noqa: ANN401 - JSON of any form
    """One request as any program makes it."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    raw = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{hub.url}{path}", raw, headers)  # noqa: S310 - an address of our own
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.load(answer)


def ask(hub: HubProcess, *names: str, **fields: object) -> None:
    """Tasks whose worker could not decide, each with the same question."""
    token = hub.client.make_token(f"scripted-{names[0]}", "worker").token
    specs = [{"id": name, "kind": "command", "argv": ["true"], "requires": ["scripted"], **fields} for name in names]
    call(hub, "/hub/tasks", {"tasks": specs})
    offer = {"name": "scripted", "host": "far", "slots": {"command": 9}, "capabilities": ["scripted"]}
    session = call(hub, "/hub/workers/join", offer, token=token)["id"]
    handed = call(hub, f"/hub/workers/{session}/poll", {"wait_ms": 5_000}, token=token)["assignments"]
    assert {one["task_id"] for one in handed} == set(names)
    question = {"choices": ["left", "right"], "default": "left"}
    failure = {"kind": "question", "message": "Which way?", "at_ms": 1, "question": question}
    ends = [
        {"type": "finished", "task_id": name, "generation": 1, "at_ms": 1, "ok": False, "failure": failure}
        for name in names
    ]
    call(hub, f"/hub/workers/{session}/reports", ends, token=token)
    call(hub, f"/hub/workers/{session}/leave", {}, token=token)


def ostler(hub: HubProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line against the hub."""
    command = [sys.executable, "-m", "ostler.cli.main", *words, "--hub", hub.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_a_question_is_listed_answered_and_survives_its_hub(tmp_path: Path) -> None:
    """Killed with -9 and started anew, the hub still asks, of the same person and until the same instant. A choice is
    taken, by the command line and the API, and what is none of them is refused with the nearest. The default of the one
    that nobody answers is taken when its time is over, though that passed while no hub ran.
    """
    with HubProcess(tmp_path, profile=PROFILE) as hub:
        ask(hub, "by-hand", "by-api", answer_within_ms=3_600_000)
        ask(hub, "left-alone", answer_within_ms=1_000)
        before = {one["task"]: one for one in call(hub, "/hub/questions?owner=ada")["questions"]}
        hub.kill()
    assert {one["owner"] for one in before.values()} == {"ada"}
    assert before["by-hand"]["choices"] == ["left", "right"]
    assert before["left-alone"]["deadline_ms"] < before["by-hand"]["deadline_ms"]

    with HubProcess(tmp_path, profile=PROFILE.replace("owner: ada", "owner: grace")) as hub:
        until(lambda: len(hub.client.task("left-alone").task.answers) == 1, "the default is taken")
        (taken,) = hub.client.task("left-alone").task.answers
        assert (taken.text, taken.by_default) == ("left", True)
        assert taken.at_ms >= before["left-alone"]["deadline_ms"]
        after = {one["task"]: one for one in call(hub, "/hub/questions")["questions"]}
        assert after == {name: before[name] for name in ("by-hand", "by-api")}

        listed = ostler(hub, "answer", "--owner", "ada").stdout
        assert "left | right" in listed
        assert "else 'left'" in listed
        wrong = ostler(hub, "answer", "by-hand", "rihgt")
        assert (wrong.returncode, "did you mean 'right'?" in wrong.stderr) == (2, True)
        assert ostler(hub, "answer", "by-hand", "Right").returncode == 0
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(hub, "/hub/tasks/by-api/answer", {"text": "rihgt"})
        with refused.value as answer:
            assert answer.code == 400
        call(hub, "/hub/tasks/by-api/answer", {"text": "back", "other": True})

        assert [one.text for one in hub.client.task("by-hand").task.answers] == ["right"]
        assert [one.text for one in hub.client.task("by-api").task.answers] == ["back"]
        assert call(hub, "/hub/questions")["questions"] == []
