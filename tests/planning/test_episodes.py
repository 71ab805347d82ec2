"""Schedules as explicit episodes: the decoder by hand, and that no policy's plan is lost on the way through it."""

from random import Random

from hypothesis import given, settings

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.episodes import Frame, decode, layout_of, plan_of_layout
from ostler.planning.instance import Instance
from ostler.planning.local_search import critical, improve
from ostler.planning.plan_checker import check_plan
from ostler.simulate.instances import random_instance
from tests.planning.instances import Count, instances, one_host, task

ALTERNATING = Instance(
    hosts=(one_host(large=1, other=1),),
    tasks=(task("a", "large"), task("b", "other"), task("c", "large"), task("d", "other", 1_000, "c")),
)


def test_a_line_of_episodes_is_loaded_in_order_as_memory_allows() -> None:
    """Two models that exclude each other: the second loads when the first has served its tasks and is unloaded."""
    frame = Frame(Compiled(ALTERNATING))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))

    timing = decode(frame, layout)

    assert timing.complete
    assert timing.load_start == [0, 200 + 2_000 + 60]
    assert timing.busy_until == [2_200, -1]
    assert timing.makespan_ms == 200 + 2_000 + 60 + 200 + 2_000


def test_a_layout_that_waits_for_itself_is_incomplete_not_endless() -> None:
    """`d` needs `c`, but its model comes first and would have to leave before `c` can run."""
    frame = Frame(Compiled(ALTERNATING))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))
    layout.lines[0].reverse()

    assert not decode(frame, layout).complete


def test_a_decode_stops_at_its_limit() -> None:
    """What is longer than allowed is not followed to the end."""
    frame = Frame(Compiled(ALTERNATING))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))

    assert not decode(frame, layout, 4_000).complete
    assert decode(frame, layout, 4_460).complete


def test_the_chain_that_delays_the_end_goes_back_through_needs_slots_and_swaps() -> None:
    """From the last task back: its slot, the swap, the task whose end began it, and the one before that."""
    frame = Frame(Compiled(ALTERNATING))
    found = improve(frame, [layout_of(frame, Run(frame.compiled).go().plan("live"))], Count(0), Random(1))

    assert found is not None
    names = [ALTERNATING.tasks[place].id for place in critical(frame, found)]
    assert set(names[:2]) == {"b", "d"}
    assert set(names[2:]) == {"a", "c"}


@given(instances(plain=True))
def test_the_decoder_makes_of_a_plan_one_that_holds(instance: Instance) -> None:
    """Whatever the policy planned, its episodes and order decode to a plan that the checker accepts."""
    compiled = Compiled(instance)
    plan = Run(compiled).go().plan("live")
    frame = Frame(compiled)
    layout = layout_of(frame, plan)

    timing = decode(frame, layout)

    assert timing.complete, "what has been carried out once can be decoded"
    again = plan_of_layout(frame, layout, timing, "search")
    assert not check_plan(instance, again), "the decoded plan can be carried out"
    assert again.loads <= plan.loads, "no load is added"


@settings(max_examples=40)
@given(instances(plain=True))
def test_search_never_makes_a_plan_worse_and_every_result_holds(instance: Instance) -> None:
    """Some hundred changes of any kind from any start: the result is checked, and no worse."""
    compiled = Compiled(instance)
    frame = Frame(compiled)
    layout = layout_of(frame, Run(compiled).go().plan("live"))
    first = improve(frame, [layout], Count(0), Random(0))

    found = improve(frame, [layout], Count(150), Random(1))

    assert first is not None
    assert found is not None
    assert found.value <= first.value, "the best of all seen is kept"
    assert not check_plan(instance, plan_of_layout(frame, found.layout, found.timing, "search")), "and it holds"


def test_search_repeats_exactly_by_its_dice() -> None:
    """Same start, same count, same seed: same plan."""
    frame = Frame(Compiled(random_instance(2, 30, 2, regime="call")))
    layout = layout_of(frame, Run(frame.compiled).go().plan("live"))

    first, second = (improve(frame, [layout], Count(400), Random(7)) for _ in range(2))

    assert first is not None
    assert second is not None
    assert first.timing.starts == second.timing.starts


def test_search_finds_what_the_policy_does_not() -> None:
    """On a tight host of fifty tasks a thousand changes shorten the plan."""
    frame = Frame(Compiled(random_instance(0, 50, 1)))
    run = Run(frame.compiled).go()

    found = improve(frame, [layout_of(frame, run.plan("live"))], Count(1_500), Random(1))

    assert found is not None
    assert found.timing.makespan_ms < 0.95 * run.makespan_ms
