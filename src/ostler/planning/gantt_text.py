"""A Gantt chart in characters, for terminals with and without colours. Pure.

Each row is a list of pieces; a piece knows its model, so that who prints it can colour it. Without colours the filling
tells the models apart, and the legend says which is which:

    host      0         10 min    20 min
    mac  mem  //quality====////latest------
              [architect==]    [python-----]

A task is `[name===]`, a load or unload is hatched, a model stays as long as its name and filling go on. Everything that
lasts has at least one character. O(bars + lanes x width).
"""

from collections.abc import Sequence

import msgspec

from ostler.planning.gantt import Bar, BarKind, Gantt, HostLanes, Lane, ticks

FILLINGS = "=-~+:*.%"
"""By model, in the order of the legend; more models begin again."""
HATCH, HATCH_PLAIN = "▒", "/"
LANES_MAX, ROWS_MAX = 24, 60
"""More lanes of one host are counted, not drawn: it is a picture, not a listing. Where all lanes together are more than
`ROWS_MAX`, only what is in memory is drawn, which is what a plan decides on; then hosts are counted."""
WIDTH_MIN = 40


class Piece(msgspec.Struct, frozen=True):
    """Some characters of a row. `kind` and `model` are `None` and -1 for what is not a bar."""

    text: str
    kind: BarKind | None = None
    model: int = -1
    """Index into the models of the chart."""


Row = list[Piece]


def chart(picture: Gantt, width: int, *, coloured: bool = False) -> list[Row]:
    """The rows of the chart, axis first. `coloured`: models will be told apart by colour, so nothing is filled in."""
    margin = max([len(host.host) for host in picture.hosts] + [4]) + 6
    margin = min(margin, max(10, width // 4))
    columns = max(WIDTH_MIN, width) - margin
    rows = [_axis(picture, margin, columns)]
    only_memory = sum(min(len(host.lanes), LANES_MAX) for host in picture.hosts) > ROWS_MAX
    hosts = [_memory_lanes(host) for host in picture.hosts] if only_memory else list(picture.hosts)
    shown = hosts[:ROWS_MAX] if only_memory else hosts
    for host in shown:
        for index, lane in enumerate(host.lanes[:LANES_MAX]):
            name = _fit(host.host, margin - 5) if index == 0 else " " * (margin - 5)
            kind = "mem  " if lane.memory else "     "
            rows.append([Piece(name + kind), *_lane(lane, picture, columns, coloured=coloured)])
        if len(host.lanes) > LANES_MAX:
            rows.append([Piece(" " * margin + f"... and {len(host.lanes) - LANES_MAX} more lanes")])
    if only_memory:
        rest = f" of {len(shown)} of {len(hosts)} hosts" if len(hosts) > len(shown) else ""
        said = f"only memory is drawn{rest}: the tasks are too many for lines of their own"
        rows.append([Piece(" " * margin + said)])
    return rows


def _memory_lanes(host: HostLanes) -> HostLanes:
    return HostLanes(host=host.host, lanes=tuple(lane for lane in host.lanes if lane.memory) or host.lanes[:1])


def legend(picture: Gantt, *, coloured: bool = False) -> Row:
    """Which filling (or colour) is which model, and how a load looks."""
    pieces: Row = []
    for index, model in enumerate(picture.models):
        sample = "  " if coloured else filling(index) * 2
        pieces += [Piece(f" {sample} ", BarKind.TASK, index), Piece(f" {model}   ")]
    hatch = HATCH if coloured else HATCH_PLAIN
    return [*pieces, Piece(f"{hatch * 2} load or unload")]


def filling(model: int) -> str:
    """The character that fills the bars of a model."""
    return FILLINGS[model % len(FILLINGS)]


def plain_text(rows: Sequence[Row]) -> list[str]:
    """Rows as lines without colours."""
    return ["".join(piece.text for piece in row).rstrip() for row in rows]


def _fit(text: str, width: int) -> str:
    return (text if len(text) <= width else text[: width - 1] + "~").ljust(width)


def _axis(picture: Gantt, margin: int, columns: int) -> Row:
    line = ""
    for at_ms, text in ticks(picture.makespan_ms, max(2, columns // 10)):
        column = at_ms * columns // max(1, picture.makespan_ms)
        if column >= len(line) and column + len(text) <= columns:
            line = line.ljust(column) + text + " "
    return [Piece(" " * margin + line.rstrip())]


def _lane(lane: Lane, picture: Gantt, columns: int, *, coloured: bool) -> Row:
    pieces: Row = []
    used = 0
    for index, bar in enumerate(lane.bars):
        start = max(used, bar.start_ms * columns // max(1, picture.makespan_ms))
        end = max(start + 1, bar.end_ms * columns // max(1, picture.makespan_ms))
        left = sum(1 for _ in lane.bars[index + 1 :][:columns])
        end = min(end, max(start + 1, columns - min(left, columns - start - 1)))
        if start >= columns:
            break
        if start > used:
            pieces.append(Piece(" " * (start - used)))
        pieces.append(_piece(bar, end - start, picture, coloured=coloured))
        used = end
    return pieces


def _piece(bar: Bar, width: int, picture: Gantt, *, coloured: bool) -> Piece:
    model = picture.models.index(bar.model) if bar.model in picture.models else -1
    fill = filling(model) if model >= 0 and not coloured else " "
    if bar.kind in (BarKind.LOAD, BarKind.UNLOAD):
        text = (HATCH if coloured else HATCH_PLAIN) * width
    elif bar.kind is BarKind.RESIDENT:
        text = _short(bar.label, width).ljust(width, fill)
    elif width < 3:  # noqa: PLR2004 -- no room for two edges and a letter
        text = fill * width
    else:
        text = f"[{_short(bar.label, width - 2).ljust(width - 2, fill)}]"
    return Piece(text, bar.kind, model)


def _short(label: str, width: int) -> str:
    """As much of a name as fits: cut with a mark, or nothing where less than two letters would be left."""
    if len(label) <= width:
        return label
    return label[: width - 1] + "~" if width > 2 else ""  # noqa: PLR2004
