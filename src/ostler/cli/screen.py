"""A full-screen terminal: entered and left in good order, drawn whole, keys read by name.

What was on the screen before is back when it is left, whatever happened; so are cursor and mode of the keyboard.
A frame is written in one piece, each line cut to the width and cleared to its end, so that nothing flickers.
"""

import os
import re
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ostler.cli.deck import Line
from ostler.cli.render import clean, style_of

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, TO_END_OF_LINE, TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
PLAIN = "\x1b[0m"
ESCAPE_S = 0.05
"""How long the rest of a key's sequence may take after its first byte."""

_CODES = {
    "bold": "1",
    "dim": "2",
    "reverse": "7",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1bOH": "home",
    b"\x1b[F": "end",
    b"\x1b[4~": "end",
    b"\x1bOF": "end",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x1b": "escape",
}


_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|[\x00-\x1f\x7f]")
"""What a key sends that types nothing, whole: one without a name must not type its letters."""


class Screen:
    """The terminal while it is ours. Made by `full_screen`."""

    def __init__(self, wake: int) -> None:
        self._in = sys.stdin.fileno()
        self._wake = wake
        self._pending = b""

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    def draw(self, lines: list[Line]) -> None:
        """Show lines, from the top; what is below them is cleared."""
        width, height = self.size()
        drawn = [painted(line, width) + TO_END_OF_LINE for line in lines[:height]]
        _write(HOME + "\r\n".join(drawn) + PLAIN + TO_END)

    def keys(self, within_s: float) -> Iterator[str]:
        """Keys that are pressed within a time, and `""` where something else woke us. Ends after the first of them."""
        if not self._pending:
            ready, _, _ = select.select([self._in, self._wake], [], [], within_s)
            if self._wake in ready:
                os.read(self._wake, 4096)
                yield ""
            if self._in not in ready:
                return
            self._pending = os.read(self._in, 1024)
            if not self._pending:
                yield "q"  # nobody is left at the keyboard
                return
        while self._pending:
            yield self._one()

    def _one(self) -> str:
        """The first key of what was read."""
        if self._pending == b"\x1b" and select.select([self._in], [], [], ESCAPE_S)[0]:
            self._pending += os.read(self._in, 64)
        sequence = _SEQUENCE.match(self._pending)
        if sequence is not None:
            self._pending = self._pending[sequence.end() :]
            return _NAMES.get(sequence[0], "unknown")
        text = self._pending.decode("utf-8", "ignore")
        if not text:
            self._pending = b""
            return "unknown"
        self._pending = self._pending[self._pending.index(text[0].encode()) + len(text[0].encode()) :]
        return text[0]


def painted(line: Line, width: int) -> str:
    """A line with its styles, cut to so many columns; text of tasks cannot steer the terminal.

    Wide characters count two columns.
    """
    from rich.cells import cell_len, set_cell_size

    left, parts = width, []
    for span in line:
        text = " ".join(clean(span.text).split("\n")).expandtabs(1)
        if cell_len(text) > left:
            text = set_cell_size(text, max(0, left - 1)) + ("~" if left else "")
        left -= cell_len(text)
        parts.append(f"\x1b[{_codes(span.style)}m{text}{PLAIN}" if span.style and text else text)
    return "".join(parts)


def _codes(style: str) -> str:
    words = style
    if style.startswith("mark:"):
        mark, _, here = style.removeprefix("mark:").partition(":")
        words = style_of(mark) + (" reverse" if here else "")
    return ";".join(_CODES[word] for word in words.split() if word in _CODES)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def full_screen(wake: int, wakes: Callable[[], None]) -> Iterator[Screen]:
    """Take the terminal, and give it back as it was. `wake`: bytes that arrive there end a wait for keys; `wakes` puts
    one there, which a change of the window's size does.
    """
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP)}

    def ended(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        signal.signal(signal.SIGWINCH, lambda _number, _frame: wakes())
        signal.signal(signal.SIGTERM, ended)
        signal.signal(signal.SIGHUP, ended)
        tty.setcbreak(keyboard)
        _write(ENTER)
        yield Screen(wake)
    finally:
        _write(PLAIN + LEAVE)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
