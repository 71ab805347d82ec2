"""The picture of a plan: lanes without overlap, nothing lost, in characters and as SVG."""

import itertools
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.gantt import Bar, BarKind, Gantt, HostLanes, Lane, gantt, instant, ticks
from ostler.planning.gantt_svg import svg
from ostler.planning.gantt_text import LANES_MAX, chart, filling, legend, plain_text
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.instances import tiny_instance

SERVING = Serving(memory_bytes=1, load_ms=10, unload_ms=5, slots=2)
SMALL = Instance(
    hosts=(
        PlanHost(name="box", memory_bytes=1, models={"m": SERVING, "n": SERVING}),
        PlanHost(name="cloud", models={"c": Serving(slots=9)}, cloud=True),
        PlanHost(name="spare", memory_bytes=1, models={"m": SERVING}),
    ),
    tasks=(
        PlanTask(id="a", choices=(Choice(models=("m",), duration_ms=50),)),
        PlanTask(id="b", choices=(Choice(models=("m",), duration_ms=30),)),
        PlanTask(id="far", choices=(Choice(models=("c",), duration_ms=100),)),
        PlanTask(id="last", choices=(Choice(models=("n",), duration_ms=25),)),
    ),
)
PLAN = Plan(
    strategy="by hand",
    episodes=(
        Episode(host="box", model="m", load_start_ms=0, ready_ms=10, unload_start_ms=60, unload_end_ms=65),
        Episode(host="box", model="n", load_start_ms=65, ready_ms=75),
    ),
    placements=(
        Placement(task="far", host="cloud", start_ms=0, end_ms=100),
        Placement(task="a", host="box", start_ms=10, end_ms=60),
        Placement(task="b", host="box", start_ms=10, end_ms=40),
        Placement(task="last", host="box", start_ms=75, end_ms=100),
    ),
)


def test_memory_stands_above_the_slots_of_its_host() -> None:
    """One lane for one model at a time, as many lanes of slots as tasks run at once, no lane for idle machines."""
    picture = gantt(SMALL, PLAN)
    box, cloud = picture.hosts

    assert (box.host, [lane.memory for lane in box.lanes]) == ("box", [True, False, False])
    assert [(bar.kind.value, bar.label, bar.start_ms, bar.end_ms) for bar in box.lanes[0].bars] == [
        ("load", "m", 0, 10),
        ("resident", "m", 10, 60),
        ("unload", "m", 60, 65),
        ("load", "n", 65, 75),
        ("resident", "n", 75, 100),
    ]
    assert [[bar.label for bar in lane.bars] for lane in box.lanes[1:]] == [["a", "last"], ["b"]]
    assert (cloud.host, [lane.memory for lane in cloud.lanes]) == ("cloud", [False])


def test_models_get_their_colours_in_the_order_of_their_use() -> None:
    """The same plan always looks the same."""
    assert gantt(SMALL, PLAN).models == ("c", "m", "n")


def test_models_are_called_as_the_pipeline_calls_them() -> None:
    """A short alias is easier to read than the name a model has on its server."""
    picture = gantt(SMALL, PLAN, names={"m": "latest"})

    assert picture.models == ("c", "latest", "n")
    assert picture.hosts[0].lanes[0].bars[0].label == "latest"


def test_two_pictures_can_have_one_scale() -> None:
    """The shorter one ends earlier than its frame."""
    assert gantt(SMALL, PLAN, until_ms=250).makespan_ms == 250


def test_what_happens_after_the_end_is_cut() -> None:
    """A load that the plan no longer needs is not drawn beyond it."""
    late = Episode(host="spare", model="m", load_start_ms=95, ready_ms=105)
    picture = gantt(SMALL, msgspec.structs.replace(PLAN, episodes=(*PLAN.episodes, late)))

    assert [(bar.kind, bar.end_ms) for bar in picture.hosts[2].lanes[0].bars] == [(BarKind.LOAD, 100)]


@given(st.integers(0, 10_000), st.sampled_from(["model-first", "dependency-first", "hybrid"]))
def test_no_bar_hides_another_and_none_is_lost(seed: int, strategy: str) -> None:
    """Over generated plans: each task is one bar, and within a lane each bar ends before the next begins."""
    instance = tiny_instance(seed)
    plan = planned(instance, strategy)
    lanes = [lane for host in gantt(instance, plan).hosts for lane in host.lanes]

    tasks = sorted(bar.label for lane in lanes for bar in lane.bars if bar.kind is BarKind.TASK)
    assert tasks == sorted(row.task for row in plan.placements), "each placement is one bar"
    for lane in lanes:
        for before, after in itertools.pairwise(lane.bars):
            assert before.end_ms <= after.start_ms, "bars of one lane never overlap"


def in_seconds(plan: Plan) -> Plan:
    """The same plan a thousand times as slow."""

    def slow(row: msgspec.Struct) -> dict[str, int]:
        values = ((name, getattr(row, name)) for name in row.__struct_fields__ if name.endswith("_ms"))
        return {name: value * 1000 for name, value in values if value is not None}

    return msgspec.structs.replace(
        plan,
        episodes=tuple(msgspec.structs.replace(row, **slow(row)) for row in plan.episodes),
        placements=tuple(msgspec.structs.replace(row, **slow(row)) for row in plan.placements),
    )


def test_the_chart_in_characters() -> None:
    """What a terminal without colours shows, character by character."""
    assert plain_text(chart(gantt(SMALL, in_seconds(PLAN)), 61)) == [
        "           0              30 s           60 s           90 s",
        "box   mem  /////m------------------------///////n~~~~~~~~~~~~",
        "                [a----------------------]       [last~~~~~~~]",
        "                [b------------]",
        "cloud      [far=============================================]",
    ]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("coloured", [True, False])
def test_a_chart_is_as_wide_as_it_is_told(width: int, coloured: bool) -> None:
    """No row is longer than the terminal, with and without colours."""
    instance = fourteen_agents("map", 4)
    rows = chart(gantt(instance, planned(instance, "hybrid")), width, coloured=coloured)

    assert max(sum(len(piece.text) for piece in row) for row in rows) <= width


def test_a_chart_without_colours_is_ascii() -> None:
    """Every terminal and every log can show it."""
    instance = fourteen_agents("map", 4)
    picture = gantt(instance, planned(instance, "hybrid"))

    assert all(line.isascii() for line in plain_text([*chart(picture, 80), legend(picture)]))


def test_the_legend_tells_fillings_and_hatching() -> None:
    """Which sign is which model, without any colour."""
    assert plain_text([legend(gantt(SMALL, PLAN))]) == [" ==  c    --  m    ~~  n   // load or unload"]


def test_fillings_begin_again_after_the_last() -> None:
    """There are more models than signs; a ninth looks like the first."""
    assert filling(8) == filling(0)


def test_every_bar_has_at_least_one_character() -> None:
    """A hundred short tasks in a row never vanish while there is room for each."""
    bars = tuple(
        Bar(kind=BarKind.TASK, start_ms=index, end_ms=index + 1, label=f"t{index}", model="m") for index in range(30)
    )
    rest = Bar(kind=BarKind.TASK, start_ms=30, end_ms=10_000, label="long", model="m")
    picture = Gantt(
        makespan_ms=10_000,
        hosts=(HostLanes(host="box", lanes=(Lane(memory=False, bars=(*bars, rest)),)),),
        models=("m",),
    )

    (_, row) = chart(picture, 80)
    assert sum(piece.kind is BarKind.TASK for piece in row) == 31
    assert sum(len(piece.text) for piece in row) <= 80


def test_a_host_with_very_many_lanes_is_cut_with_a_word_on_it() -> None:
    """A picture of a hundred lanes shows the first ones and counts the rest."""
    bar = Bar(kind=BarKind.TASK, start_ms=0, end_ms=10, label="t", model="m")
    lanes = tuple(Lane(memory=False, bars=(bar,)) for _ in range(LANES_MAX + 5))
    picture = Gantt(makespan_ms=10, hosts=(HostLanes(host="box", lanes=lanes),), models=("m",))

    lines = plain_text(chart(picture, 80))
    assert len(lines) == LANES_MAX + 2
    assert lines[-1].strip() == "... and 5 more lanes"


@pytest.mark.parametrize(("hosts", "drawn", "said"), [(20, 20, "only memory is drawn:"), (70, 60, "of 60 of 70 hosts")])
def test_of_very_many_lanes_only_memory_is_drawn(hosts: int, drawn: int, said: str) -> None:
    """Which model is where at what time is what a plan decides; thousands of tasks are no picture."""
    stay = Bar(kind=BarKind.RESIDENT, start_ms=0, end_ms=10, label="m", model="m")
    task = Bar(kind=BarKind.TASK, start_ms=0, end_ms=10, label="t", model="m")
    lanes = (Lane(memory=True, bars=(stay,)), *(Lane(memory=False, bars=(task,)) for _ in range(4)))
    made = tuple(HostLanes(host=f"h{number}", lanes=lanes) for number in range(hosts))

    lines = plain_text(chart(Gantt(makespan_ms=10, hosts=made, models=("m",)), 80))
    assert len(lines) == drawn + 2
    assert said in lines[-1]
    assert all("mem" in line for line in lines[1:-1])


@given(st.integers(1, 10**10), st.integers(2, 20))
def test_the_axis_is_round_and_short(makespan_ms: int, at_most: int) -> None:
    """From zero in equal steps, never more than asked for, never a text twice."""
    marks = ticks(makespan_ms, at_most)
    steps = {after - before for (before, _), (after, _) in itertools.pairwise(marks)}

    assert marks[0] == (0, "0")
    assert len(marks) <= at_most + 1
    assert len(steps) <= 1
    assert len({text for _, text in marks}) == len(marks)


@pytest.mark.parametrize(
    ("at_ms", "step_ms", "text"),
    [(0, 1000, "0"), (30_000, 15_000, "30 s"), (60_000, 15_000, "60 s"), (172_800_000, 86_400_000, "2 d")],
)
def test_marks_are_in_the_unit_of_their_step(at_ms: int, step_ms: int, text: str) -> None:
    """Marks of one axis are compared at a glance, so they share a unit."""
    assert instant(at_ms, step_ms) == text


def drawn(*names: str) -> ET.Element:
    return ET.fromstring(svg([(name, gantt(SMALL, PLAN)) for name in names]))  # noqa: S314 -- our own text


NS = "{http://www.w3.org/2000/svg}"


def test_the_drawing_shows_every_bar_with_its_times() -> None:
    """A pointer over a bar gets its name, what it is, and when."""
    told = [title.text for title in drawn("plan").iter(f"{NS}title")]

    assert "load m: 0 min to 0 min 0.01 s" in told
    assert "task last: 0 min 0.075 s to 0 min 0.1 s on n" in told
    assert len(told) == 1 + 4 + 5


def test_the_drawing_stands_alone() -> None:
    """No script, no link, no outside font or picture: it can be put into any page."""
    text = svg([("a", gantt(SMALL, PLAN))])

    assert "<script" not in text
    assert "href" not in text
    assert text.count("http") == 1, "only the name of the format"


def test_two_plans_are_drawn_at_one_scale() -> None:
    """Planned over actual: equal instants stand below each other."""
    longer = msgspec.structs.replace(PLAN, placements=(Placement(task="far", host="cloud", start_ms=0, end_ms=200),))
    root = ET.fromstring(svg([("plan", gantt(SMALL, PLAN)), ("actual", gantt(SMALL, longer))]))  # noqa: S314
    widths = [
        float(group.find(f"{NS}rect").get("width"))  # type: ignore[union-attr,arg-type]
        for group in root.iter(f"{NS}g")
        if group.find(f"{NS}title").text.startswith("task far")  # type: ignore[union-attr]
    ]

    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_nothing_of_a_task_can_break_the_drawing() -> None:
    """Names are text, never marks."""
    task = PlanTask(id='<b>&"', choices=(Choice(models=("c",), duration_ms=100),))
    plan = Plan(strategy="x", episodes=(), placements=(Placement(task=task.id, host="cloud", start_ms=0, end_ms=100),))
    root = ET.fromstring(svg([("<x>", gantt(msgspec.structs.replace(SMALL, tasks=(task,)), plan))]))  # noqa: S314

    assert '<b>&"' in [text.text for text in root.iter(f"{NS}text")]


def test_an_empty_plan_is_drawn_too() -> None:
    """Nothing to do is a picture without bars."""
    empty = Plan(strategy="x", episodes=(), placements=())

    assert ET.fromstring(svg([("empty", gantt(SMALL, empty))])).tag == f"{NS}svg"  # noqa: S314
    assert plain_text(chart(gantt(SMALL, empty), 80)) == ["          0"]
