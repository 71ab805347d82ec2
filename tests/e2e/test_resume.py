"""A run whose hub is killed, and that is taken up again: what was done is done once, what failed is tried again."""

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

from ostler.cli.taskfile import parse_task_file
from ostler.domain.errors import OstlerError
from ostler.domain.states import TaskState
from tests.e2e.process import HubProcess, Process, until

# Fails as long as a file `broken` lies beside the traces; hands on what it was handed.
WORK = """
id=$1; dir=$2
echo "$id" >> "$dir/started"
sleep 0.15
if [ "$id" = d ] && [ -e "$dir/broken" ]; then exit 3; fi
echo "$id" >> "$dir/done"
if [ -n "$OSTLER_RESULTS" ]; then cat "$OSTLER_RESULTS"/*; fi
echo "$id"
"""
CHAIN = "abcdefgh"


def pipeline(folder: Path, *, note: str = "") -> Path:
    """A chain of eight commands; the fourth gives up at once."""
    lines = ["limit: 2", "tasks:"]
    for before, name in zip(" " + CHAIN, CHAIN, strict=False):
        task = {"id": name, "command": ["sh", "-c", WORK, "work", name, str(folder)], "max_attempts": 1}
        if before.strip():
            task["needs"] = before
        if note and name == "f":
            task["title"] = note
        lines.append(f"  - {json.dumps(task)}")
    path = folder / "pipeline.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def traces(folder: Path, name: str) -> Counter[str]:
    path = folder / name
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def run(folder: Path, hub: HubProcess, *arguments: str) -> tuple[int, str]:
    """`ostler run` as a user types it; its exit code and what it said."""
    with Process(folder, "run", str(folder / "pipeline.yaml"), "--hub", hub.url, *arguments) as process:
        code = process.popen.wait(60)
        return code, process.log.read_text(encoding="utf-8")


def succeeded(hub: HubProcess) -> set[str]:
    tasks = hub.client.tasks((), "r-1", 100).tasks
    return {task.id.removeprefix("r-1.") for task in tasks if task.state is TaskState.SUCCEEDED}


def test_a_killed_run_is_taken_up_without_doing_anything_twice(tmp_path: Path) -> None:
    """Killed in the middle, broken in the middle, taken up: each task that was finished ran exactly once."""
    pipeline(tmp_path)
    (tmp_path / "broken").touch()
    with HubProcess(tmp_path) as hub:
        assert run(tmp_path, hub, "--run-id", "r-1", "--no-wait")[0] == 0
        until(lambda: traces(tmp_path, "done")["b"] == 1, "the second task is done")
        hub.kill()
    with HubProcess(tmp_path) as hub:
        before = succeeded(hub)
        assert "a" in before
        code, said = run(tmp_path, hub, "--run-id", "r-1")
        assert code == 1, said
        assert "cancelled" in said
        assert succeeded(hub) == set("abc")
        started = traces(tmp_path, "started")

        (tmp_path / "broken").unlink()
        code, said = run(tmp_path, hub, "--resume", "r-1", "--results")
        assert code == 0, said
        assert "8 known already, 3 of them done, 5 tried again" in said
        assert "phase 7" in said
        assert hub.client.task("r-1.h").output is not None
        assert (hub.client.task("r-1.h").output or "").split() == list(CHAIN), "each was handed what came before"
        assert hub.stop() == 0
    again = traces(tmp_path, "started") - started
    assert again == Counter("defgh")
    assert all(started[name] == 1 for name in before), "what was finished when the hub died never ran again"
    assert set(traces(tmp_path, "done")) == set(CHAIN)


def test_a_changed_task_is_refused_by_name(tmp_path: Path) -> None:
    """With the field that differs, and nothing is started."""
    pipeline(tmp_path)
    (tmp_path / "broken").touch()
    with HubProcess(tmp_path) as hub:
        assert run(tmp_path, hub, "--run-id", "r-1")[0] == 1
        started = traces(tmp_path, "started")
        pipeline(tmp_path, note="another title")
        code, said = run(tmp_path, hub, "--resume", "r-1")
        assert (code, "r-1.f (title)" in said) == (4, True), said
        assert hub.stop() == 0
    assert traces(tmp_path, "started") == started


def test_a_hub_killed_while_a_run_is_taken_up_finishes_it_in_the_end(tmp_path: Path) -> None:
    """At random moments of the resume itself: asking once more makes it whole, and no success is lost or repeated."""
    text = pipeline(tmp_path).read_text(encoding="utf-8")
    specs = parse_task_file(text, "pipeline.yaml").for_run("r-1")
    rng = random.Random(11)
    (tmp_path / "broken").touch()
    finished: set[str] = set()
    counts: Counter[str] = Counter()
    for turn in range(4):
        with HubProcess(tmp_path) as hub:
            done = succeeded(hub)
            assert finished <= done, "a success was lost"
            repeated = {name for name in finished if traces(tmp_path, "started")[name] > counts[name]}
            assert not repeated, "finished work ran again"
            finished, counts = done, traces(tmp_path, "started")
            if turn == 2:
                (tmp_path / "broken").unlink()
            killer = threading.Timer(rng.uniform(0.05, 0.8), hub.popen.kill)
            killer.start()
            while hub.popen.poll() is None:
                try:
                    hub.client.submit(specs, resume=True)
                except OstlerError:
                    break
                time.sleep(0.05)
            hub.popen.wait(10)
            killer.cancel()
    with HubProcess(tmp_path) as hub:
        hub.client.submit(specs, resume=True)
        until(lambda: succeeded(hub) == set(CHAIN), "every task of the run succeeds", 60)
        assert all(traces(tmp_path, "started")[name] == counts[name] for name in finished)
        assert hub.stop() == 0
