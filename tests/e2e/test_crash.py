"""Kill -9 at any moment: no acknowledged task is lost, none runs twice at once, a dead worker's work runs elsewhere."""

import random
import threading
import time
from pathlib import Path

from ostler.domain.errors import OstlerError
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import HubProcess, Process, until

# Says OVERLAP when an earlier run of the same task is still alive, then works for a while.
RUN_S = 3.0
"""How long the command of a worker runs that is killed: it would outlast the lease."""
RUN = """
id=$1; dir=$2
old=$(cat "$dir/$id.pid" 2>/dev/null)
if [ -n "$old" ] && kill -0 "$old" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$old/status" 2>/dev/null; then
  cat "/proc/$old/status" >> "$dir/OVERLAP"
fi
echo $$ > "$dir/$id.pid"
echo "$id" >> "$dir/started"
sleep $3
echo "$id" >> "$dir/done"
"""


def job(task_id: str, folder: Path, seconds: float) -> TaskSpec:
    """A command that leaves traces."""
    argv = ("sh", "-c", RUN, "run", task_id, str(folder), str(seconds))
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=argv)


def test_a_killed_hub_loses_nothing_and_runs_nothing_twice_at_once(tmp_path: Path) -> None:
    """Six kills at random moments while tasks are handed in; in the end every acknowledged one has succeeded."""
    traces = tmp_path / "traces"
    traces.mkdir()
    rng = random.Random(7)
    acknowledged: list[str] = []
    count = 0
    for _ in range(6):
        with HubProcess(tmp_path) as hub:
            # By count, not by the clock: on a busy computer as many are handed in, only later.
            enough = len(acknowledged) + rng.randint(4, 15)
            killer = threading.Timer(rng.uniform(0.0, 0.1), hub.popen.kill)
            while hub.popen.poll() is None:
                if len(acknowledged) == enough:
                    killer.start()
                count += 1
                spec = job(f"t{count}", traces, 0.15)
                try:
                    hub.client.submit([spec])
                except OstlerError:
                    break
                acknowledged.append(spec.id)
                time.sleep(0.02)
            hub.popen.wait(10)
            killer.cancel()
    with HubProcess(tmp_path) as hub:

        def all_ended() -> bool:
            status = hub.client.status()
            return not any(status.counts.get(state.value, 0) for state in set(TaskState) - FINAL_STATES)

        until(all_ended, "all tasks end", 60)
        states = {task_id: hub.client.task(task_id).task for task_id in acknowledged}
        assert hub.stop() == 0
    assert len(acknowledged) > 24
    assert {task.state for task in states.values()} == {TaskState.SUCCEEDED}, [
        (task.id, task.state, task.failure) for task in states.values() if task.state is not TaskState.SUCCEEDED
    ]
    assert not (traces / "OVERLAP").exists()
    done = set((traces / "done").read_text(encoding="utf-8").split())
    assert set(acknowledged) <= done


def test_the_work_of_a_killed_worker_is_picked_up_by_another(tmp_path: Path) -> None:
    """Its commands die with it, the hub notices within the lease, another worker runs them, none twice at once."""
    traces = tmp_path / "traces"
    traces.mkdir()
    with HubProcess(tmp_path, "--no-worker") as hub:
        token = hub.client.make_token("workers", "worker").token
        env = {"OSTLER_TOKEN": token}

        def worker(name: str) -> Process:
            return Process(
                tmp_path,
                "worker",
                "--hub",
                hub.url,
                "--name",
                name,
                "--slots",
                "command=2",
                "--profile",
                str(tmp_path / "ostler.yaml"),
                env=env,
            )

        with worker("first") as first:
            hub.client.submit([job(f"t{i}", traces, RUN_S) for i in range(2)])
            until((traces / "started").exists, "the first worker starts")
            with worker("second") as second:
                until(lambda: len(hub.client.workers().workers) == 2, "both have joined")
                first.kill()
                killed = time.monotonic()
                until(lambda: hub.client.status().counts.get("succeeded", 0) == 2, "the second one finishes", 30)
                took_s = time.monotonic() - killed
                tasks = [hub.client.task(f"t{i}") for i in range(2)]
                assert second.stop() == 0
        assert hub.stop() == 0
    assert not (traces / "OVERLAP").exists()
    assert {answer.task.worker for answer in tasks} == {"second"}
    assert all(answer.task.attempts_used == 0 for answer in tasks)
    assert took_s < RUN_S + 6, "detection takes the lease (1.5 s here)"


def test_a_second_hub_over_the_same_files_is_refused_with_the_holder(tmp_path: Path) -> None:
    """One process for one file."""
    with HubProcess(tmp_path) as hub:
        with Process(tmp_path, "up", "--data-dir", str(hub.data), "--port", "0") as second:
            assert second.popen.wait(20) == 4
            text = second.log.read_text(encoding="utf-8")
        assert str(hub.popen.pid) in text
        assert "Traceback" not in text
        assert hub.stop() == 0


def test_a_second_worker_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """It would kill the first one's commands as leftovers of its own."""
    with HubProcess(tmp_path, "--no-worker") as hub:
        token = hub.client.make_token("workers", "worker").token
        arguments = ("worker", "--hub", hub.url, "--name", "twin", "--profile", str(tmp_path / "ostler.yaml"))
        with Process(tmp_path, *arguments, env={"OSTLER_TOKEN": token}) as first:
            until(lambda: len(hub.client.workers().workers) == 1, "the first one joins")
            with Process(tmp_path, *arguments, env={"OSTLER_TOKEN": token}) as second:
                assert second.popen.wait(20) == 4
                assert f"pid {first.popen.pid}" in second.log.read_text(encoding="utf-8")
            assert first.stop() == 0
        assert hub.stop() == 0
