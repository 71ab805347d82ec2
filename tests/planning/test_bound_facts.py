"""What the checker of certificates reads out of an instance: each figure against one found by hand or by trying all."""

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.bound_facts import (
    Facts,
    Lift,
    Way,
    WrongWitnessError,
    dearest,
    excluded,
    longest_shared,
    together,
)
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving

BOX = PlanHost(
    name="box",
    memory_bytes=10,
    models={
        "a": Serving(memory_bytes=6, load_ms=30, unload_ms=20, slots=2),
        "b": Serving(memory_bytes=6, load_ms=40, unload_ms=10),
        "c": Serving(memory_bytes=3, load_ms=50, unload_ms=10),
    },
)
SKY = PlanHost(name="sky", cloud=True, models={"a": Serving(slots=5)})


def task(name: str, model: str, ms: int, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=ms),), needs=needs)


def facts(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (BOX,)) -> Facts:
    return Facts(Instance(hosts=hosts, tasks=tasks))


def way(*models: str, own: int = 0, host: str = "box") -> Way:
    return Way(host, frozenset(models), 1, own)


def test_optional_tasks_are_read_where_others_need_them() -> None:
    """What a task that must be done needs must be done, however far ahead; nothing else that is optional."""
    rows = (
        replace(task("far", "a", 1), optional=True),
        replace(task("near", "a", 1, "far"), optional=True),
        task("end", "a", 1, "near"),
        replace(task("alone", "a", 1, "end"), optional=True),
    )

    assert list(facts(*rows).needs) == ["far", "near", "end"]


def test_tasks_come_after_what_they_need_whatever_the_order_written() -> None:
    """Forwards each task follows its needs, backwards it follows what needs it."""
    made = facts(task("z", "a", 1, "m"), task("m", "a", 1, "b"), task("b", "a", 1))

    assert list(made.needs) == ["b", "m", "z"]
    assert list(made.follows) == ["z", "m", "b"]


def test_ways_are_choices_on_hosts_that_can_serve_them() -> None:
    """A choice bound to a host is no way elsewhere; a model that no host has is none at all."""
    bound = PlanTask(
        id="x", choices=(Choice(models=("a",), duration_ms=5, hosts=("sky",)), Choice(models=("b",), duration_ms=7))
    )

    made = facts(bound, hosts=(BOX, SKY))

    assert [(row.host, sorted(row.models), row.ms) for row in made.ways["x"]] == [("sky", ["a"], 5), ("box", ["b"], 7)]
    with pytest.raises(WrongWitnessError, match="no host can ever run 'x'"):
        facts(task("x", "gpt", 1))


def test_a_way_that_does_not_fit_beside_what_is_pinned_is_none() -> None:
    """With c pinned in memory only the way on the other host is left."""
    pinned = replace(BOX, memory_bytes=8, models={**BOX.models, "c": Serving(memory_bytes=3, pinned=True)})
    made = facts(task("x", "a", 1), hosts=(replace(pinned, resident=("c",)), replace(BOX, name="other")))

    assert [row.host for row in made.ways["x"]] == ["other"]


def test_models_fit_together_by_memory_and_by_number() -> None:
    """Six and three fit ten; six and six do not; nothing more than one where one may be resident; all on a cloud."""
    assert together(BOX, {"a", "c"})
    assert not together(BOX, {"a", "b"})
    assert not together(BOX, {"a", "c"}, 2)
    assert not together(replace(BOX, max_resident=1), {"a", "c"})
    assert together(SKY, {"a"}, 10**9)


def test_the_gap_on_one_host_is_a_swap() -> None:
    """What excludes each other is unloaded and loaded; what fits, or is the same, leaves no gap."""
    made = facts(task("x", "a", 1))

    assert made.gap_ms(way("a"), way("b")) == 20 + 40
    assert made.gap_ms(way("b"), way("a")) == 10 + 30
    assert made.gap_ms(way("a"), way("c")) == 0
    assert made.gap_ms(way("a"), way("a")) == 0


def test_the_gap_beside_a_heavy_task_is_half_a_swap() -> None:
    """A model that fits beside the other model but not beside the other's task comes after it, or goes before it."""
    made = facts(task("x", "a", 1))

    assert excluded(BOX, {"a"}, way("c", own=2)) == {"a"}
    assert made.gap_ms(way("a"), way("c", own=2)) == 20
    assert made.gap_ms(way("c", own=2), way("a")) == 30
    assert made.gap_ms(way("c", own=2), way("c", own=2)) == 0


def test_a_first_start_waits_for_loads_and_for_what_is_in_the_way() -> None:
    """Loads of several models follow each other; what excludes them is unloaded first."""
    cold, warm = facts(task("x", "a", 1)), facts(task("x", "a", 1), hosts=(replace(BOX, resident=("b",)),))

    assert cold.first_ms(way("a", "c")) == 30 + 50
    assert warm.first_ms(way("a")) == 10 + 30
    assert warm.first_ms(way("b")) == 0
    assert warm.first_ms(way("c", own=2)) == 50
    assert facts(task("x", "a", 1), hosts=(SKY,)).first_ms(way("a", host="sky")) == 0


def test_heads_and_tails_follow_paths() -> None:
    """Load, work, swap, work; and the same from the end."""
    made = facts(task("x", "a", 100), task("y", "b", 50, "x"))

    assert made.earliest((), {}, forwards=True) == {"x": [30], "y": [190]}
    assert made.earliest((), {}, forwards=False) == {"x": [110], "y": [0]}


def test_a_lift_raises_a_head_by_all_the_work_before_it() -> None:
    """Three tasks of b before the last one take their time on one slot, and one load; behind a task no load counts."""
    fan = [task(name, "b", 100, "s") for name in "uvw"]
    made = facts(task("s", "b", 1), *fan, task("z", "b", 10, "u", "v", "w"))

    heads = made.earliest((Lift("head", "z", "b", 0),), {}, forwards=True)
    tails = made.earliest((Lift("tail", "s", "b", 0),), {}, forwards=False)

    assert heads["z"] == [40 + 1 + 300]
    assert tails["s"] == [310]


def test_a_lift_among_none_is_worth_nothing() -> None:
    """A threshold above all that comes before proves nothing, however high it is."""
    made = facts(task("x", "b", 100), task("y", "b", 10, "x"))

    assert made.earliest((Lift("head", "y", "b", 10**6),), {}, forwards=True)["y"] == [140]
    assert made.earliest((Lift("head", "x", "b", 10**6),), {}, forwards=True)["x"] == [40]


def test_a_lift_of_nobody_is_refused() -> None:
    """Lifts name tasks that must be done and one of the two sides."""
    made = facts(task("x", "b", 100))

    for lift in (Lift("head", "nobody", "b", 0), Lift("both", "x", "b", 0)):
        with pytest.raises(WrongWitnessError, match="lifts nothing"):
            made.earliest((lift,), {}, forwards=True)


def test_a_window_by_one_model_counts_its_slots_everywhere() -> None:
    """Five tasks of 10 on two slots of the host; with the cloud's five slots they fit into one round."""
    rows = [task(name, "a", 10) for name in "tuvwx"]
    alone, both = facts(*rows), facts(*rows, hosts=(BOX, SKY))

    assert alone.window_ms("tuvwx", "a", {}, from_start=False) == 30
    assert alone.window_ms("tuvwx", "a", {}, from_start=True) == (50 + 2 * 30) // 2
    assert both.window_ms("tuvwx", "a", {}, from_start=True) == 10
    assert alone.window_ms("tuvwx", "b", {}, from_start=True) == 0


def test_a_window_by_prices_counts_what_memory_lets_be_earned() -> None:
    """With the same price for a and b, which exclude each other, their work adds up; c beside them is free."""
    made = facts(task("x", "a", 100), task("y", "b", 100), task("z", "c", 100))
    prices = {"box": {"a": 1, "b": 2}}

    assert made.window_ms("xyz", "", prices, from_start=False) == (100 + 200) // 2
    assert made.window_ms("xyz", "", prices, from_start=True) == (100 + 200 + 2 * 30 + 2 * 40) // 2
    assert made.window_ms("xyz", "", {}, from_start=True) == 0


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(sizes, st.lists(st.integers(0, 9), min_size=5, max_size=5), st.integers(1, 20), st.none() | st.integers(1, 4))
def test_the_dearest_set_is_the_best_of_all_sets(weights: list[int], worth: list[int], memory: int, most: int) -> None:
    """The knapsack over models agrees with trying every set."""
    models = {f"m{at}": Serving(memory_bytes=size) for at, size in enumerate(weights)}
    host = PlanHost(name="h", memory_bytes=memory, models=models, max_resident=most)
    prices = {name: worth[at] for at, name in enumerate(models)}
    every = [set(chosen) for count in range(len(models) + 1) for chosen in combinations(models, count)]

    best = max(sum(prices[name] for name in chosen) for chosen in every if together(host, chosen))

    assert dearest(host, prices) == best, "no set of models that fits is worth more, and one is worth as much"


@settings(max_examples=80)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_no_assignment_to_slots_beats_the_pigeonhole(durations: list[int], slots: int) -> None:
    """Over every way to give tasks to slots, the longest slot is at least what the pigeonhole says."""
    shortest = min(
        max(sum(ms for ms, slot in zip(durations, given, strict=True) if slot == one) for one in range(slots))
        for given in product(range(slots), repeat=len(durations))
    )

    assert max(durations) <= longest_shared(durations, slots) <= shortest
