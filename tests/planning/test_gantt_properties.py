"""Charts of generated plans: within their frame, at their scale, and with everything that happens in them."""

from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.planning.figures import figures
from ostler.planning.gantt import BarKind, gantt
from ostler.planning.gantt_svg import MARGIN_LEFT, MARGIN_RIGHT, WIDTH, svg
from ostler.planning.gantt_text import chart, legend, plain_text
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.strategies import planned
from ostler.simulate.instances import random_instance, tiny_instance

NS = "{http://www.w3.org/2000/svg}"
STRATEGIES = st.sampled_from(["model-first", "dependency-first", "hybrid"])


@st.composite
def plans(draw: st.DrawFn) -> tuple[Instance, Plan]:
    """A plan of a tiny problem, or of one with fifty tasks."""
    seed = draw(st.integers(0, 5_000))
    if draw(st.integers(0, 4)):
        instance = tiny_instance(seed)
    else:
        instance = random_instance(seed, 50, draw(st.integers(1, 3)), regime=draw(st.sampled_from(["agent", "call"])))
    return instance, planned(instance, draw(STRATEGIES))


@given(plans())
@settings(deadline=None)
def test_lanes_are_as_many_as_run_at_once(made: tuple[Instance, Plan]) -> None:
    """A host has a lane for each task that runs at the busiest instant, and not one more."""
    instance, plan = made
    for host in gantt(instance, plan).hosts:
        rows = [row for row in plan.placements if row.host == host.host]
        starts = [row.start_ms for row in rows]
        busiest = max((sum(row.start_ms <= at < row.end_ms for row in rows) for at in starts), default=0)
        assert len([lane for lane in host.lanes if not lane.memory]) == busiest


@given(plans())
@settings(deadline=None)
def test_memory_lanes_show_every_stay_whole(made: tuple[Instance, Plan]) -> None:
    """Load, stay and unload of an episode follow each other; their lengths are those of the plan."""
    instance, plan = made
    bars = [bar for host in gantt(instance, plan).hosts for lane in host.lanes if lane.memory for bar in lane.bars]
    loading = sum(bar.end_ms - bar.start_ms for bar in bars if bar.kind is BarKind.LOAD)
    swapping = loading + sum(bar.end_ms - bar.start_ms for bar in bars if bar.kind is BarKind.UNLOAD)

    assert swapping == figures(instance, plan).swap_ms, "the hatched time is the time of swaps"
    assert {bar.label for bar in bars} <= {row.model for row in plan.episodes}


@given(plans(), st.integers(40, 220), st.booleans())
@settings(deadline=None)
def test_a_chart_stays_within_its_width(made: tuple[Instance, Plan], width: int, coloured: bool) -> None:
    """No row is wider than the terminal, and only what is coloured needs more than ASCII."""
    picture = gantt(*made)
    lines = plain_text(chart(picture, width, coloured=coloured))

    assert max(map(len, lines)) <= width
    assert coloured or all(line.isascii() for line in [*lines, *plain_text([legend(picture)])])


@given(plans())
@settings(deadline=None)
def test_where_there_is_room_every_name_can_be_read(made: tuple[Instance, Plan]) -> None:
    """On a line wide enough for the shortest bar, each task stands with its name."""
    instance, plan = made
    shortest = min(row.end_ms - row.start_ms for row in plan.placements)
    width = 40 + 8 * plan.makespan_ms // shortest
    if width > 4_000 or len(plan.placements) > 9:
        return
    text = "\n".join(plain_text(chart(gantt(instance, plan), width)))

    assert all(row.task in text for row in plan.placements)


@given(plans())
@settings(deadline=None)
def test_a_drawing_holds_every_bar_within_its_frame(made: tuple[Instance, Plan]) -> None:
    """Each bar of the picture is one rectangle between the margins, not beyond the lower edge."""
    instance, plan = made
    picture = gantt(instance, plan)
    root = ET.fromstring(svg([("plan", picture)]))  # noqa: S314 -- our own text
    bars = [group.find(f"{NS}rect") for group in root.iter(f"{NS}g")]
    height = float(root.get("height", "0"))

    assert len(bars) == sum(len(lane.bars) for host in picture.hosts for lane in host.lanes)
    for bar in bars:
        assert bar is not None
        left, width = float(bar.get("x", "0")), float(bar.get("width", "0"))
        assert left >= MARGIN_LEFT - 0.1, "nothing begins before the start"
        assert left + width <= WIDTH - MARGIN_RIGHT + 1.1, "nothing ends after the makespan"
        assert width >= 1, "nothing is invisible"
        assert float(bar.get("y", "0")) + float(bar.get("height", "0")) <= height, "nothing lies below the picture"


@given(plans())
@settings(deadline=None)
def test_the_same_plan_is_drawn_alike(made: tuple[Instance, Plan]) -> None:
    """Byte for byte, so that a drawing can be kept under version control."""
    instance, plan = made

    assert svg([("plan", gantt(instance, plan))]) == svg([("plan", gantt(instance, plan))])


@given(plans(), plans())
@settings(deadline=None)
def test_models_keep_their_colours_in_a_common_drawing(
    first: tuple[Instance, Plan], second: tuple[Instance, Plan]
) -> None:
    """Planned above actual: one legend, and a model has one colour in both."""
    root = ET.fromstring(svg([("one", gantt(*first)), ("two", gantt(*second))]))  # noqa: S314
    colours: dict[str, set[str]] = {}
    for group in root.iter(f"{NS}g"):
        title, bar = group.find(f"{NS}title"), group.find(f"{NS}rect")
        assert title is not None
        assert bar is not None
        told = title.text or ""
        if told.startswith("resident "):
            colours.setdefault(told.split(":")[0], set()).add(bar.get("fill", ""))

    assert all(len(found) == 1 for found in colours.values())
