"""Keys of `ostler top`: what they wish for, that nothing is done unasked, and that every screen fits."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.cli import deck as module
from ostler.cli.board import Act, Band, Board, Kind, Row
from ostler.cli.deck import HELP, Deck, Mode, Wish

EVERY = tuple(Act)


def row(name: str, *acts: Act, kind: Kind = Kind.TASK) -> Row:
    return Row(kind=kind, id=name, cells=(name, "since", f"because of {name}"), acts=acts or EVERY, mark="running")


def board(*needs: Row, running: tuple[Row, ...] = (), waiting: tuple[Row, ...] = (), idle: str = "") -> Board:
    headings = ("what", "since", "why")
    return Board(
        head="3 running",
        needs=Band(title="NEEDS YOU", headings=headings, rows=needs, empty="nothing"),
        running=Band(title="RUNNING", headings=headings, rows=running, empty="nothing"),
        waiting=Band(title="WAITING", headings=headings, rows=waiting, empty="nothing"),
        idle=idle,
    )


def deck(*rows: Row, running: tuple[Row, ...] = (), waiting: tuple[Row, ...] = ()) -> Deck:
    made = Deck()
    made.show(board(*rows, running=running, waiting=waiting))
    return made


def press(made: Deck, *keys: str) -> list[Wish]:
    return [wish for key in keys if (wish := made.press(key)) is not None]


def screen(made: Deck, width: int = 80, height: int = 24) -> list[str]:
    return ["".join(span.text for span in line) for line in made.lines(width, height)]


@pytest.mark.parametrize(
    ("key", "act"),
    [
        ("x", Act.ACK),
        ("c", Act.CANCEL),
        ("p", Act.PAUSE),
        ("r", Act.RESUME),
        ("t", Act.RETRY),
    ],
)
def test_a_key_asks_first_and_does_it_on_yes_only(key: str, act: Act) -> None:
    """Any other key takes it back, and says so."""
    made = deck(row("t-1"))

    assert press(made, key) == []
    assert f"{act.value} t-1?" in screen(made)[-1]
    assert press(made, "y") == [Wish(verb=act.value, id="t-1")]

    assert press(made, key, "n", "y") == []
    for other in ("enter", "escape", "q", "c", "unknown"):
        assert press(made, key, other) == []
        assert made.mode is Mode.BROWSE
        assert "nothing was done" in screen(made)[-1]


def test_an_answer_is_typed_then_asked_again() -> None:
    """Letters are letters while it is typed, those of keys too; what was typed is in the question."""
    made = deck(row("t-1"))
    press(made, "a", *"quit?x", "backspace", *" yes")
    assert "answer: quit? yes_" in screen(made)[-1]

    press(made, "enter")
    assert "answer t-1 'quit? yes'?" in screen(made)[-1]
    assert press(made, "y") == [Wish(verb="answer", id="t-1", text="quit? yes")]


def test_an_empty_answer_and_escape_do_nothing() -> None:
    """Neither asks any further."""
    made = deck(row("t-1"))

    assert press(made, "a", " ", "enter", "y") == []
    assert press(made, "a", "h", "escape", "y") == []
    assert made.mode is Mode.BROWSE


def test_models_are_loaded_and_unloaded_by_name() -> None:
    """Without any row under the cursor, too."""
    made = deck()

    assert press(made, "l", *"qwen box", "enter", "y") == [Wish(verb="load", text="qwen box")]
    assert press(made, "u", *"qwen box", "enter", "y") == [Wish(verb="unload", text="qwen box")]


def test_what_is_not_for_a_row_is_told_and_not_asked() -> None:
    """A group has no key of its own, and says how to get at its tasks."""
    made = deck(row("t-1", Act.CANCEL), Row(kind=Kind.GROUP, id="t-2", cells=("3", "low", "full"), acts=()))

    press(made, "p")
    assert "pause is not for this row" in screen(made)[-1]
    press(made, "down", "c")
    assert "one by one" in screen(made)[-1]
    assert made.mode is Mode.BROWSE


def test_the_last_line_shows_the_keys_of_the_row_under_the_cursor() -> None:
    """And no others."""
    made = deck(row("t-1", Act.CANCEL, Act.ANSWER))
    foot = screen(made, 200)[-1]

    assert "c cancel" in foot
    assert "a answer" in foot
    assert "p pause" not in foot
    assert "? help" in foot


def test_the_cursor_stays_on_its_row_when_the_picture_changes() -> None:
    """Rows before it come and go; when it is gone itself, the place stays."""
    made = deck(row("a"), row("b"), row("c"))
    press(made, "down")
    seen = []
    for names in (["new", "a", "b", "c"], ["new", "a", "c"], [], ["z"]):
        made.show(board(*map(row, names)))
        seen.append(made.row.id if made.row is not None else None)

    assert seen == ["b", "c", None, "z"]


def test_moving_goes_over_all_bands_and_stops_at_the_ends() -> None:
    """One cursor for the screen."""
    made = deck(row("a"), running=(row("b"),), waiting=(row("c"),))
    seen = []
    for key in ("up", "down", "j", "down", "end", "k", "home", "page down", "page up"):
        press(made, key)
        assert made.row is not None
        seen.append(made.row.id)

    assert seen == ["a", "b", "c", "c", "c", "b", "a", "c", "a"]


def test_more_rows_than_lines_scroll_with_the_cursor() -> None:
    """The cursor is always seen, whatever is pressed."""
    made = deck(*(row(f"t-{number:02}") for number in range(60)))
    for key in ("end", "home", *["down"] * 40, "page up", "page down", "end"):
        press(made, key)
        assert made.row is not None
        assert any(line.startswith(f"> {made.row.id}") for line in screen(made))


def test_enter_asks_why_and_a_text_is_read_until_another_key() -> None:
    """An alert explains itself."""
    made = deck(row("errors", Act.ACK, kind=Kind.ALERT), row("t-1"))
    press(made, "enter")
    assert "because of errors" in screen(made)
    press(made, "q")
    assert made.mode is Mode.BROWSE

    assert press(made, "down", "enter") == [Wish(verb="why", id="t-1")]
    made.read(tuple(f"line {number}" for number in range(100)))
    assert screen(made)[0] == "line 0"
    press(made, "page down")
    assert screen(made)[0] == "line 10"
    press(made, "end")
    assert screen(made)[0] == "line 99"
    press(made, "escape")
    assert made.mode is Mode.BROWSE


def test_help_names_every_key() -> None:
    """What acts is in it."""
    made = deck()
    press(made, "?")

    text = "\n".join(screen(made))
    assert all(line in text for line in HELP)
    assert all(f"{key}" in text for key in module._KEYS)


@pytest.mark.parametrize("key", ["q", "escape"])
def test_leaving_is_a_key(key: str) -> None:
    """At once, for it changes nothing."""
    assert press(deck(), key) == [Wish(verb="quit")]


def test_a_hub_that_does_not_answer_and_one_where_nothing_runs_say_so() -> None:
    """Above the bands."""
    made = Deck()
    assert screen(made)[0] == "asking the hub ..."
    made.show(board(idle="12 wait: budget"))
    made.stale = True

    lines = screen(made)
    assert lines[1] == "the hub does not answer; waiting for it"
    assert lines[2] == "nothing runs: 12 wait: budget"


KEYS = st.lists(
    st.sampled_from(
        ["up", "down", "page down", "home", "end", "enter", "escape", "backspace", "?", "w", *"acptrxyluqjk ", "ä"]
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.integers(0, 30), st.integers(1, 120), st.integers(1, 40))
def test_whatever_is_pressed_nothing_is_done_without_a_yes_and_the_screen_fits(
    keys: list[str], rows: int, width: int, height: int
) -> None:
    """On every size of the window, from the smallest."""
    made = deck(*(row(f"t-{number}") for number in range(rows)))
    before = ""
    for key in keys:
        asking = made.mode is Mode.CONFIRM
        wish = made.press(key)
        if wish is not None and wish.verb not in ("why", "quit", "expand"):
            assert asking, "it was asked"
            assert key == "y", "and answered with yes"
        assert len(made.lines(width, height)) <= max(1, height), "it fits"
        before = key
    assert before in ("", *keys)


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the module."""
    assert doctest.testmod(module).failed == 0
