"""Keys by name and styles by code: what a terminal sends and takes, byte by byte."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from ostler.cli.deck import Span
from ostler.cli.screen import Screen, painted


class Keyboard(NamedTuple):
    """A screen whose keyboard and alarm are pipes."""

    screen: Screen
    press: int
    ring: int

    def pressed(self, data: bytes) -> list[str]:
        """The names of what is sent at once."""
        os.write(self.press, data)
        return list(self.screen.keys(0.0))


class FakeInput:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    pressed, press = os.pipe()
    wake, ring = os.pipe()
    monkeypatch.setattr(sys, "stdin", FakeInput(pressed))
    yield Keyboard(Screen(wake), press, ring)
    for descriptor in (pressed, wake, ring):
        os.close(descriptor)
    with contextlib.suppress(OSError):  # a test closed it itself
        os.close(press)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"q", ["q"]),
        (b"\x1b[A", ["up"]),
        (b"\x1bOB", ["down"]),
        (b"\x1b[5~\x1b[6~", ["page up", "page down"]),
        (b"\x1b[H\x1b[4~", ["home", "end"]),
        (b"\r", ["enter"]),
        (b"\x7f", ["backspace"]),
        (b"\x1b", ["escape"]),
        (b"cy", ["c", "y"]),
        ("äö馬".encode(), ["ä", "ö", "馬"]),
        (b"a\x1b[Bb", ["a", "down", "b"]),
        (b"\x1b[15~", ["unknown"]),
        (b"\x1b[200~", ["unknown"]),
        (b"\xff", ["unknown"]),
    ],
)
def test_what_is_pressed_has_a_name(keyboard: Keyboard, data: bytes, names: list[str]) -> None:
    """Several keys at once are several names; a sequence without a name is one unknown key and types nothing."""
    assert keyboard.pressed(data) == names


def test_news_wake_without_a_key(keyboard: Keyboard) -> None:
    """An empty name; a key that is pressed meanwhile comes after it."""
    os.write(keyboard.ring, b"..")
    assert list(keyboard.screen.keys(5.0)) == [""]

    os.write(keyboard.ring, b".")
    assert keyboard.pressed(b"q") == ["", "q"]


def test_nothing_within_the_time_is_nothing(keyboard: Keyboard) -> None:
    """Then the next second is drawn."""
    assert list(keyboard.screen.keys(0.0)) == []


def test_a_keyboard_that_is_gone_leaves(keyboard: Keyboard) -> None:
    """A terminal that was closed does not leave a program behind."""
    os.close(keyboard.press)

    assert list(keyboard.screen.keys(0.0)) == ["q"]


CODE = re.compile(r"\x1b\[[0-9;]*m")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
STYLES = st.sampled_from(["", "bold", "dim", "bold red", "mark:failed", "mark:running:here", "mark::here", "nonsense"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.builds(Span, TEXT, STYLES), max_size=4), st.integers(0, 40))
def test_no_line_is_wider_than_the_window_or_says_anything_but_text(spans: list[Span], width: int) -> None:
    """Whatever a task is called: at most so many columns, one line, and no sequence but those of colours."""
    drawn = painted(tuple(spans), width)

    bare = CODE.sub("", drawn)
    assert cell_len(bare) <= width
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", bare)


def test_a_style_ends_with_its_text() -> None:
    """What follows has its own."""
    drawn = painted((Span("a", "bold red"), Span("b"), Span("c", "dim")), 10)

    assert drawn == "\x1b[1;31ma\x1b[0mb\x1b[2mc\x1b[0m"
