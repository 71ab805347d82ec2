"""A Gantt chart as one SVG document: no scripts, no outside files, readable on light and dark pages. Pure.

Models have colours that people with any colour vision can tell apart; loads and unloads are hatched in the colour of
their model. Every bar tells its name and times when pointed at.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ostler.planning.gantt import Bar, BarKind, Gantt, HostLanes, ticks

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")
WIDTH = 960
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP = 130, 20, 56
LANE_HEIGHT, LANE_GAP, HOST_GAP = 20, 3, 14
LETTER_WIDTH = 6.6
"""Of the 11 px monospaced letters, on the wide side."""
LEGEND_ROW_HEIGHT = 22

STYLE = """
svg { background: #ffffff; }
text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: #222222; }
.title { font-size: 14px; font-weight: bold; }
.host { font-weight: bold; }
.faint { fill: #666666; }
.grid { stroke: #dddddd; stroke-width: 1; }
.bar { stroke: #333333; stroke-width: 0.6; }
.memory { opacity: 0.55; }
.inside { fill: #111111; pointer-events: none; }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c; }
  text { fill: #e6e6e6; }
  .faint { fill: #a0a0a0; }
  .grid { stroke: #3a3d44; }
  .bar { stroke: #16181c; }
  .inside { fill: #111111; }
}
"""


def svg(pictures: Sequence[tuple[str, Gantt]], *, styled: bool = True) -> str:
    """One document with a chart under each heading, all at one scale (plan and actual, strategy and strategy).

    `styled` false: it becomes part of a page, whose style sheet has the looks of the class `gantt`.
    """
    models = tuple(dict.fromkeys(model for _, picture in pictures for model in picture.models))
    end_ms = max((picture.makespan_ms for _, picture in pictures), default=0)
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    ET.SubElement(root, "title").text = "; ".join(heading for heading, _ in pictures)
    if styled:
        ET.SubElement(root, "style").text = STYLE
    else:
        root.set("class", "gantt")
    _patterns(root, models)
    top = 8
    for heading, picture in pictures:
        top = _chart(root, heading, picture, models, top, max(1, end_ms))
    top = _legend(root, models, top + 6)
    root.set("viewBox", f"0 0 {WIDTH} {top}")
    root.set("width", str(WIDTH))
    root.set("height", str(top))
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def _patterns(root: ET.Element, models: Sequence[str]) -> None:
    """For each colour a hatching of its own."""
    store = ET.SubElement(root, "defs")
    for index in range(min(len(models), len(COLOURS))):
        box = {"id": f"hatch{index}", "width": "6", "height": "6", "patternUnits": "userSpaceOnUse"}
        pattern = ET.SubElement(store, "pattern", {**box, "patternTransform": "rotate(45)"})
        ET.SubElement(pattern, "rect", {"width": "6", "height": "6", "fill": "#ffffff"})
        ET.SubElement(pattern, "rect", {"width": "3", "height": "6", "fill": COLOURS[index]})


def _chart(root: ET.Element, heading: str, picture: Gantt, models: Sequence[str], top: int, end_ms: int) -> int:
    """Draw one chart; the height where the next thing begins."""
    _text(root, 12, top + 16, heading, "title")
    floor = top + MARGIN_TOP
    marks = ticks(end_ms, 12)
    bottom = floor + sum(_height(host) for host in picture.hosts)
    for at_ms, word in marks:
        x = _x(at_ms, end_ms)
        ET.SubElement(root, "line", {"class": "grid", "x1": x, "x2": x, "y1": str(floor - 8), "y2": str(bottom)})
        _text(root, x, floor - 14, word, "faint", anchor="middle")
    for host in picture.hosts:
        _text(root, 12, floor + 14, _cut(host.host, MARGIN_LEFT - 50), "host")
        for number, lane in enumerate(host.lanes):
            y = floor + number * (LANE_HEIGHT + LANE_GAP)
            if lane.memory:
                _text(root, MARGIN_LEFT - 8, y + 14, "memory", "faint", anchor="end")
            for bar in lane.bars:
                _bar(root, bar, models, y, end_ms)
        floor += _height(host)
    return bottom + 4


def _height(host: HostLanes) -> int:
    return len(host.lanes) * (LANE_HEIGHT + LANE_GAP) + HOST_GAP


def _bar(root: ET.Element, bar: Bar, models: Sequence[str], y: int, end_ms: int) -> None:
    left, right = float(_x(bar.start_ms, end_ms)), float(_x(bar.end_ms, end_ms))
    width = max(1.0, right - left)
    colour = models.index(bar.model) % len(COLOURS) if bar.model in models else len(COLOURS) - 1
    hatched = bar.kind in (BarKind.LOAD, BarKind.UNLOAD)
    group = ET.SubElement(root, "g")
    told = f"{bar.kind.value} {bar.label}: {_clock(bar.start_ms)} to {_clock(bar.end_ms)}"
    ET.SubElement(group, "title").text = told + (f" on {bar.model}" if bar.kind is BarKind.TASK else "")
    shape = {"x": f"{left:.1f}", "y": str(y), "width": f"{width:.1f}", "height": str(LANE_HEIGHT)}
    fill = f"url(#hatch{colour})" if hatched else COLOURS[colour]
    kind = "bar memory" if bar.kind is BarKind.RESIDENT else "bar"
    ET.SubElement(group, "rect", {"class": kind, **shape, "fill": fill, "rx": "2"})
    label = "" if hatched else _cut(bar.label, width - 8)
    if label:
        _text(group, f"{left + 4:.1f}", y + 14, label, "inside")


def _legend(root: ET.Element, models: Sequence[str], top: int) -> int:
    x = 12.0
    for index, model in enumerate(models):
        width = 34 + len(model) * LETTER_WIDTH
        if x + width > WIDTH and x > 12:  # noqa: PLR2004 -- the left edge
            x, top = 12.0, top + LEGEND_ROW_HEIGHT
        box = {"x": f"{x:.1f}", "y": str(top), "width": "14", "height": "14", "rx": "2"}
        ET.SubElement(root, "rect", {"class": "bar", **box, "fill": COLOURS[index % len(COLOURS)]})
        _text(root, f"{x + 20:.1f}", top + 11, model, "")
        x += width
    box = {"x": "12", "y": str(top + LEGEND_ROW_HEIGHT), "width": "14", "height": "14", "rx": "2"}
    if models:
        ET.SubElement(root, "rect", {"class": "bar", **box, "fill": "url(#hatch0)"})
        _text(root, 32, top + LEGEND_ROW_HEIGHT + 11, "hatched: load or unload", "faint")
    return top + 2 * LEGEND_ROW_HEIGHT + 4


def _x(at_ms: int, end_ms: int) -> str:
    return f"{MARGIN_LEFT + (WIDTH - MARGIN_LEFT - MARGIN_RIGHT) * at_ms / end_ms:.1f}"


def _cut(label: str, width: float) -> str:
    """As much of a name as fits into so many pixels; nothing where that is less than three letters."""
    room = int(width // LETTER_WIDTH)
    if len(label) <= room:
        return label
    return label[: room - 1] + "…" if room > 3 else ""  # noqa: PLR2004


def _clock(at_ms: int) -> str:
    """An exact instant: minutes and seconds."""
    minutes, rest_ms = divmod(at_ms, 60_000)
    return f"{minutes} min" + (f" {rest_ms / 1000:g} s" if rest_ms else "")


def _text(parent: ET.Element, x: float | str, y: int, words: str, kind: str, *, anchor: str = "") -> None:
    place = {"x": str(x), "y": str(y)}
    if kind:
        place["class"] = kind
    if anchor:
        place["text-anchor"] = anchor
    ET.SubElement(parent, "text", place).text = words
