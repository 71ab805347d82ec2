"""Least turns of models that exclude each other: finder, checker and trying all orders find the same."""

from itertools import product
from random import Random

import pytest
from msgspec.structs import replace

from ostler.planning.bound_facts import Facts, WrongWitnessError
from ostler.planning.bound_turns import none_cheaper
from ostler.planning.bounds import bounds_of
from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.switching import Turns
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving

NAMES = ("a", "b", "c")
GROUPS = tuple((name,) for name in NAMES)


def box(dice: Random) -> PlanHost:
    models = {name: Serving(load_ms=dice.randint(0, 9), unload_ms=dice.randint(0, 9)) for name in NAMES}
    resident = (dice.choice(NAMES),) if dice.random() < 0.3 else ()
    return PlanHost(name="box", models=models, max_resident=1, resident=resident)


def chained(dice: Random, count: int) -> Instance:
    """Random tasks with random needs on a host that holds one model at a time."""
    tasks: list[PlanTask] = []
    for index in range(count):
        earlier = [task.id for task in tasks]
        choices = tuple(Choice(models=(name,), duration_ms=1) for name in dice.sample(NAMES, dice.choice((1, 1, 1, 2))))
        needs = dice.sample(earlier, min(len(earlier), dice.randint(0, 2)))
        tasks.append(PlanTask(id=f"t{index}", choices=choices, needs=tuple(sorted(needs))))
    return Instance(hosts=(box(dice),), tasks=tuple(tasks))


def by_trying(instance: Instance, longest: int = 6) -> int:
    """The cheapest sequence of turns, by trying every sequence up to a length."""
    host = instance.hosts[0]
    best = 10**9
    for length in range(longest + 1):
        for sequence in product(NAMES, repeat=length):
            turns = [*host.resident, *sequence]
            cost, last = 0, host.resident[0] if host.resident else None
            for name in sequence:
                if name != last:
                    cost += host.models[name].load_ms + (host.models[last].unload_ms if last else 0)
                last = name
            if cost < best and all_done(instance, turns):
                best = cost
    return best


def all_done(instance: Instance, turns: list[str]) -> bool:
    done: set[str] = set()
    for turn in turns:
        for task in instance.tasks:
            if any(turn in choice.models for choice in task.choices) and done.issuperset(task.needs):
                done.add(task.id)
    return len(done) == len(instance.tasks)


def confirmed(instance: Instance, limit_ms: int) -> bool:
    """What the checker says of a claim."""
    host = instance.hosts[0]
    of = {name: at for at, name in enumerate(NAMES)}
    open_to = {
        task.id: frozenset(of[model] for choice in task.choices for model in choice.models) for task in instance.tasks
    }
    loads = [host.models[name].load_ms for name in NAMES]
    unloads = [host.models[name].unload_ms for name in NAMES]
    start = of[host.resident[0]] if host.resident else -1
    return none_cheaper(Facts(instance), open_to, (loads, [*unloads, 0]), start, limit_ms)


@pytest.mark.parametrize("seed", range(25))
def test_finder_and_checker_find_what_trying_all_finds(seed: int) -> None:
    """The least cost of turns is the same by A*, by the checker's own search, and by every sequence in turn."""
    instance = chained(Random(seed), 6)
    least, exact = Turns(Problem(instance), 0, GROUPS).least_ms(10_000)

    assert exact
    assert least == by_trying(instance)
    assert confirmed(instance, least)
    assert not confirmed(instance, least + 1)


@pytest.mark.parametrize("seed", range(15))
def test_the_estimate_of_what_is_left_is_never_too_high(seed: int) -> None:
    """From the start and after every first turn the estimate is at most what the rest really costs."""
    problem = Problem(chained(Random(100 + seed), 8))
    turns = Turns(problem, 0, GROUPS)
    start = turns.reach(0, turns.start)
    least, _ = turns.least_ms(10_000)

    assert turns.estimate(start, turns.start) <= least
    for turn in range(len(GROUPS)):
        done = turns.reach(start, turn)
        assert least <= turns.cost(turns.start, turn) + rest_ms(turns, done, turn)
        assert turns.estimate(done, turn) <= rest_ms(turns, done, turn)


def rest_ms(turns: Turns, done: int, turn: int, depth: int = 7) -> int:
    """The cheapest way to do the rest, by trying all turns that do something."""
    if done == turns.all:
        return 0
    if not depth:
        return 10**9
    costs = [10**9]
    for after in range(len(GROUPS)):
        then = turns.reach(done, after)
        if then != done:
            costs.append(turns.cost(turn, after) + rest_ms(turns, then, after, depth - 1))
    return min(costs)


def test_a_turn_does_all_it_can_reach() -> None:
    """A chain within one model is done in one turn, and stops where another model is needed."""
    rows = [("x", "a", ()), ("y", "a", ("x",)), ("z", "b", ("y",)), ("last", "a", ("z",))]
    tasks = tuple(
        PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=1),), needs=needs) for name, model, needs in rows
    )
    problem = Problem(Instance(hosts=(box(Random(1)),), tasks=tasks))
    turns = Turns(problem, 0, GROUPS)

    first = turns.reach(0, 0)
    second = turns.reach(first, 1)

    assert [problem.names[at] for at in range(4) if first >> at & 1] == ["x", "y"]
    assert [problem.names[at] for at in range(4) if second >> at & 1] == ["x", "y", "z"]
    assert turns.reach(second, 0) == turns.all


def test_too_many_turns_are_told_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that would take too long to follow is refused."""
    monkeypatch.setattr("ostler.planning.bound_turns.TURNS_MAX", 1)

    with pytest.raises(WrongWitnessError, match="too many turns"):
        confirmed(chained(Random(3), 6), 10**6)


def test_turns_count_models_of_which_no_two_fit_beside_one_that_joins_them() -> None:
    """A small model that fits beside both leaves one group; a and b alone still take turns."""
    models = {
        "a": Serving(memory_bytes=6, load_ms=30, unload_ms=20),
        "b": Serving(memory_bytes=6, load_ms=40, unload_ms=10),
        "small": Serving(memory_bytes=3, load_ms=5, unload_ms=5),
    }
    host = PlanHost(name="box", memory_bytes=10, models=models)
    tasks = tuple(PlanTask(id=name, choices=(Choice(models=(name,), duration_ms=100),)) for name in models)
    held = (tasks[0], replace(tasks[1], needs=("a",)), replace(tasks[0], id="again", needs=("b",)), tasks[2])

    found = bounds_of(Instance(hosts=(host,), tasks=held))

    assert found["switching"].bound_ms == 30 + 200 + 20 + 40 + 100 + 10 + 30
