"""What goes to standard output: JSON exactly as the hub says it, or tables for people.

Tables are drawn by rich on a terminal and as aligned columns elsewhere, so that `ostler tasks list | grep` sees whole
lines and rich is not loaded for nothing. Text from tasks is shown without its control characters: an answer of a model
must not steer the terminal.
"""

import re
import sys
from collections.abc import Iterable, Sequence

import click
import msgspec

CELL_WIDTH_MAX = 60
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What steers a terminal, and what shows text in another order than it is in."""

Row = Sequence[str]

_STYLES = {
    "running": "cyan",
    "assigned": "cyan",
    "evaluating": "cyan",
    "succeeded": "green",
    "up": "green",
    "available": "green",
    "retry_wait": "yellow",
    "unknown": "yellow",
    "rate_limited": "yellow",
    "needs_human": "bold yellow",
    "failed": "red",
    "dead_letter": "red",
    "expired": "red",
    "down": "red",
    "unavailable": "red",
    "key_invalid": "red",
    "cancelled": "dim",
}


def print_json(view: object) -> None:
    """One view as one line of JSON."""
    click.echo(msgspec.json.Encoder(order="deterministic").encode(view).decode())


def clean(text: str) -> str:
    """Text without control characters, line breaks and tabs kept.

    >>> clean("a" + chr(27) + "[2Jb")
    'a[2Jb'
    """
    return _CONTROL.sub("", text)


def line(text: str, width: int = CELL_WIDTH_MAX) -> str:
    """Text on one line, cut with a mark.

    >>> line("two" + chr(10) + "lines"), line("abcdef", 4)
    ('two lines', 'a...')
    """
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def print_table(columns: Row, rows: Iterable[Row], *, empty: str) -> None:
    """Rows under their headings, or one sentence when there are none."""
    filled = [[line(cell) for cell in row] for row in rows]
    if not filled:
        click.echo(empty)
    elif sys.stdout.isatty():
        _print_rich(columns, filled)
    else:
        for text in aligned(columns, filled):
            click.echo(text)


def aligned(columns: Row, rows: Sequence[Row]) -> list[str]:
    """Headings and rows in columns, two spaces apart.

    >>> aligned(("id", "state"), [("t-1", "queued"), ("t-long", "")])
    ['ID      STATE', 't-1     queued', 't-long']
    """
    table = [[heading.upper() for heading in columns], *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned; pairs without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {clean(value)}")


def _print_rich(columns: Row, rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = fitted(columns, rows, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, heading in enumerate(columns):
        width = widths[index] if widths else None
        table.add_column(heading.upper(), no_wrap=index == 0, width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    console.print(table)


def fitted(columns: Row, rows: Sequence[Row], width: int) -> list[int]:
    """How wide each column is on a terminal. Empty: there is no good way, and all of them give way alike.

    The first column is whole, and so are those of single words, because nobody can copy an address out of three lines.
    The others give way from the widest down, no further than to their longest word.

    >>> fitted(("hub", "role", "address"), [("den", "stands by", "http://den.lan:7433")], 32)
    [3, 6, 19]
    """
    table = [columns, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    least = [
        size if index == 0 or not any(" " in row[index] for row in rows) else _longest_word(row[index] for row in table)
        for index, size in enumerate(widths)
    ]
    room = width - 2 * (len(columns) - 1)
    if sum(least) > room:
        return []
    while sum(widths) > room:
        widest = max((index for index, size in enumerate(widths) if size > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _longest_word(texts: Iterable[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)


def style_of(cell: str) -> str:
    """Colour of a state; other text has none."""
    return _STYLES.get(cell.partition(" ")[0], "")
