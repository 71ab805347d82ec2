"""The processes of the demo: each on a leash, in a group of its own, with its output in a log file.

Nothing may outlive the demo, however it ends. Four nets, each for what slips through the one before:

1. `stop_all`, which the demo calls on its way out, also after a failure and after Ctrl-C;
2. `atexit`, for a way out that nobody thought of;
3. the leash: a child ends by itself when the demo's end of its standard input closes, after `kill -9` too;
4. `left`, which looks for survivors by our tag and by descent, and kills what it finds.

What 4 finds is a mistake, so it is told and the demo fails.
"""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from ostler.domain.errors import OstlerError
from ostler.engines import leash

TAG = "DEMO_RUN"
"""Marks every process of one demo in its environment, those that a task starts too: the profile lets it through."""

STOP_GRACE_S = 5.0
LEFT_GRACE_S = 5.0
"""What was killed may take so long to be gone; a worker's companion uses it to kill what the worker ran."""
POLL_S = 0.05
LOG_LINES_SHOWN = 6

_LEASH = Path(leash.__file__)
_Identity = tuple[int, float]
"""Process id and the instant of its creation: ids are used again."""


class ProcessError(OstlerError):
    """A process of the demo did not start, or ended when it should not."""

    code = "demo"


class Child:
    """One process. Made by `Processes.start`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process = process

    @property
    def pid(self) -> int:
        """Its id, which is the id of its group too."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.poll()

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_for_line(self, pattern: str, timeout_s: float) -> str:
        """The first group of `pattern` as soon as the log has it. Raises `ProcessError` with the end of the log."""
        deadline_s = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.log())) is None:
            if not self.runs:
                raise self.failure(f"ended with status {self._process.returncode} before it was ready")
            if time.monotonic() > deadline_s:
                raise self.failure(f"was not ready within {timeout_s:g} s")
            time.sleep(POLL_S)
        return found[1]

    def failure(self, what: str) -> ProcessError:
        """An error about this process, with what it said last."""
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        said = " | ".join(lines[-LOG_LINES_SHOWN:]) or "it said nothing"
        return ProcessError(f"{self.name} {what}: {said}", where=str(self.log_path))

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group. Its id is still its own, because nobody has waited for it yet."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it ended in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def let_go(self) -> None:
        """Close the leash: a child that still runs ends at once."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def log(self) -> str:
        """All it has printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")


class Processes:
    """All processes of one demo. `folder` takes the logs; `tag` tells this demo from others."""

    def __init__(self, folder: Path, tag: str) -> None:
        self._folder = folder
        self._tag = tag
        self._children: list[Child] = []
        self._seen: set[_Identity] = set()
        atexit.register(self.stop_all)

    def start(self, name: str, module: str, arguments: Sequence[str], env: Mapping[str, str]) -> Child:
        """Run a Python module as a child. A log of an earlier child of that name is kept under another name."""
        log_path = self._folder / f"{name}.log"
        if log_path.exists():
            log_path.rename(self._folder / f"{name}.before.log")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OSTLER_")}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", str(_LEASH), module, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**inherited, **env, TAG: self._tag},
                start_new_session=True,
            )
        child = Child(name, process, log_path)
        self._children.append(child)
        return child

    def forget(self, child: Child) -> None:
        """A child has ended as it should."""
        child.let_go()
        self._children.remove(child)

    def check(self) -> None:
        """Raises `ProcessError` when a child has ended that nobody has stopped."""
        for child in self._children:
            if not child.runs:
                raise child.failure("ended by itself")

    def kill(self, *children: Child) -> None:
        """Switch off, as a power cut does: SIGKILL to all that runs, nobody is asked or says goodbye."""
        for child in children:
            child.signal(signal.SIGSTOP)  # so that nobody sees another one end
        for process in [process for child in children for process in self._remember(child)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for child in children:
            child.signal(signal.SIGKILL)
        for child in children:
            child.wait(STOP_GRACE_S)
            self.forget(child)

    def stop_all(self) -> None:
        """End everything, the youngest first: politely, then by force. Safe to repeat."""
        children, self._children = self._children[::-1], []
        for child in children:
            self._remember(child)
            child.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_GRACE_S
        for child in children:
            if not child.wait(max(0.0, deadline_s - time.monotonic())):
                child.signal(signal.SIGKILL)
                child.wait(STOP_GRACE_S)
            child.let_go()
        atexit.unregister(self.stop_all)

    def left(self) -> tuple[str, ...]:
        """What still runs when all should be gone, in words; it is killed. Empty is the only good answer."""
        deadline_s = time.monotonic() + LEFT_GRACE_S
        while (survivors := list(self._survivors())) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        told = []
        for process in survivors:
            with contextlib.suppress(psutil.Error):
                told.append(f"process {process.pid}: {' '.join(process.cmdline())}")
                process.kill()
        return tuple(told)

    def _remember(self, child: Child) -> list[psutil.Process]:
        """The descendants, which are kept in mind: some leave the group and the tag behind on purpose."""
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(child.pid).children(recursive=True):
                self._seen.add((process.pid, process.create_time()))
                found.append(process)
        return found

    def _survivors(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and self._is_ours(process):
                    yield process

    def _is_ours(self, process: psutil.Process) -> bool:
        if (process.pid, process.create_time()) in self._seen:
            return True
        if process.uids().real != os.getuid():
            return False
        return process.environ().get(TAG) == self._tag
