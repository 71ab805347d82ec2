"""One command as a process group of its own that leaves nothing behind, however it ends.

How it ends: exit, or stop -> TERM to the group -> grace -> KILL to the group -> sweep of what escaped the group (by
environment tag and by parent) -> reap. A group is killed and swept after a normal exit as well: what a command leaves
in the background ends with it.

Invariants: the leader is not reaped before its group is dead, so its id cannot be taken by a stranger meanwhile (where
the system has no process handles it is reaped at exit, and only that guarantee is missing). The output pipe is closed
last, because some programs spin on a closed pipe. Between the start and the guard's registration nothing is awaited.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ostler.domain.states import FailureClass
from ostler.workers import reaper
from ostler.workers.guard import GuardLostError, ProcessGuard
from ostler.workers.rules import Launch
from ostler.workers.run import StopSignal
from ostler.workers.timing import first

_READ_BYTES = 65536
_DRAIN_LIMIT_S = 1.0
_DEATH_LIMIT_S = 5.0
_LOOK_INTERVAL_S = 0.05


class StartError(Exception):
    """The command never started; `kind` and the message say why."""

    def __init__(self, kind: FailureClass, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ProcessGroup:
    """A started command. `tags` are those in its environment by which it can be found again.

    Both streams come as one, in the order in which they were written; with `errors`, standard error goes there instead.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        tags: Mapping[str, str],
        guard: ProcessGuard,
        on_output: Callable[[bytes], None],
        errors: BinaryIO | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._on_output = on_output
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._handle: int | None = None
        self._poll: asyncio.TimerHandle | None = None
        self._ended = False
        self._process = _spawn(launch, errors)
        self._group = self._process.pid
        entries = frozenset(f"{name}={value}" for name, value in tags.items())
        self._target = reaper.Target(frozenset({entries}), frozenset({self._group}))
        try:
            guard.add(self._group)
        except GuardLostError:
            self.close()
            message = "the worker lost its right to run while it started the command"
            raise StartError(FailureClass.WORKER_LOST, message) from None
        self._watch()

    @property
    def group(self) -> int:
        """Number of the process group."""
        return self._group

    async def until_end(self, stop: StopSignal, grace_s: float) -> tuple[int | None, bool]:
        """Wait for the exit, or bring it about when `stop` asks; returns when nothing of it lives.

        Returns the return code (negative: a signal; `None`: not even KILL ended it) and whether it was stopped.
        """
        await first(self._exited.wait(), stop.asked())
        was_stopped = not self._exited.is_set()
        if was_stopped:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            await first(self._gone(), stop.urgent(), asyncio.sleep(grace_s))
        self._signal(signal.SIGKILL)
        await asyncio.to_thread(reaper.sweep, self._target)
        await first(self._exited.wait(), asyncio.sleep(_DEATH_LIMIT_S))
        await first(self._drained.wait(), asyncio.sleep(_DRAIN_LIMIT_S))
        self._ended = True
        return self._reap(), was_stopped

    def close(self) -> None:
        """Let go of it; if it was not seen to its end (the caller was cancelled), it is killed on the spot."""
        if not self._ended:
            self._signal(signal.SIGKILL)
            reaper.sweep(self._target)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_DEATH_LIMIT_S)
                self._guard.remove(self._group)
        self._unwatch()

    def _reap(self) -> int | None:
        if not self._exited.is_set():
            return None
        self._guard.remove(self._group)
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)

    async def _gone(self) -> None:
        """Wait until no member of the group lives."""
        await self._exited.wait()
        # Nobody tells when the last member of a group ends, only when our child does.
        while any(proc.group == self._group for proc in await asyncio.to_thread(reaper.processes)):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_INTERVAL_S)

    def _watch(self) -> None:
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)
            self._loop.add_reader(self._process.stdout.fileno(), self._read)
        pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
        if pidfd_open is not None:
            with contextlib.suppress(OSError):
                self._handle = pidfd_open(self._group)
                self._loop.add_reader(self._handle, self._on_exit)
                return
        self._poll_exit()

    def _unwatch(self) -> None:
        self._stop_reading()
        if self._process.stdout is not None:
            self._process.stdout.close()
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
        if self._process.poll() is None:
            self._poll = self._loop.call_later(_LOOK_INTERVAL_S, self._poll_exit)
        else:
            self._exited.set()

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        try:
            piece = os.read(self._process.stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if piece:
            self._on_output(piece)
        else:
            self._stop_reading()

    def _stop_reading(self) -> None:
        if not self._drained.is_set() and self._process.stdout is not None:
            self._loop.remove_reader(self._process.stdout.fileno())
        self._drained.set()


def _spawn(launch: Launch, errors: BinaryIO | None = None) -> subprocess.Popen[bytes]:
    """Start it. Raises `StartError` of class ENVIRONMENT when this machine cannot."""
    if not Path(launch.cwd).is_dir():
        raise StartError(FailureClass.ENVIRONMENT, f"the working directory '{launch.cwd}' does not exist")
    program = launch.program
    if "/" not in program:
        found = shutil.which(program, path=launch.env.get("PATH", os.defpath))
        if found is None:
            raise StartError(FailureClass.ENVIRONMENT, f"command not found on the worker's PATH: {program}")
        program = found
    try:
        with Path(launch.stdin or os.devnull).open("rb") as source:
            return subprocess.Popen(
                list(launch.argv),
                executable=program,
                cwd=launch.cwd,
                env=dict(launch.env),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if errors is None else errors,
                bufsize=0,
                start_new_session=True,
            )
    except OSError as error:
        raise StartError(FailureClass.ENVIRONMENT, _reason(error, program)) from None


def _reason(error: OSError, program: str) -> str:
    if isinstance(error, FileNotFoundError):
        missing = "its interpreter does not exist" if Path(program).exists() else "command not found"
        return f"{missing}: {program}"
    if isinstance(error, PermissionError):
        return f"permission denied: {program}"
    return f"the command cannot be started: {program}: {error.strerror or error}"
