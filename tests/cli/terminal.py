"""A program on a real pseudo-terminal, and the screen that a person would see of it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pyte

PATIENCE_S = 15.0


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """Within it the process may live; afterwards it is over, so that a test that fails does not wait for it."""
    with process:
        try:
            yield
        finally:
            process.kill()


class Terminal:
    """Runs `ostler` with arguments; its screen is that of a terminal emulator. Ends with the program ended."""

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, slave = pty.openpty()
        self.resize(columns, lines, tell=False)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ostler.cli.main", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color", **(env or {})},
        )

    @property
    def text(self) -> str:
        """The screen as it stands."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, within_s: float = 0.05) -> None:
        """Take in what was written."""
        while select.select([self._master], [], [], within_s)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program is gone
                return
            if not data:
                return
            self.written += data
            self._stream.feed(data)
            within_s = 0.0

    def until(self, condition: Callable[[str], object], what: str) -> str:
        """Wait until the screen shows something."""
        end = time.monotonic() + PATIENCE_S
        while not condition(self.text):
            assert time.monotonic() < end, f"never shown: {what}\n{self.text}"
            self.read()
        return self.text

    def shows(self, *words: str) -> str:
        """Wait until all of these are on the screen."""
        return self.until(lambda text: all(word in text for word in words), " and ".join(words))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def resize(self, columns: int, lines: int, *, tell: bool = True) -> None:
        """Another size of the window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end\n{self.text}"
            self.read()
        self.read()
        code: int = self.process.returncode
        return code

    def mode(self) -> list[object]:
        """How the terminal treats the keyboard now."""
        return list(termios.tcgetattr(self._slave))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._master)
        os.close(self._slave)
