"""Parts of the bounds against answers found by trying everything, and bounds against plans made by others."""

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds import bounds_of, certify
from ostler.planning.bounds.cuts import lifts
from ostler.planning.bounds.paths import Paths
from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.residency import model_price
from ostler.planning.bounds.simplex import maximise
from ostler.planning.bounds.windows import Price, best_window
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first, hybrid, model_first
from ostler.simulate.fourteen_agents import READINGS, Reading, fourteen_agents
from ostler.simulate.instances import Memory, Regime, Shape, random_instance
from tests.planning.oracle import shortest_ms

Row = tuple[int, int, int]
rows = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5)


def shortest_schedule(work: list[Row], slots: int) -> int:
    """Least end of all tails over every order in which slots are filled: head, duration, tail on equal slots."""
    best = 10**9
    for order in permutations(work):
        free, end = [0] * slots, 0
        for ms, head, tail in order:
            at = free.index(min(free))
            free[at] = max(free[at], head) + ms
            end = max(end, free[at] + tail)
        best = min(best, end)
    return best


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 3))
def test_no_window_is_above_the_best_schedule(work: list[Row], slots: int) -> None:
    """Of all orders none beats the window, whatever heads, tails and slots."""
    price = Price(source="m", costs={at: row[0] for at, row in enumerate(work)}, capacity=slots, slots=slots)
    heads, tails = [row[1] for row in work], [row[2] for row in work]

    claim = best_window(price, heads, tails, [frozenset("m")] * len(work)).bound_ms

    assert claim <= shortest_schedule(work, slots), "a schedule exists that is shorter than the window"


def test_a_window_is_often_exact() -> None:
    """Without heads and tails on one slot a window is the sum of the work."""
    price = Price(source="m", costs={0: 5, 1: 7, 2: 1}, capacity=1, slots=1)

    assert best_window(price, [0] * 3, [0] * 3, [frozenset("m")] * 3).bound_ms == 13


numbers = st.integers(0, 9)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(numbers, numbers),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    st.lists(st.integers(1, 20), min_size=4, max_size=4),
)
def test_the_linear_program_is_as_good_as_the_best_corner(
    goal: tuple[int, int], lines: list[tuple[int, int]], limits: list[int]
) -> None:
    """In two dimensions the best corner is found by crossing all lines; the program finds one as good."""
    bounds = [(*line, limit) for line, limit in zip(lines, limits, strict=False)]
    edges = [*bounds, (1, 0, 0), (0, 1, 0)]
    corners = [(0.0, 0.0)]
    for (a, b, c), (d, e, f) in combinations(edges, 2):
        if det := a * e - b * d:
            corners.append(((c * e - b * f) / det, (a * f - c * d) / det))
    inside = [
        (x, y) for x, y in corners if x >= -1e-9 and y >= -1e-9 and all(a * x + b * y <= c + 1e-9 for a, b, c in bounds)
    ]
    best = max(goal[0] * x + goal[1] * y for x, y in inside)

    x, y = maximise(goal, lines, limits[: len(lines)])

    assert all(a * x + b * y <= c + 1e-4 for a, b, c in bounds), "what is found is allowed"
    assert goal[0] * x + goal[1] * y == pytest.approx(best, abs=1e-3), "and as good as the best corner"


joins = st.lists(st.tuples(st.integers(1, 6), st.sampled_from("ab")), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(joins, st.integers(1, 2), st.integers(0, 4))
def test_no_cut_is_above_the_earliest_start(work: list[tuple[int, str]], slots: int, load_ms: int) -> None:
    """What a cut says of a last task is at most the shortest plan of all that comes before it."""
    models = {name: Serving(memory_bytes=6, load_ms=load_ms, unload_ms=1, slots=slots) for name in "ab"}
    host = PlanHost(name="box", memory_bytes=10, models=models)
    before = [
        PlanTask(id=f"t{at}", choices=(Choice(models=(model,), duration_ms=ms),)) for at, (ms, model) in enumerate(work)
    ]
    last = PlanTask(id="z", choices=(Choice(models=("a",), duration_ms=1),), needs=tuple(task.id for task in before))
    problem = Problem(Instance(hosts=(host,), tasks=(*before, last)))
    prices = [model_price(problem, model) for model in problem.models]

    found = lifts(range(len(problem.names)), problem.before, Paths(problem).heads, prices, problem.musts)
    earliest = shortest_ms(Instance(hosts=(host,), tasks=tuple(before)))

    tops = [row.value_ms for row in found if problem.names[row.task] == "z"]
    assert all(value <= earliest for value in tops), "all that comes before can be done by then"


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("regime", ["agent", "call"])
@pytest.mark.parametrize("shape", ["layered", "jobs"])
@pytest.mark.parametrize("memory", ["tight", "mixed"])
def test_no_plan_of_any_strategy_is_below_a_bound(hosts: int, regime: Regime, shape: Shape, memory: Memory) -> None:
    """Plans of sixty tasks by three strategies pass the checker, and none is shorter than any certificate."""
    instance = random_instance(5, 60, hosts, regime=regime, shape=shape, memory=memory)
    made = bounds_of(instance)

    for plan in (model_first(instance), dependency_first(instance), hybrid(instance)):
        assert check_plan(instance, plan) == ()
        for certificate in made.values():
            assert certificate.bound_ms <= plan.makespan_ms, f"{plan.strategy} beats a {certificate.kind}"


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("slots", [1, 2, 3, 4, 5, 9])
def test_no_plan_of_the_fourteen_agents_is_below_its_bound(reading: Reading, slots: int) -> None:
    """In every reading and with any slots the three strategies stay above the certificate, which is confirmed."""
    instance = fourteen_agents(reading, slots)
    certificate = certify(instance)

    assert check_certificate(instance, certificate) == ""
    for plan in (model_first(instance), dependency_first(instance), hybrid(instance)):
        assert plan.makespan_ms >= certificate.bound_ms
        assert certificate.gap(plan.makespan_ms) >= 0


@pytest.mark.parametrize("reading", READINGS)
def test_more_slots_never_raise_the_bound_of_the_fourteen_agents(reading: Reading) -> None:
    """What more slots allow, fewer slots do not forbid to bound: the certificates fall with the slots."""
    bounds = [certify(fourteen_agents(reading, slots)).bound_ms for slots in (1, 2, 3, 4, 5, 9, 14)]

    assert bounds == sorted(bounds, reverse=True)
