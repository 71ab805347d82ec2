"""Commands that outlive a worker's daemon: killed with -9 at any step, the next one goes on with the very process, or
it is dead before anybody runs the task again. Never two at once, no process left.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.workers import reaper
from tests.e2e.process import Process, until
from tests.e2e.test_hosts import GRACE_S, Ground, left

SPAM = """
import sys, time
name, folder = sys.argv[1:3]
open(f"{folder}/{name}.pid", "w").write(str(__import__("os").getpid()))
time.sleep(1.0)
print("the first line")
for number in range(400_000):
    print(f"line {number} of very many that nobody reads")
print("the last line")
"""
FORK = """
import os, subprocess, sys, time
name, folder = sys.argv[1:3]
open(f"{folder}/{name}.pid", "w").write(str(os.getpid()))
time.sleep(1.0)
for _ in range(3):
    subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(60)", folder])
print("forked", flush=True)
time.sleep(2.0)
"""
STATE = Path(".local", "state", "ostler", "workers")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One hub for all."""
    made = Ground(tmp_path_factory.mktemp("taken-up"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    """Afterwards: never two at once, no process left, nothing in the book."""
    shared.begin()
    try:
        yield shared
        assert not (shared.traces / "OVERLAP").exists()
        assert list((shared.folder / STATE).glob("*.runs/*/attempt.json")) == []
    finally:
        shared.end()
    until(lambda: left(shared.traces) == [], "no process is left", 10)


def program(ground: Ground, name: str, code: str, worker: str) -> int:
    """Hand in a program of one's own; its process once it runs."""
    argv = (sys.executable, "-c", code, name, str(ground.traces))
    ground.client.submit([TaskSpec(id=name, kind=TaskKind.COMMAND, argv=argv, worker=worker)])
    return ground.pid(name)


def lives(pid: int) -> bool:
    return pid in {proc.pid for proc in reaper.processes()}


def parent_of(pid: int) -> int:
    """Its supervisor."""
    return next(proc.parent for proc in reaper.processes() if proc.pid == pid)


def reaper_of(daemon: Process) -> int:
    """The companion of a daemon."""
    children = [proc.pid for proc in reaper.processes() if proc.parent == daemon.popen.pid]
    return next(pid for pid in children if b"companion.py" in Path(f"/proc/{pid}/cmdline").read_bytes())


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def begun(ground: Ground, name: str, seconds: float) -> tuple[Process, int]:
    """A worker of this name, with a command of this name under way; its process."""
    daemon = ground.worker(name)
    ground.give(name, seconds, worker=name)
    pid = ground.pid(name)
    until(lambda: ground.state(name) is TaskState.RUNNING, "its start is known")
    return daemon, pid


def test_what_ended_while_no_daemon_lived_is_told_by_the_next(ground: Ground) -> None:
    """Exit code and output were kept, and nothing is run again, although two daemons were killed on the way."""
    daemon, pid = begun(ground, "u1", 6.0)
    daemon.kill()
    ground.worker("u1").kill()
    assert lives(pid)
    until(lambda: left(ground.traces) == [], "it ends by itself")
    ground.worker("u1")

    assert ground.succeeds("u1") == 1
    assert ground.runs("u1") == 1
    assert ground.client.task("u1").output == "work of u1\n"


def test_a_daemon_and_its_reaper_killed_together(ground: Ground) -> None:
    """The supervisor of the command is the third who keeps the lease: it goes on, and is taken up."""
    daemon, pid = begun(ground, "u2", 6.0)
    kill(reaper_of(daemon), daemon.popen.pid)
    ground.worker("u2")
    assert lives(pid)

    assert ground.succeeds("u2") == 1
    assert ground.runs("u2") == 1


def test_nobody_comes_back(ground: Ground) -> None:
    """Also without daemon and reaper the command is dead before the hub gives the task to another worker."""
    ground.worker("other", direct=True)
    daemon, pid = begun(ground, "u3", 60.0)
    began = time.monotonic()
    kill(reaper_of(daemon), daemon.popen.pid)
    until(lambda: not lives(pid), "its supervisor ends it", GRACE_S)
    took_s = time.monotonic() - began
    assert ground.events("worker.lost") == [], "before the hub gives it up"
    ground.worker("u3")
    until(lambda: ground.runs("u3") == 2, "it is run again")
    ground.client.act("u3", "cancel")

    assert 0.3 * GRACE_S < took_s < GRACE_S
    assert ground.client.task("u3").attempts[0].failure.kind is FailureClass.WORKER_LOST  # type: ignore[union-attr]
    until(lambda: ground.state("u3") is TaskState.CANCELLED, "it is cancelled")


def test_a_supervisor_is_killed(ground: Ground) -> None:
    """Nobody could tell how the command ends, so it is ended and run again, which is not its fault."""
    _, pid = begun(ground, "u4", 2.0)
    kill(parent_of(pid))

    assert ground.succeeds("u4") == 2
    assert not lives(pid)
    answer = ground.client.task("u4")
    assert answer.attempts[0].failure is not None
    assert (answer.attempts[0].failure.kind, answer.task.attempts_used) == (FailureClass.WORKER_LOST, 0)


def test_a_supervisor_and_its_daemon_are_killed(ground: Ground) -> None:
    """What cannot be taken up is dead before the next daemon joins."""
    daemon, pid = begun(ground, "u5", 3.0)
    kill(parent_of(pid), daemon.popen.pid)
    ground.worker("u5")

    assert not lives(pid)
    assert ground.succeeds("u5") == 2


def test_a_command_is_killed_while_no_daemon_lives(ground: Ground) -> None:
    """Its end was seen all the same: the attempt failed of the signal, and counts."""
    daemon, pid = begun(ground, "u6", 60.0)
    daemon.kill()
    kill(pid)
    (ground.traces / "u6.pid").unlink()
    ground.worker("u6")
    until(lambda: ground.runs("u6") == 2, "the next attempt")
    ground.client.act("u6", "cancel")

    failure = ground.client.task("u6").attempts[0].failure
    assert failure is not None
    assert "SIGKILL" in failure.message
    until(lambda: ground.state("u6") is TaskState.CANCELLED, "it is cancelled")


def test_a_task_is_cancelled_while_no_daemon_lives(ground: Ground) -> None:
    """The next daemon is told again, and ends it."""
    daemon, pid = begun(ground, "u7", 60.0)
    daemon.kill()
    ground.client.act("u7", "cancel")
    ground.worker("u7")
    until(lambda: ground.state("u7") is TaskState.CANCELLED, "it is cancelled")

    assert not lives(pid)


def test_output_without_end_while_no_daemon_lives(ground: Ground) -> None:
    """The disk holds the beginning and the newest pieces only; beginning, end and length of the result are right."""
    daemon = ground.worker("u8")
    program(ground, "u8", SPAM, "u8")
    daemon.kill()
    until(lambda: left(ground.traces) == [], "it has printed all")
    pieces = [path for path in (ground.folder / STATE).glob("*.runs/*/*/output.*") if path.stat().st_size > 1_000]
    ground.worker("u8")

    assert ground.succeeds("u8") == 1
    assert len(pieces) == 3
    output = ground.client.task("u8").output or ""
    assert output.startswith("the first line\nline 0 of")
    assert output.endswith("line 399999 of very many that nobody reads\nthe last line\n")
    whole = sum(len(f"line {number} of very many that nobody reads\n") for number in range(400_000))
    cut = int(output.split("[... ")[1].split(" bytes cut")[0])
    kept = len(output) - len(f"\n[... {cut} bytes cut ...]\n")
    assert cut + kept == whole + len("the first line\nthe last line\n")


def test_a_command_that_forks_while_no_daemon_lives(ground: Ground) -> None:
    """What it left in other sessions ends with it."""
    daemon = ground.worker("u9")
    program(ground, "u9", FORK, "u9")
    daemon.kill()
    until(lambda: len(left(ground.traces)) >= 4, "it has forked")
    ground.worker("u9")

    assert ground.succeeds("u9") == 1
    until(lambda: left(ground.traces) == [], "nothing is left")


def test_a_check_goes_on_as_well(ground: Ground) -> None:
    """Killed while the work is put to the proof: neither the work nor the check is begun a second time."""
    daemon = ground.worker("u10")
    check = ("sh", "-c", f'echo x >> {ground.traces}/checks; sleep 3; grep "work of u10" "$OSTLER_OUTPUT"')
    ground.give("u10", 0.1, worker="u10", verify=(check,))  # type: ignore[arg-type]
    until((ground.traces / "checks").exists, "the check runs")
    daemon.kill()
    ground.worker("u10")

    assert ground.succeeds("u10") == 1
    assert ground.runs("u10") == 1
    assert (ground.traces / "checks").read_text() == "x\n"
    assert ground.client.task("u10").task.outcome == "verified"
