"""Tests of process groups: real processes that leave nothing behind, however they end."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ostler.domain.states import FailureClass
from ostler.workers.guard import WORKER_TAG, GuardLostError, NoGuard
from ostler.workers.processes import ProcessGroup, StartError
from ostler.workers.rules import Launch
from ostler.workers.run import StopSignal
from tests.workers.tagged import ESCAPE, PYTHON, Tagged, tagged, until

__all__ = ["tagged"]

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
# Plain writes, because the handler may interrupt the main program in the middle of a print.
POLITE = (
    "import os,signal,sys,time; signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), sys.exit(7)));"
    "os.write(1, b'up\\n'); time.sleep(60)"
)


class RecordingGuard(NoGuard):
    def __init__(self, *, is_lost: bool = False, is_over: bool = False) -> None:
        self.is_lost = is_lost
        self.is_over = is_over
        self.seen: list[tuple[str, int, bool]] = []

    def check(self) -> None:
        if self.is_over:
            raise GuardLostError

    def add(self, group: int) -> None:
        self.seen.append(("add", group, True))
        if self.is_lost:
            raise GuardLostError

    def remove(self, group: int) -> None:
        self.seen.append(("remove", group, Path(f"/proc/{group}").exists()))


class Started:
    """A group under test with all that it put out."""

    def __init__(self, tagged: Tagged, *argv: str, guard: NoGuard | None = None, cwd: str = "/") -> None:
        self.output = bytearray()
        self.stop = StopSignal()
        tags = {WORKER_TAG: tagged.identity}
        env = {"PATH": os.environ["PATH"], **tags}
        launch = Launch(argv=argv, program=argv[0], cwd=cwd, env=env)
        self.group = ProcessGroup(launch, tags=tags, guard=guard or NoGuard(), on_output=self.output.extend)

    async def end(self, grace_s: float = 5.0) -> tuple[int | None, bool]:
        try:
            return await self.group.until_end(self.stop, grace_s)
        finally:
            self.group.close()

    async def says(self, word: bytes) -> None:
        await until(lambda: word in self.output)


def python(code: str) -> tuple[str, ...]:
    return (PYTHON, "-I", "-S", "-c", code)


async def test_output_and_exit_code_are_collected(tagged: Tagged) -> None:
    """Both streams come in the order in which they were written, with the exit code."""
    started = Started(tagged, "sh", "-c", "echo one; echo two >&2; echo three; exit 3")

    assert await started.end() == (3, False)
    assert started.output == b"one\ntwo\nthree\n"


async def test_no_command_is_begun_when_the_right_to_run_is_over(
    tagged: Tagged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a short one; nothing is left of the try."""
    guard = RecordingGuard(is_over=True)
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}")

    with pytest.raises(StartError, match="lost its right to run before") as caught:
        Started(tagged, "touch", f"{tmp_path}/begun", guard=guard)

    assert caught.value.kind is FailureClass.WORKER_LOST
    await asyncio.sleep(0.1)
    assert guard.seen == []
    assert os.listdir(tmp_path) == []  # noqa: PTH208 -- in async code


async def test_there_is_no_input(tagged: Tagged) -> None:
    """A command that reads gets the end of the input at once instead of waiting for ever."""
    assert await Started(tagged, "cat").end() == (0, False)


async def test_a_command_leads_its_own_session(tagged: Tagged) -> None:
    """It is apart from the daemon's group, so that a signal to one never reaches the other."""
    started = Started(tagged, *python("import os; print(os.getsid(0) == os.getpgrp() == os.getpid())"))

    await started.end()

    assert started.output == b"True\n"


async def test_a_signal_is_told_from_an_exit(tagged: Tagged) -> None:
    """A command that was killed by somebody else is reported with the signal, not as stopped."""
    assert await Started(tagged, "sh", "-c", "kill -9 $$").end() == (-signal.SIGKILL, False)


async def test_large_output_does_not_block(tagged: Tagged) -> None:
    """Output far beyond a pipe's size is read to its end."""
    started = Started(tagged, *python("import sys; sys.stdout.buffer.write(b'x' * 3_000_000)"))

    assert await started.end() == (0, False)
    assert len(started.output) == 3_000_000


async def test_background_children_end_with_the_command(tagged: Tagged) -> None:
    """What a command left in the background, in its group or out of it, is killed when it has exited."""
    # A quoted program cannot hold the child's output pipe back: the command ends although its children live.
    started = Started(tagged, "sh", "-c", f'sleep 60 & {PYTHON} -I -S -c "{ESCAPE}" & sleep 0.3; echo done')

    assert await started.end() == (0, False)
    assert b"done" in started.output
    assert tagged.count() == 0


async def test_a_polite_command_may_say_goodbye(tagged: Tagged) -> None:
    """A stop is TERM first: the command can end by itself within the grace, and what it still says is kept."""
    started = Started(tagged, *python(POLITE))
    await started.says(b"up")

    started.stop.stop(FailureClass.CANCELLED, "enough")

    assert await started.end() == (7, True)
    assert started.output == b"up\nbye\n"


async def test_a_whole_group_gets_the_grace(tagged: Tagged) -> None:
    """A child that takes its time may say goodbye too, when the leader dies of TERM at once."""
    slow = POLITE.replace("(os.write(1, b'bye", "(time.sleep(0.3), os.write(1, b'bye")
    started = Started(tagged, "sh", "-c", f'{PYTHON} -I -S -c "{slow}" & wait')
    await started.says(b"up")

    started.stop.stop(FailureClass.CANCELLED, "enough")

    assert await started.end() == (-signal.SIGTERM, True)
    assert started.output == b"up\nbye\n"


async def test_a_command_that_ignores_term_is_killed_after_the_grace(tagged: Tagged) -> None:
    """KILL follows when the grace is over, not earlier."""
    started = Started(tagged, *python(STUBBORN))
    await started.says(b"up")
    begun = time.monotonic()

    started.stop.stop(FailureClass.CANCELLED, "enough")

    assert await started.end(grace_s=0.3) == (-signal.SIGKILL, True)
    assert time.monotonic() - begun >= 0.3


async def test_an_urgent_stop_ends_the_grace(tagged: Tagged) -> None:
    """When another worker may start the same attempt soon, nobody waits for a goodbye."""
    started = Started(tagged, *python(STUBBORN))
    await started.says(b"up")
    ending = asyncio.create_task(started.end(grace_s=60))
    started.stop.stop(FailureClass.CANCELLED, "enough")
    await asyncio.sleep(0)

    started.stop.stop(FailureClass.WORKER_LOST, "lost", now=True)

    assert await asyncio.wait_for(ending, 5) == (-signal.SIGKILL, True)
    assert started.stop.kind is FailureClass.CANCELLED


async def test_a_stopped_process_is_ended_too(tagged: Tagged) -> None:
    """A command that somebody froze does not survive its stop."""
    started = Started(tagged, *python(POLITE))
    await started.says(b"up")
    os.kill(await started.group.group() or 0, signal.SIGSTOP)

    started.stop.stop(FailureClass.CANCELLED, "enough")

    assert await started.end() == (7, True)


async def test_escapees_do_not_survive_a_stop(tagged: Tagged) -> None:
    """A tree with members in other sessions is killed whole."""
    started = Started(tagged, "sh", "-c", f'for i in 1 2 3; do {PYTHON} -I -S -c "{ESCAPE}" & done; wait')
    await tagged.until_spread(5, 5)

    started.stop.stop(FailureClass.CANCELLED, "enough", now=True)
    await started.end()

    assert tagged.count() == 0


async def test_a_cancelled_caller_leaves_nothing(tagged: Tagged) -> None:
    """When the waiting task itself is cancelled, the processes are dead when it has ended."""
    started = Started(tagged, "sh", "-c", f'{PYTHON} -I -S -c "{ESCAPE}" & wait')
    await started.says(b"escaped")
    ending = asyncio.create_task(started.end())
    await asyncio.sleep(0)

    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending

    assert tagged.count() == 0


async def test_a_caller_cancelled_while_it_cleans_up_leaves_nothing(tagged: Tagged) -> None:
    """A cancellation in the middle of a stop does not save the processes."""
    started = Started(tagged, *python(STUBBORN))
    await started.says(b"up")
    started.stop.stop(FailureClass.CANCELLED, "enough")
    ending = asyncio.create_task(started.end(grace_s=60))
    await asyncio.sleep(0.05)

    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending

    assert tagged.count() == 0


async def test_the_guard_knows_a_group_while_it_lives(tagged: Tagged) -> None:
    """A group is registered from its start until it is dead, and forgotten before its id can be anybody else's."""
    guard = RecordingGuard()
    started = Started(tagged, "sleep", "0.2", guard=guard)
    supervisor, group = started.group._supervisor, await started.group.group()

    await started.end()

    assert guard.seen[:2] == [("add", supervisor, True), ("add", group, True)]
    assert [(word, number) for word, number, _ in guard.seen[2:]] == [("remove", supervisor), ("remove", group)]


async def test_nothing_runs_unguarded(tagged: Tagged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the guard does not take the registration, the process that was just started is killed, its files go."""
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}")
    with pytest.raises(StartError) as caught:
        Started(tagged, "sleep", "60", guard=RecordingGuard(is_lost=True))

    assert caught.value.kind is FailureClass.WORKER_LOST
    assert tagged.count() == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 -- in async code


def no_program(folder: Path) -> tuple[str, str]:
    return "no-such-program-anywhere", "not found on the worker's PATH: no-such-program"


def no_file(folder: Path) -> tuple[str, str]:
    return str(folder / "none"), "command not found"


def not_executable(folder: Path) -> tuple[str, str]:
    (folder / "plain").write_text("echo hello\n")
    return str(folder / "plain"), "permission denied"


def no_interpreter(folder: Path) -> tuple[str, str]:
    (folder / "script").write_text("#!/no/such/interpreter\n")
    (folder / "script").chmod(0o755)
    return str(folder / "script"), "its interpreter does not exist"


def no_format(folder: Path) -> tuple[str, str]:
    (folder / "rubbish").write_bytes(b"\x01\x02\x03")
    (folder / "rubbish").chmod(0o755)
    return str(folder / "rubbish"), "cannot be started"


@pytest.mark.parametrize("case", [no_program, no_file, not_executable, no_interpreter, no_format])
async def test_what_cannot_be_started_says_why(
    tagged: Tagged, tmp_path: Path, case: Callable[[Path], tuple[str, str]]
) -> None:
    """A program this machine does not have or cannot run is a failure of its environment, in words."""
    program, words = case(tmp_path)

    with pytest.raises(StartError, match=words) as caught:
        await Started(tagged, program).end()

    assert caught.value.kind is FailureClass.ENVIRONMENT


async def test_a_missing_directory_is_not_a_missing_command(tagged: Tagged) -> None:
    """The two causes that the system reports alike are told apart."""
    with pytest.raises(StartError, match="working directory '/no/such/place' does not exist"):
        Started(tagged, "true", cwd="/no/such/place")


async def test_a_relative_program_counts_from_the_directory(tagged: Tagged, tmp_path: Path) -> None:
    """A program with a path is the file that the rules judged."""
    script = tmp_path / "run"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    started = Started(tagged, str(script), cwd=str(tmp_path))

    assert await started.end() == (0, False)
    assert started.output.decode().strip() == str(tmp_path)


@pytest.fixture
def no_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without process handles."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.mark.usefixtures("no_handles")
async def test_a_system_without_handles_does_as_well(tagged: Tagged) -> None:
    """Exit, stop and cancellation work where the exit must be polled for."""
    assert await Started(tagged, "sh", "-c", "exit 4").end() == (4, False)

    stopped = Started(tagged, "sh", "-c", f'{PYTHON} -I -S -c "{ESCAPE}" & wait')
    await stopped.says(b"escaped")
    stopped.stop.stop(FailureClass.CANCELLED, "enough")
    assert await stopped.end() == (-signal.SIGTERM, True)
    assert tagged.count() == 0

    cancelled = Started(tagged, "sleep", "60")
    ending = asyncio.create_task(cancelled.end())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert tagged.count() == 0


def test_it_works_on_the_fast_event_loop(tagged: Tagged) -> None:
    """The loop that servers use watches pipes and process handles as well as the standard one."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> tuple[int | None, bool]:
        started = Started(tagged, *python(STUBBORN))
        await started.says(b"up")
        started.stop.stop(FailureClass.CANCELLED, "enough")
        return await started.end(grace_s=0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == (-signal.SIGKILL, True)
