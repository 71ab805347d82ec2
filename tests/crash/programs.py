"""Programs that are kept running as a service manager would keep them, and that may be killed, frozen and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_HANDED_ON = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
"""So that another tree than the installed one can be played."""


class Program:
    """One `ostler` process by name; `start` after an end starts it again. Its output of all lives is in one file."""

    def __init__(self, name: str, folder: Path, arguments: tuple[str, ...], env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / "log.txt"
        self.kills = 0
        self.own_ends: list[int] = []
        """Exit codes of ends that nobody asked for."""
        self.frozen: list[tuple[float, float]] = []
        """From when to when it could do nothing, by the steady clock."""
        self._folder = folder
        self._arguments = arguments
        self._env = env
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it, where it does not run."""
        if self.runs:
            return
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "ostler.cli.main", *self._arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                env=_HANDED_ON | {"HOME": str(self._folder), **self._env},
            )

    def mend(self) -> None:
        """As a service manager: what ended by itself is noted and started again."""
        if self._popen is not None and (code := self._popen.poll()) is not None:
            self.own_ends.append(code)
            self._popen = None
            self.start()

    def kill(self) -> None:
        """As the power goes out: -9."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait(20)
            self._popen = None
            self.kills += 1

    def freeze(self) -> None:
        """It gets no time any more."""
        if self._popen is not None:
            self._popen.send_signal(signal.SIGSTOP)
            self.frozen.append((time.monotonic(), float("inf")))

    def thaw(self) -> None:
        """It goes on as if nothing had been."""
        if self.frozen and self.frozen[-1][1] == float("inf"):
            self.frozen[-1] = (self.frozen[-1][0], time.monotonic())
            if self._popen is not None:
                self._popen.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """In good order; its exit code."""
        if self._popen is None:
            return 0
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(30)
