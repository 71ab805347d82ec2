"""Processes of the demo: started on a leash, killed whole, and none is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ostler.demo.processes import TAG, Child, ProcessError, Processes

WITHIN_S = 10.0


def module(folder: Path, code: str) -> dict[str, str]:
    """A module named `stage_hand` with this code; the environment to find it."""
    (folder / "stage_hand.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


STAYS = "import time\nprint('answers at http://here', flush=True)\ntime.sleep(60)\n"
HAS_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=SESSION, env=ENV)
print('child is', child.pid, flush=True)
time.sleep(60)
"""


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, at most `WITHIN_S`."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    """Whether nothing runs under the id any more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    folder = tmp_path / "logs"
    folder.mkdir()
    made = Processes(folder, f"test-{os.getpid()}-{tmp_path.name}")
    yield made
    made.stop_all()
    assert made.left() == ()


def started(processes: Processes, folder: Path, code: str) -> Child:
    return processes.start("hand", "stage_hand", ("an argument",), module(folder, code))


def test_a_child_is_ready_when_it_says_so(processes: Processes, tmp_path: Path) -> None:
    """What its line holds is read from its log."""
    child = started(processes, tmp_path, STAYS)

    assert child.wait_for_line(r"answers at (\S+)", WITHIN_S) == "http://here"
    assert child.runs


def test_a_child_that_ends_too_early_says_why(processes: Processes, tmp_path: Path) -> None:
    """The end of its log is in the error, with its place."""
    child = started(processes, tmp_path, "import sys\nprint('no such port')\nsys.exit(3)\n")

    with pytest.raises(ProcessError, match=r"hand ended with status 3 before it was ready: no such port") as caught:
        child.wait_for_line("never", WITHIN_S)
    assert caught.value.where == str(child.log_path)


def test_a_silent_child_is_not_waited_for_without_end(processes: Processes, tmp_path: Path) -> None:
    """The bound is told."""
    child = started(processes, tmp_path, "import time\ntime.sleep(60)\n")

    with pytest.raises(ProcessError, match=r"was not ready within 0.2 s"):
        child.wait_for_line("never", 0.2)


def test_none_of_our_own_settings_reach_a_child(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user has set for a hub of their own must not change the demo."""
    monkeypatch.setenv("OSTLER_HUB_PORT", "1")
    child = started(
        processes, tmp_path, "import os\nprint('sees', sorted(k for k in os.environ if 'OSTLER' in k), '.')"
    )

    assert child.wait_for_line(r"sees (.*) \.", WITHIN_S) == "[]"


def test_stopping_ends_everything_and_can_be_repeated(processes: Processes, tmp_path: Path) -> None:
    """Politely, and without waiting for what was asked."""
    child = started(processes, tmp_path, STAYS)
    child.wait_for_line("(answers)", WITHIN_S)

    processes.stop_all()
    processes.stop_all()

    assert is_gone(child.pid)
    assert processes.left() == ()


def test_a_deaf_child_is_stopped_by_force(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ignores the polite signal is killed after the grace."""
    monkeypatch.setattr("ostler.demo.processes.STOP_GRACE_S", 0.2)
    child = started(processes, tmp_path, "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS)
    child.wait_for_line("(answers)", WITHIN_S)

    processes.stop_all()

    assert until(lambda: is_gone(child.pid))


@pytest.mark.parametrize("session", ["False", "True"])
def test_a_power_cut_takes_the_whole_machine(processes: Processes, tmp_path: Path, session: str) -> None:
    """SIGKILL reaches the children of a child too, in a session of their own as well: a worker's companion says nothing
    of its end. Afterwards it can be started again under the same name.
    """
    child = started(processes, tmp_path, HAS_A_CHILD.replace("SESSION", session).replace("ENV", "None"))
    grandchild = int(child.wait_for_line(r"child is (\d+)", WITHIN_S))

    processes.kill(child)

    assert is_gone(child.pid)
    assert until(lambda: is_gone(grandchild))
    again = started(processes, tmp_path, STAYS)
    assert again.wait_for_line("(answers)", WITHIN_S)
    assert "child is" in (tmp_path / "logs" / "hand.before.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("env", ["None", "{}"])
def test_what_slips_away_is_found_and_told(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: str
) -> None:
    """A process in another session is found by the tag, and without the tag by its descent; it is killed and told."""
    monkeypatch.setattr("ostler.demo.processes.LEFT_GRACE_S", 0.1)
    child = started(processes, tmp_path, HAS_A_CHILD.replace("SESSION", "True").replace("ENV", env))
    escaped = int(child.wait_for_line(r"child is (\d+)", WITHIN_S))

    processes.stop_all()
    told = processes.left()

    assert [f"process {escaped}" in text for text in told] == [True]
    assert until(lambda: is_gone(escaped))


def test_a_child_that_ended_by_itself_is_noticed(processes: Processes, tmp_path: Path) -> None:
    """Nobody waits for a hub that has crashed."""
    child = started(processes, tmp_path, "print('I cannot go on')\n")
    assert until(lambda: not child.runs)

    with pytest.raises(ProcessError, match="ended by itself: I cannot go on"):
        processes.check()
    processes.forget(child)
    processes.check()


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    """After `kill -9` of the parent, which can run no code of its own, the leash ends the child."""
    env = module(tmp_path, STAYS)
    parent_code = f"""
import time
from pathlib import Path
from ostler.demo.processes import Processes
child = Processes(Path({str(tmp_path)!r}), 'leash').start('hand', 'stage_hand', (), {env!r})
child.wait_for_line('(answers)', 10)
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.Process(pid).environ()[TAG] == "leash"
        parent.send_signal(signal.SIGKILL)

    assert until(lambda: is_gone(pid))
