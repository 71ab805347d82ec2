"""The search on episodes: each kind of change keeps a layout whole, and rounds start where they should."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.episodes import Frame, Layout, decode, layout_of
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.local_search import Found, _Search, critical, improve
from ostler.planning.portfolio import best_setting
from ostler.planning.rivals import rival
from ostler.simulate.instances import random_instance
from tests.planning.instances import Count, instances, one_host, task

KINDS = ("_task", "_order", "_trade", "_move", "_split", "_fresh", "_merge")


def start(instance: Instance) -> tuple[Frame, Found]:
    frame = Frame(Compiled(instance))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))
    return frame, Found(frame, layout, decode(frame, layout))


def assert_whole(frame: Frame, layout: Layout) -> None:
    """Every task is in an episode of a line that can serve it, with the duration it has there."""
    lined = [episode for line in layout.lines for episode in line]
    assert len(lined) == len(set(lined)), "an episode is in one line, once"
    for place, line in enumerate(layout.lines):
        assert all(layout.hosts[episode] == place for episode in line), "and that line is its host's"
        floor = sum(layout.initial[episode] for episode in line)
        assert all(layout.initial[episode] for episode in line[:floor]), "what is there at the start is in front"
    for number, episode in enumerate(layout.of):
        assert episode in lined, "no task is in an episode that was dropped"
        way = frame.ways[number].get((layout.hosts[episode], layout.models[episode]))
        assert way is not None, "its episode can serve it"
        assert way[0] == layout.lasts[number], "its duration is that of the place"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(instances(plain=True), st.integers(0, 10**6))
def test_every_change_keeps_a_layout_whole(kind: str, instance: Instance, seed: int) -> None:
    """Whatever is moved, nothing is lost, doubled, or put where it cannot be; and what it came from is untouched."""
    frame, here = start(instance)
    before = here.layout.copy()
    search = _Search(frame, Random(seed))
    change = getattr(search, kind)
    layout = here
    for _ in range(4):
        trial = layout.layout.copy()
        if not change(trial, layout, critical(frame, layout)):
            continue
        assert_whole(frame, trial)
        timing = decode(frame, trial)
        if timing.complete:
            layout = Found(frame, trial, timing)

    assert here.layout.lines == before.lines, "a trial is a copy"
    assert here.layout.of == before.of, "a trial is a copy"


def test_a_merge_saves_a_load() -> None:
    """Two stays of one model become one where nothing forbids it."""
    tasks = (task("a", "small"), task("b", "small", 1_000, "a"))
    frame, here = start(Instance(hosts=(one_host(),), tasks=tasks))
    trial = here.layout.copy()
    second = trial.open(0, "small", 1)
    trial.assign(frame, 1, second)
    split = Found(frame, trial, decode(frame, trial))

    merged = split.layout.copy()
    assert _Search(frame, Random(1))._merge(merged, split, [1])

    assert split.timing.loads == 2
    assert decode(frame, merged).loads == 1


def test_a_task_goes_to_a_cheaper_way_when_the_search_finds_it() -> None:
    """Choices are part of the search: a dear cloud is left again where the local model is as good."""
    cloud = PlanHost(name="sky", models={"cloud": Serving(slots=3)}, cloud=True)
    choices = (
        Choice(models=("small",), duration_ms=100),
        Choice(models=("cloud",), duration_ms=100, cost_micro_usd=10_000),
    )
    instance = Instance(hosts=(one_host(resident=("small",)), cloud), tasks=(PlanTask(id="a", choices=choices),))
    frame = Frame(Compiled(instance))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))
    sky = next(episode for episode, host in enumerate(layout.hosts) if host == 1)
    layout.assign(frame, 0, sky)

    found = improve(frame, [layout], Count(60), Random(1))

    assert found is not None
    assert found.value == (0, 100, 0, 0)


def test_the_cheapest_of_equal_ways_is_the_one_that_counts() -> None:
    """Of two options on one host and model the one that costs less."""
    choices = (
        Choice(models=("small",), duration_ms=100, cost_micro_usd=5, hosts=("box",)),
        Choice(models=("small",), duration_ms=120),
    )
    instance = Instance(hosts=(one_host(),), tasks=(PlanTask(id="a", choices=choices),))

    duration_ms, option = Frame(Compiled(instance)).ways[0][0, "small"]

    assert (duration_ms, option.cost_micro_usd) == (120, 0)


def test_the_search_starts_from_the_best_of_its_starts() -> None:
    """With no effort at all it gives back the better one, whatever their order."""
    compiled = Compiled(random_instance(3, 30, 1))
    frame = Frame(compiled)
    fifo = rival(compiled, "fifo")
    assert fifo is not None
    good, bad = layout_of(frame, best_setting(compiled, Count(60)).run.plan("good")), layout_of(frame, fifo)

    first = improve(frame, [bad, good], Count(0), Random(1))
    second = improve(frame, [good, bad], Count(0), Random(1))

    assert first is not None
    assert second is not None
    assert first.value == second.value
    assert first.timing.makespan_ms < decode(frame, bad).makespan_ms


def test_a_start_that_cannot_be_carried_out_is_left_out() -> None:
    """And with none left there is nothing to improve."""
    tasks = (task("a", "large"), task("b", "other", 1_000, "a"))
    frame, here = start(Instance(hosts=(one_host(),), tasks=tasks))
    stuck = here.layout.copy()
    stuck.lines[0].reverse()

    assert improve(frame, [stuck], Count(9), Random(1)) is None
    assert improve(frame, [stuck, here.layout], Count(9), Random(1)) is not None


def test_the_search_ends_when_it_reaches_the_bound() -> None:
    """Nothing can be better, so no effort is spent."""
    frame, here = start(random_instance(3, 30, 1))
    effort = Count(1_000)

    improve(frame, [here.layout], effort, Random(1), floor_ms=here.timing.makespan_ms)

    assert effort.left >= 998


def test_with_deadlines_the_bound_of_the_makespan_ends_nothing() -> None:
    """Lateness comes first, and may still be better at the same makespan."""
    jobs = (task("a", "small", 50), task("b", "small", 50))
    late = PlanTask(id="c", choices=task("x", "small", 50).choices, deadline_ms=60)
    host = one_host(resident=("small",), small=1)
    frame, here = start(Instance(hosts=(host,), tasks=(*jobs, late)))

    found = improve(frame, [here.layout], Count(400), Random(1), floor_ms=150)

    assert here.value[0] > 0
    assert found is not None
    assert found.value[:2] == (0, 150)


def test_the_chain_is_made_of_tasks_that_meet_end_to_start() -> None:
    """Each task of the chain starts no later than the one before it in the list, back to the start of the plan."""
    frame, here = start(random_instance(2, 60, 2, regime="call"))

    chain = critical(frame, here)

    starts, ends = here.timing.starts, here.timing.ends
    assert ends[chain[0]] == here.timing.makespan_ms
    assert all(ends[earlier] <= starts[later] for later, earlier in pairwise(chain))
    assert starts[chain[-1]] <= here.timing.makespan_ms // 4


@settings(max_examples=25)
@given(instances(plain=True), st.integers(0, 10**6))
def test_dropped_episodes_change_no_instant(instance: Instance, seed: int) -> None:
    """An episode without a task is only a load that nobody needs."""
    frame, here = start(instance)
    trial = here.layout.copy()
    _Search(frame, Random(seed))._fresh(trial, here, [])
    timing = decode(frame, trial)
    tidy = trial.copy()
    tidy.drop_empty()

    again = decode(frame, tidy)

    if timing.complete:
        assert again.complete, "what could be carried out still can"
        assert again.makespan_ms <= timing.makespan_ms, "and no later"
