"""Cuts, clocks and turns one by one: what each proves on problems small enough to see why."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.bounds.clock import clock_sums, clock_times
from ostler.planning.bounds.cuts import lifts
from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.residency import find_prices, model_price, priced
from ostler.planning.bounds.switching import Turns, switchings
from ostler.planning.bounds.windows import Price, best_window, pack
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


def task(name: str, model: str, ms: int, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=ms),), needs=needs)


def problem(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (BOX,)) -> Problem:
    return Problem(Instance(hosts=hosts, tasks=tasks))


FAN = [task(name, "b", 100) for name in "uvw"]
JOIN = (*FAN, task("z", "b", 10, "u", "v", "w"))


def test_a_cut_counts_all_that_comes_before() -> None:
    """Three tasks of 100 on one slot come before the last one: its head is their work and the load, not one path."""
    made = problem(*JOIN)

    found = lifts(range(4), made.before, [40, 40, 40, 140], [model_price(made, "b")], made.musts)

    assert [(made.names[row.task], row.value_ms, row.source) for row in found] == [("z", 340, "b")]


def test_a_cut_behind_a_task_counts_no_load() -> None:
    """What comes after a task may find its model loaded: the tail is work alone."""
    made = problem(task("s", "b", 10), *(replace(row, needs=("s",)) for row in FAN))
    price = replace(model_price(made, "b"), loads={})

    found = lifts(reversed(range(4)), made.after, [100, 0, 0, 0], [price], made.musts)

    assert [(made.names[row.task], row.value_ms) for row in found] == [("s", 300)]


def test_a_cut_from_a_threshold_counts_what_starts_after_it() -> None:
    """Work whose heads are at 500 begins there: 500 and three times 100."""
    made = problem(*(replace(row, release_ms=500) for row in FAN), JOIN[-1])

    found = lifts(range(4), made.before, [500, 500, 500, 600], [model_price(made, "b")], made.musts)

    assert [row.value_ms for row in found] == [800]
    assert found[0].after_ms == 500


def test_the_clock_of_a_model_keeps_order_through_other_models() -> None:
    """X and y share no ready time though only b's work joins them; a third task beside them shares theirs."""
    made = problem(task("x", "a", 100), task("m", "b", 7, "x"), task("y", "a", 50, "m"), task("s", "a", 100))

    times = clock_times(made)

    assert (times["a"].ready_ms, times["b"].ready_ms) == (150, 7)


def test_a_model_that_two_hosts_serve_has_no_clock() -> None:
    """Its ready time could be shared between hosts; one bound to a host keeps its clock."""
    other = PlanHost(name="other", memory_bytes=10, models={"a": BOX.models["a"]})
    made = problem(task("x", "a", 100), task("y", "b", 100), hosts=(BOX, other))

    assert sorted(clock_times(made)) == ["b"]


def test_clocks_of_models_that_exclude_each_other_add_up() -> None:
    """A and b never share memory, c fits beside either: a and b add up with their loads and the cheaper unload."""
    made = problem(task("x", "a", 100), task("y", "b", 100), task("z", "c", 100))

    assert [row.bound_ms for row in clock_sums(made, clock_times(made))] == [30 + 100 + 40 + 100 + 10]


def test_turns_take_the_cheapest_order_that_needs_allow() -> None:
    """Free: b first, because unloading it costs less. Held by needs: a, b, a again."""
    narrow = (replace(BOX, max_resident=1),)
    free = problem(task("x", "a", 100), task("y", "b", 100), hosts=narrow)
    held = problem(task("x", "a", 1), task("y", "b", 1, "x"), task("z", "a", 1, "y"), hosts=narrow)

    assert [(row.switching_ms, row.exact) for row in switchings(free, clock_times(free))] == [(40 + 10 + 30, True)]
    assert [row.switching_ms for row in switchings(held, clock_times(held))] == [30 + 20 + 40 + 10 + 30]


def test_what_is_in_memory_at_the_start_has_its_turn_for_free() -> None:
    """A is there: its turn costs no load."""
    made = problem(task("x", "a", 100), task("y", "b", 100), hosts=(replace(BOX, max_resident=1, resident=("a",)),))

    assert [row.switching_ms for row in switchings(made, clock_times(made))] == [20 + 40]


def test_models_that_fit_together_are_one_group() -> None:
    """Where all fit nothing takes turns; c joins a and b, yet those two exclude each other all the same."""
    roomy = problem(task("x", "a", 1), task("y", "c", 1))
    joined = problem(task("x", "a", 1), task("y", "b", 1), task("z", "c", 1))
    apart = problem(task("x", "a", 1), task("y", "b", 1))

    assert switchings(roomy, clock_times(roomy)) == []
    assert [row.groups for row in switchings(joined, clock_times(joined))] == [(("a",), ("b",))]
    assert [row.groups for row in switchings(apart, clock_times(apart))] == [(("a",), ("b",))]


def test_turns_stopped_early_are_still_a_bound() -> None:
    """However few steps the search has, it never claims more than the whole search finds."""
    names = [f"t{index:02}" for index in range(14)]
    chain = [task(name, "abc"[index % 3], 1, *names[max(0, index - 1) : index]) for index, name in enumerate(names)]
    made = problem(*chain, hosts=(replace(BOX, max_resident=1),))
    turns = Turns(made, 0, [("a",), ("b",), ("c",)])

    least, exact = turns.least_ms(10_000)
    early = [turns.least_ms(steps) for steps in range(1, 8)]

    assert exact
    assert all(claim <= least for claim, _ in early)


def test_a_task_that_can_run_elsewhere_asks_for_no_turn() -> None:
    """With a cloud for b the host never needs to swap."""
    cloud = PlanHost(name="sky", cloud=True, models={"b": Serving()})
    made = problem(task("x", "a", 100), task("y", "b", 100), hosts=(replace(BOX, max_resident=1), cloud))

    assert [row.switching_ms for row in switchings(made, clock_times(made))] == [30]


def test_prices_make_a_host_earn_all_the_work() -> None:
    """Any prices prove a bound; the best found prove both works and both loads one after the other."""
    made = problem(task("x", "a", 200), task("y", "b", 100))

    bounds = []
    for prices in find_prices(made):
        price = priced(made, prices)
        bounds.append(best_window(price, [30, 40], [0, 0], made.musts).bound_ms)

    assert max(bounds) == 30 + 200 // 2 + 40 + 100


def test_prices_of_a_cloud_count_as_capacity() -> None:
    """Work that a cloud can take is earned there too: with it the bound is no longer that of the host alone."""
    cloud = PlanHost(name="sky", cloud=True, models={"b": Serving()})
    made = problem(*FAN, hosts=(BOX, cloud))

    assert model_price(made, "b").capacity == 2
    assert best_window(model_price(made, "b"), [0] * 3, [0] * 3, made.musts).bound_ms == 200


durations = st.lists(st.integers(1, 50), min_size=1, max_size=12)


def greedy(work: list[int], slots: int) -> int:
    """Makespan of a schedule that exists: each task to the slot that is free first, longest first."""
    free = [0] * slots
    for ms in sorted(work, reverse=True):
        at = free.index(min(free))
        free[at] += ms
    return max(free)


@given(durations, st.integers(1, 4))
def test_the_pigeonhole_is_below_some_schedule_and_not_below_the_longest(work: list[int], slots: int) -> None:
    """There is always a schedule of the tasks at least as long as what the pigeonhole claims."""
    claim = pack(sorted(work, reverse=True), slots)

    assert max(work) <= claim <= greedy(work, slots), "the pigeonhole lies between the longest task and a schedule"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=10),
    st.integers(1, 3),
)
def test_a_window_is_never_above_a_schedule_that_exists(rows: list[tuple[int, int, int]], slots: int) -> None:
    """Tasks with heads and tails, run one after the other as they become free, end no earlier than any window says."""
    price = Price(source="m", costs={at: ms for at, (ms, _, _) in enumerate(rows)}, capacity=slots, slots=slots)
    found = best_window(price, [row[1] for row in rows], [row[2] for row in rows], [frozenset("m")] * len(rows))
    free, end = [0] * slots, 0
    for ms, head, tail in sorted(rows, key=lambda row: row[1]):
        at = free.index(min(free))
        free[at] = max(free[at], head) + ms
        end = max(end, free[at] + tail)

    assert found.bound_ms <= end, "a schedule exists that is shorter than the window claims"
