"""One command as a process group of its own that leaves nothing behind, however it ends.

It runs under a supervisor (see `supervisor`), which an earlier daemon may have started: then it is taken up where it
is, with its output from the beginning.

How it ends: exit, or stop -> TERM to the group -> grace -> KILL to the group -> sweep of what escaped the group (by
environment tag and by parent) -> reap. A group is killed and swept after a normal exit as well: what a command leaves
in the background ends with it.

Invariants: the group is signalled by its number only while its supervisor lives, which does not reap the leader before
the group is dead, so the number cannot be a stranger's. The output pipe is closed last, because some programs spin on a
closed pipe. Between the start and the guard's registration nothing is awaited.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ostler.domain.states import FailureClass
from ostler.workers import reaper, supervision
from ostler.workers.guard import GuardLostError, ProcessGuard
from ostler.workers.rules import Launch
from ostler.workers.run import StopSignal
from ostler.workers.supervision import Follower, Step, StepEnd
from ostler.workers.supervisor import BY_LEASE
from ostler.workers.timing import cancelled, first

_DEATH_LIMIT_S = 5.0
_LOOK_INTERVAL_S = 0.05
_START_LOOK_S = 0.005
_FOLLOW_S = (0.01, 0.1)
"""Pause between looks at the output: the shortest, while there is some, and the longest."""
_FOLLOW_BYTES = 4 * 1024 * 1024
"""Taken in at once, so that others get their turn."""


class StartError(Exception):
    """The command never started, or was lost; `kind` and the message say why."""

    def __init__(self, kind: FailureClass, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ProcessGroup:
    """A command. `tags` are those in its environment by which it can be found again; `step`: where its files are, and
    are left; `None`: in a folder that goes with it.

    Both streams come as one, in the order in which they were written, unless the step has a file for errors. Raises
    `StartError`.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        tags: Mapping[str, str],
        guard: ProcessGuard,
        on_output: Callable[[bytes], None],
        on_skip: Callable[[int], None] = lambda _count: None,
        step: Step | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._exited = asyncio.Event()
        self._handle: int | None = None
        self._poll: asyncio.TimerHandle | None = None
        self._ended = False
        self._own_folder = tempfile.mkdtemp(prefix="ostler-step-") if step is None else None
        self._step = step if step is not None else Step(folder=Path(self._own_folder or ""))
        self._follower = Follower(self._step, on_output, on_skip)
        self._program = launch.program
        self._process: subprocess.Popen[bytes] | None = None
        self.was_taken_up = self._step.is_begun
        """Whether an earlier daemon started it."""
        if not self.was_taken_up:
            self._process = self._spawn(launch, tags)
        pids = self._step.pids
        self._supervisor = self._process.pid if self._process is not None else pids[0] if pids is not None else 0
        self._group = pids[1] if pids is not None else None
        entries = frozenset(f"{name}={value}" for name, value in tags.items())
        own = frozenset({self._supervisor}) if self._process is not None else frozenset()
        self._target = reaper.Target(frozenset({entries}), own)
        self._was_over = self.was_taken_up and not self._step.is_alive
        """It had ended before it was taken up: its numbers may be others' by now, its tags are those of later steps."""
        if not self._was_over:
            self._register(self._supervisor)
        self._watch()
        self._following = self._loop.create_task(self._follow())

    def _spawn(self, launch: Launch, tags: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            program = _program(launch)
            self._guard.check()
            return supervision.start(launch, program, self._step, tags, self._guard.lease, self._guard.clock_id)
        except StartError:
            self._remove_folder()
            raise
        except GuardLostError:
            self._remove_folder()
            message = "the worker lost its right to run before it started the command"
            raise StartError(FailureClass.WORKER_LOST, message) from None
        except OSError as error:
            self._remove_folder()
            raise StartError(FailureClass.ENVIRONMENT, _reason(error, launch.program)) from None

    def _register(self, group: int) -> None:
        try:
            self._guard.add(group)
        except GuardLostError:
            self._end_now()
            self._remove_folder()
            message = "the worker lost its right to run while it started the command"
            raise StartError(FailureClass.WORKER_LOST, message) from None

    async def group(self) -> int | None:
        """Number of the command's process group, once there is one; `None`: it never started, or is over."""
        while self._group is None and not self._exited.is_set():
            self._look_for_group()
            if self._group is None:
                await first(self._exited.wait(), asyncio.sleep(_START_LOOK_S))
        return self._group

    def _look_for_group(self) -> None:
        pids = self._step.pids
        if self._group is None and pids is not None:
            self._group = pids[1]
            with contextlib.suppress(GuardLostError):  # noticed at the next beat; it is found by its tags
                self._guard.add(self._group)

    async def until_end(self, stop: StopSignal, grace_s: float) -> tuple[int | None, bool]:
        """Wait for the exit, or bring it about when `stop` asks; returns when nothing of it lives.

        Returns the return code (negative: a signal; `None`: not even KILL ended it) and whether it was stopped. Raises
        `StartError` when it never started, or nobody can tell how it ended.
        """
        await self.group()
        await first(self._exited.wait(), stop.asked())
        was_stopped = not self._exited.is_set()
        if was_stopped:
            self._step.promise(boot_clock_us(self._guard.clock_id) + round(grace_s * 1e6))
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            await first(self._gone(), stop.urgent(), asyncio.sleep(grace_s))
            self._signal(signal.SIGKILL)
            await first(self._exited.wait(), asyncio.sleep(_DEATH_LIMIT_S))
        if not self._was_over:
            await asyncio.to_thread(reaper.sweep, self._target)
        await first(self._exited.wait(), asyncio.sleep(_DEATH_LIMIT_S))
        await cancelled(self._following)
        while self._follower.read(_FOLLOW_BYTES):  # noqa: ASYNC110 -- it reads, and others have their turn
            await asyncio.sleep(0)
        self._ended = True
        return self._outcome(was_stopped=was_stopped), was_stopped

    @property
    def ended_by(self) -> str:
        """Which rule of its supervisor ended it; empty: none."""
        end = self._step.end
        return end.by if end is not None else ""

    def _outcome(self, *, was_stopped: bool) -> int | None:
        if not self._exited.is_set():
            return None
        self._forget_groups()
        own = self._process.wait() if self._process is not None else -signal.SIGKILL
        end = self._step.end
        if end is None and was_stopped:
            return own
        if end is None:
            raise StartError(FailureClass.WORKER_LOST, "its supervisor was killed, so nobody can tell how it ended")
        return self._code(end)

    def _code(self, end: StepEnd) -> int:
        if end.errno is not None:
            error = OSError(end.errno, os.strerror(end.errno))
            raise StartError(FailureClass.ENVIRONMENT, _reason(error, self._program))
        if end.by == BY_LEASE:
            message = "it was ended because no daemon of this worker was sure of its right to run it any more"
            raise StartError(FailureClass.WORKER_LOST, message)
        return end.code

    def close(self) -> None:
        """Let go of it; if it was not seen to its end (the caller was cancelled), it is killed on the spot."""
        self._following.cancel()
        if not self._ended:
            self._end_now()
        self._unwatch()
        self._remove_folder()

    def _end_now(self) -> None:
        self._look_for_group()
        self._signal(signal.SIGKILL)
        if not self._was_over:
            reaper.sweep(self._target)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_DEATH_LIMIT_S)
        self._forget_groups()

    def _forget_groups(self) -> None:
        self._guard.remove(self._supervisor)
        if self._group is not None:
            self._guard.remove(self._group)

    def _remove_folder(self) -> None:
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the command's group, while its number is surely its own."""
        if self._group is not None and self._step.is_alive and self._step.end is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)

    async def _gone(self) -> None:
        """Wait until no member of the group lives."""
        await self._exited.wait()
        # Nobody tells when the last member of a group ends, only when its leader does.
        while any(proc.group == self._group for proc in await asyncio.to_thread(reaper.processes)):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _follow(self) -> None:
        pause_s = _FOLLOW_S[0]
        while True:
            pause_s = _FOLLOW_S[0] if self._follower.read(_FOLLOW_BYTES) else min(2 * pause_s, _FOLLOW_S[1])
            await asyncio.sleep(pause_s)

    def _watch(self) -> None:
        pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
        if pidfd_open is not None:
            with contextlib.suppress(OSError):
                self._handle = pidfd_open(self._supervisor)
                # The handle was taken first: if its supervisor lives now, the handle is of that one.
                if self._process is not None or self._step.is_alive:
                    self._loop.add_reader(self._handle, self._on_exit)
                    return
                os.close(self._handle)
                self._handle = None
        self._poll_exit()

    def _unwatch(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
        if self._handle is not None:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = None

    def _on_exit(self) -> None:
        if self._handle is not None:
            self._loop.remove_reader(self._handle)
        self._exited.set()

    def _poll_exit(self) -> None:
        if self._process.poll() is None if self._process is not None else self._step.is_alive:
            self._poll = self._loop.call_later(_LOOK_INTERVAL_S, self._poll_exit)
        else:
            self._exited.set()


def boot_clock_us(clock_id: int) -> int:
    """Now, on a clock that all processes of this boot share."""
    return time.clock_gettime_ns(clock_id) // 1_000


def _program(launch: Launch) -> str:
    """The file to start. Raises `StartError` of class ENVIRONMENT when this machine has none."""
    if not Path(launch.cwd).is_dir():
        raise StartError(FailureClass.ENVIRONMENT, f"the working directory '{launch.cwd}' does not exist")
    if "/" in launch.program:
        return launch.program
    found = shutil.which(launch.program, path=launch.env.get("PATH", os.defpath))
    if found is None:
        raise StartError(FailureClass.ENVIRONMENT, f"command not found on the worker's PATH: {launch.program}")
    return found


def _reason(error: OSError, program: str) -> str:
    if isinstance(error, FileNotFoundError):
        missing = "its interpreter does not exist" if Path(program).exists() else "command not found"
        return f"{missing}: {program}"
    if isinstance(error, PermissionError):
        return f"permission denied: {program}"
    return f"the command cannot be started: {program}: {error.strerror or error}"
