"""The pulse as a process: the engine for those who keep no hub running, safe beside one that does."""

import json
import subprocess
import sys
import time
from pathlib import Path

from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import QUICK_PROFILE, HubProcess, Process, until


def held(task_id: str, *argv: str) -> TaskSpec:
    """A task that waits for its batch."""
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=argv, held=True)


def ostler(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb as a person types it, over the folder's own hub."""
    return subprocess.run(
        [sys.executable, "-m", "ostler.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "OSTLER_HUB_DATA_DIR": str(folder / "data")},
    )


def test_pulses_finish_a_batch_without_a_hub(tmp_path: Path) -> None:
    """One is the engine until the wave is over; another that comes meanwhile asks it and ends at once; a third finds
    nothing to do. Memory is looked at when the wave is over, and a limit of one megabyte is passed.
    """
    with HubProcess(tmp_path, "--no-worker") as hub:
        hub.client.submit([held("a", "sh", "-c", "sleep 2; echo done"), held("b", "echo", "b")])
        hub.client.make_batch("nightly", ["a", "b"], 1)
        assert ostler(tmp_path, "mem-check").returncode == 0
        assert ostler(tmp_path, "why-idle").stdout.startswith("2 tasks wait: no worker can take it")
        assert hub.stop() == 0
    assert ostler(tmp_path, "mem-check").returncode == 3
    env = {"OSTLER_HUB_DATA_DIR": str(tmp_path / "data"), "OSTLER_SELF_MEM_LIMIT": "1"}
    with Process(tmp_path, "pulse", "--batch", "nightly", "--json", env=env) as engine:
        until((tmp_path / "data" / "hub.json").exists, "the pulse serves")
        beside = ostler(tmp_path, "pulse", "--json")
        assert beside.returncode == 0, beside.stderr
        assert [run["task_id"] for run in json.loads(beside.stdout)["running"]] in (["a"], [])
        assert engine.popen.wait(40) == 0, engine.log.read_text(encoding="utf-8")
        lines = engine.log.read_text(encoding="utf-8").splitlines()
        said = json.loads(next(line for line in lines if line.startswith("{")))
    assert set(said["ended"]) == {"a", "b"}
    assert said["is_over"]
    begun = time.monotonic()
    third = ostler(tmp_path, "pulse")
    assert third.returncode == 0, third.stderr
    assert "nothing is open" in third.stdout
    assert time.monotonic() - begun < 15
    assert "nightly" in ostler(tmp_path, "respawn-history").stdout
    (tmp_path / "ostler.yaml").write_text(QUICK_PROFILE, encoding="utf-8")
    with HubProcess(tmp_path) as hub:
        assert {hub.client.task(name).task.state for name in "ab"} == {TaskState.SUCCEEDED}
        names = [event.name for event in hub.client.events(0, 500).events]
        assert "hub.respawn" in names
        assert hub.stop() == 0


def test_a_hub_that_has_grown_ends_after_its_wave(tmp_path: Path) -> None:
    """Not before: what runs is finished; it ends in good order, with a line in the history."""
    with HubProcess(tmp_path, "--respawn-above", "1") as hub:
        hub.client.submit([TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("sleep", "2"))])
        until(lambda: hub.client.task("a").task.state is TaskState.RUNNING, "it runs")
        assert hub.popen.poll() is None
        assert hub.popen.wait(20) == 0
    (line,) = (tmp_path / "data" / "respawn-history.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["ended"] == 1
