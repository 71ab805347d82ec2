"""The state of `ostler top`: keys in, wishes out, lines to draw. It touches no terminal and asks no hub.

Whatever changes something is asked again before it is done: a key opens a question, `y` answers it, any other key takes
it back. Words are typed for an answer, a load, an unload and the reason of a cancel.
"""

from enum import StrEnum

import msgspec

from ostler.cli.board import Act, Band, Board, Kind, Row

HEIGHT_MIN, WIDTH_MIN = 8, 30
PAGE = 10


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done outside. `verb`: an `Act`, or `why`, `load`, `unload`, `expand`, `quit`."""

    verb: str
    id: str = ""
    text: str = ""


class Span(msgspec.Struct, frozen=True):
    """Text in one style: the words of `render.style_of`, or of rich."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Mode(StrEnum):
    """What keys mean."""

    BROWSE = "browse"
    CONFIRM = "confirm"
    TYPE = "type"
    READ = "read"


_KEYS = {
    "x": Act.ACK,
    "a": Act.ANSWER,
    "c": Act.CANCEL,
    "p": Act.PAUSE,
    "r": Act.RESUME,
    "t": Act.RETRY,
}
_TYPED = {"answer": "answer", "load": "load which model on which host (MODEL HOST)", "unload": "unload (MODEL HOST)"}
HELP = (
    "up, down, j, k   move; page up, page down by ten; home, end",
    "enter            why it is where it is",
    "w                tasks that wait, one by one or grouped by reason",
    "x                acknowledge an alert",
    "a                answer a task that asks",
    "t                try again what needs a person",
    "p, r             pause and resume a task that waits",
    "c                cancel a task",
    "l, u             load a model on a host, unload it",
    "q, Ctrl-C        leave",
    "",
    "Whatever changes something is asked again first.",
)


_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE, "page down": PAGE}
_MOVES = frozenset({*_STEPS, "home", "end"})


def moved(key: str, at: int, last: int) -> int:
    """Where a key moves to, within 0 and `last`.

    >>> moved("down", 0, 5), moved("page up", 3, 5), moved("end", 0, 5), moved("up", 0, -1)
    (1, 0, 5, 0)
    """
    to = 0 if key == "home" else last if key == "end" else at + _STEPS[key]
    return max(0, min(to, last))


class Deck:
    """What is shown, where the cursor stands, and what is being asked."""

    def __init__(self) -> None:
        self.board: Board | None = None
        self.mode = Mode.BROWSE
        self.message = ""
        """What came of the last wish, or what keeps the picture from being new."""
        self.stale = False
        self._at = 0
        self._top = 0
        self._asked: Wish | None = None
        self._typed = ""
        self._text: tuple[str, ...] = ()
        self._text_top = 0

    def show(self, board: Board) -> None:
        """A new picture; the cursor stays on its row where that is still there."""
        before = self.row
        self.board = board
        rows = board.rows
        if before is not None:
            same = next((n for n, row in enumerate(rows) if (row.kind, row.id) == (before.kind, before.id)), None)
            self._at = same if same is not None else self._at
        self._at = max(0, min(self._at, len(rows) - 1))

    def read(self, lines: tuple[str, ...]) -> None:
        """Show a text until it is left."""
        self.mode, self._text, self._text_top = Mode.READ, lines, 0

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        rows = self.board.rows if self.board is not None else ()
        return rows[self._at] if self._at < len(rows) else None

    def press(self, key: str) -> Wish | None:
        """A key; what it wishes for, if anything. Keys have names (`up`, `enter`, ...) or are what they type."""
        if self.mode is Mode.CONFIRM:
            return self._confirmed(key)
        if self.mode is Mode.TYPE:
            return self._type(key)
        if self.mode is Mode.READ:
            return self._reading(key)
        self.message = ""
        return self._browse(key)

    def _browse(self, key: str) -> Wish | None:
        if key in ("q", "escape"):
            return Wish(verb="quit")
        if key == "?":
            self.read(HELP)
        elif key == "w":
            return Wish(verb="expand")
        elif key in ("l", "u"):
            self._ask_for_words(Wish(verb="load" if key == "l" else "unload"))
        elif key in _MOVES:
            self._move(key)
        elif self.row is not None:
            return self._on_row(key, self.row)
        return None

    def _on_row(self, key: str, row: Row) -> Wish | None:
        if key == "enter" and row.kind is not Kind.ALERT:
            return Wish(verb="why", id=row.id)
        if key == "enter":
            self.read((row.id, "", *row.cells[1:]))
        act = _KEYS.get(key)
        if act is None:
            return None
        if act not in row.acts:
            hint = "; w shows the tasks one by one" if row.kind is Kind.GROUP else ""
            self.message = f"{act.value} is not for this row{hint}"
            return None
        wish = Wish(verb=act.value, id=row.id)
        if act is Act.ANSWER:
            self._ask_for_words(wish)
        else:
            self.mode, self._asked = Mode.CONFIRM, wish
        return None

    def _ask_for_words(self, wish: Wish) -> None:
        self.mode, self._asked, self._typed = Mode.TYPE, wish, ""

    def _confirmed(self, key: str) -> Wish | None:
        wish, self._asked, self.mode = self._asked, None, Mode.BROWSE
        if key in ("y", "Y"):
            return wish
        self.message = "nothing was done"
        return None

    def _type(self, key: str) -> Wish | None:
        if key == "escape":
            self.mode, self._asked, self.message = Mode.BROWSE, None, "nothing was done"
        elif key == "enter" and self._asked is not None:
            text = self._typed.strip()
            if text:
                self.mode, self._asked = Mode.CONFIRM, msgspec.structs.replace(self._asked, text=text)
            else:
                self.mode, self._asked, self.message = Mode.BROWSE, None, "nothing was done"
        elif key == "backspace":
            self._typed = self._typed[:-1]
        elif len(key) == 1 and key.isprintable():
            self._typed += key
        return None

    def _reading(self, key: str) -> Wish | None:
        if key in _MOVES:
            self._text_top = moved(key, self._text_top, len(self._text) - 1)
        else:
            self.mode = Mode.BROWSE
        return None

    def _move(self, key: str) -> None:
        last = len(self.board.rows) - 1 if self.board is not None else 0
        self._at = moved(key, self._at, last)

    def lines(self, width: int, height: int) -> list[Line]:
        """The screen: at most `height` lines. The last one says what is asked, or which keys there are."""
        if width < WIDTH_MIN or height < HEIGHT_MIN:
            return [(Span("too small"),)]
        if self.mode is Mode.READ:
            body: list[Line] = [(Span(text),) for text in self._text[self._text_top : self._text_top + height - 1]]
            return [*body, *[(Span(""),)] * (height - 1 - len(body)), (Span("any key goes back", "dim"),)]
        head: list[Line] = [(Span(self.board.head if self.board is not None else "asking the hub ...", "bold"),)]
        if self.stale:
            head.append((Span("the hub does not answer; waiting for it", "bold red"),))
        if self.board is not None and self.board.idle:
            head.append((Span(f"nothing runs: {self.board.idle}", "bold yellow"),))
        content, cursor = self._body()
        room = height - len(head) - 1
        self._top = _scrolled(self._top, cursor, room, len(content))
        shown = content[self._top : self._top + room]
        return [*head, *shown, *[(Span(""),)] * (room - len(shown)), self._foot()]

    def _body(self) -> tuple[list[Line], int]:
        """All lines of the bands, and the place of the cursor's among them."""
        lines: list[Line] = []
        cursor = number = 0
        for band in self.board.bands if self.board is not None else ():
            lines.append((Span(f"{band.title} {len(band.rows) or ''}".rstrip(), "bold cyan"),))
            widths = _widths(band)
            if band.rows:
                lines.append((Span("  " + _joined([cell.upper() for cell in band.headings], widths), "dim"),))
            else:
                lines.append((Span(f"  {band.empty}", "dim"),))
            for row in band.rows:
                here = number == self._at
                if here:
                    cursor = len(lines)
                text = ("> " if here else "  ") + _joined(row.cells, widths)
                lines.append((Span(text, f"mark:{row.mark}" + (":here" if here else "")),))
                number += 1
        return lines, cursor

    def _foot(self) -> Line:
        if self.mode is Mode.CONFIRM and self._asked is not None:
            wish = self._asked
            what = " ".join(part for part in (wish.verb, wish.id, f"'{wish.text}'" if wish.text else "") if part)
            return (Span(f"{what}? y does it, any other key does not", "bold yellow"),)
        if self.mode is Mode.TYPE and self._asked is not None:
            return (Span(f"{_TYPED[self._asked.verb]}: ", "bold yellow"), Span(self._typed + "_"))
        if self.message:
            return (Span(self.message, "yellow"),)
        row = self.row
        keys = [f"{key} {act.value}" for key, act in _KEYS.items() if row is not None and act in row.acts]
        return (
            Span("  ".join([*keys, "enter why", "w one by one", "l load", "u unload", "? help", "q leave"]), "dim"),
        )


def _widths(band: Band) -> list[int]:
    """Of the columns; the last one takes what is left."""
    table = [band.headings, *(row.cells for row in band.rows)]
    return [min(28, max(len(cells[place]) for cells in table)) for place in range(len(band.headings))]


def _joined(cells: tuple[str, ...] | list[str], widths: list[int]) -> str:
    first = [_fit(cell, width) for cell, width in zip(cells[:-1], widths, strict=False)]
    return "  ".join([*first, cells[-1]]).rstrip()


def _fit(cell: str, width: int) -> str:
    return cell.ljust(width) if len(cell) <= width else cell[: width - 3] + "..."


def _scrolled(top: int, cursor: int, room: int, total: int) -> int:
    """The first line that is shown, so that the cursor is seen and no room is wasted."""
    if cursor < top:
        top = max(0, cursor - 1)
    elif cursor >= top + room:
        top = cursor - room + 1
    return max(0, min(top, total - room))
