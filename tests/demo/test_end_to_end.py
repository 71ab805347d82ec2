"""The demo itself, as a newcomer runs it: real processes, real HTTP, a real `kill -9`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from ostler.app.options import DemoOptions
from ostler.cli.taskfile import load_task_file
from ostler.demo.agent_scene import NONE_HERE, find_agent
from ostler.demo.processes import TAG
from ostler.demo.stage import perform
from ostler.demo.workload import PIPELINE, PYTHON, Wave, Workload
from ostler.domain.errors import ExitCode
from ostler.domain.tasks import TaskKind, TaskSpec

WITHIN_S = 150
COMMAND = [sys.executable, "-m", "ostler.cli.main", "demo"]


def tagged() -> set[int]:
    """All processes of any demo on this machine."""
    found = set()
    for process in psutil.process_iter():
        try:
            if TAG in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one whole run, in fast simulated time."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    before = tagged()
    ran = subprocess.run(
        [*COMMAND, "--json", "--speed", "40", "--data-dir", folder],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tagged() - before == set()
    assert (folder / "profile.yaml").exists()
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_every_task_that_must_succeed_does(report: dict[str, Any]) -> None:
    """Commands, prompts and fourteen agents; the one that fails is optional."""
    totals = report["totals"]

    assert report["ok"]
    assert report["problems"] == report["left_running"] == []
    assert totals["succeeded"] == totals["tasks"] - 1
    assert totals["failed_optional"] == 1
    assert {row["kind"] for row in report["tasks"]} - {"agent"} == {"command", "chat"}
    assert sum(row["id"].startswith("agents.") for row in report["tasks"]) == 14


def test_a_real_agent_works_where_one_is_installed(report: dict[str, Any]) -> None:
    """Verified by a command in its tree; where none is installed the story says so."""
    told = [chapter["text"] for chapter in report["story"]]
    row = next((row for row in report["tasks"] if row["kind"] == "agent"), None)

    if find_agent() is None:
        assert row is None
        assert NONE_HERE in told
        return
    assert row is not None
    assert row["ok"], row
    assert any("a real agent command line, gets a task" in text for text in told)
    assert any("grep has looked at it: verified" in text for text in told)


def test_the_lost_machine_is_made_up_for(report: dict[str, Any]) -> None:
    """What it held is taken back with the reason and runs again; work for its tier falls back to the cloud."""
    taken_back = [row for row in report["retries"] if row["kind"] == "worker_lost"]

    assert "long-command" in {row["task"] for row in taken_back}
    assert all("silent" in row["message"] and not row["counted"] for row in taken_back)
    assert report["fallbacks"]
    for row in report["fallbacks"]:
        assert (row["from_tier"], row["to_tier"]) == ("local_strong", "cloud_small")
        assert "sim-alpha is down" in row["reason"]
        assert row["waited_ms"] >= 2000
    by_id = {row["id"]: row for row in report["tasks"]}
    assert by_id["humaneval-shift"]["fallback"]
    assert by_id["long-command"]["worker"] == "sim-beta"


def test_the_machine_comes_back_into_use(report: dict[str, Any]) -> None:
    """Work that may not leave these machines, or names its model, waited for it and ran there."""
    by_id = {row["id"]: row for row in report["tasks"]}
    alpha = next(row for row in report["hosts"] if row["name"] == "sim-alpha")

    assert by_id["humaneval-secret"]["endpoint"] == "sim-alpha"
    assert alpha["switched_off"] == 1
    assert alpha["loads"] >= 2
    assert alpha["lost_ms"] > 0
    assert any("switched on again" in chapter["text"] for chapter in report["story"])
    assert any("the hub uses sim-alpha again" in chapter["text"] for chapter in report["story"])


def test_local_only_work_never_leaves(report: dict[str, Any]) -> None:
    """Also while its machine was away."""
    local = {row["id"]: row for row in report["tasks"] if "private" in row["id"] or "secret" in row["id"]}

    assert len(local) == 2
    assert {row["cost_class"] for row in local.values()} == {"local"}
    assert {row["fallback"] for row in local.values()} == {None}


def test_an_agent_starts_after_what_it_needs(report: dict[str, Any]) -> None:
    """The order of hand-in is no order of work; each agent runs on the model that its alias means."""
    by_id = {row["id"].removeprefix("agents."): row for row in report["tasks"]}
    agents = load_task_file(str(PIPELINE)).specs

    for agent in agents:
        for need in agent.needs:
            assert by_id[need]["finished_ms"] <= by_id[agent.id]["started_ms"], f"{agent.id} needs {need}"
    models = {agent.model: by_id[agent.id]["model"] for agent in agents}
    assert models == {
        "latest": "qwen2.5-coder:32b-instruct-128k",
        "quality": "qwen2.5-coder:32b-instruct",
        "fast": "qwen2.5-coder:7b-instruct",
    }


def test_a_task_that_cannot_succeed_makes_it_fail(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 1, with the reason in the task's own words; the files are kept to look at."""
    hopeless = "import sys; sys.exit('there is no way')"
    work = Workload(
        waves={
            Wave.FIRST: (
                TaskSpec(id="fine", kind=TaskKind.COMMAND, argv=(PYTHON, "-c", "print('fine')")),
                TaskSpec(id="hopeless", kind=TaskKind.COMMAND, argv=(PYTHON, "-c", hopeless), max_attempts=2),
            )
        }
    )
    before = tagged()

    code = perform(DemoOptions(speed=100.0, data_dir=str(tmp_path / "kept")), work, with_outage=False)

    said = capsys.readouterr().out
    assert code is ExitCode.FAILED
    assert "Not good: 1 of 2 tasks succeeded, 1 failed" in said
    assert "! hopeless is dead_letter: 2 of 2 attempts failed" in said
    assert "there is no way" in said
    assert str(tmp_path / "kept") in said
    assert tagged() == before


def test_an_interrupt_cleans_up(tmp_path: Path) -> None:
    """Ctrl-C half-way: exit code 130, no process and no temporary folder is left."""
    before = tagged()
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "handed in" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=WITHIN_S)

    assert demo.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in errors
    assert tagged() == before
    assert list(tmp_path.iterdir()) == []
