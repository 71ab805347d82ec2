"""Item 3, residency: memory holds only some sets of models at a time, and each model must be there for its work.

With a price for a slot-millisecond of each model on each place, a host earns at most the dearest set of models that
fits its memory, and all tasks in their cheapest modes plus one first load of each model that some task cannot do
without must be earned. Any prices prove a bound, whatever found them; the best come from a small linear program (no
solver needed), and where there are too many sets from dual-feasible functions of size: more than half of the memory
counts one, half counts a half. Prices are whole numbers, so the bound is exact arithmetic.
"""

from collections.abc import Iterator, Mapping, Sequence

from ostler.planning.bounds.problem import Place, Problem
from ostler.planning.bounds.simplex import maximise
from ostler.planning.bounds.windows import Price

SETS_MAX = 120
GROUPS_MAX = 60
SCALE = 1_000_000
Prices = Mapping[str, Mapping[str, int]]
"""Whole price of a slot-millisecond, by host (one of each place) and model."""


def model_price(problem: Problem, model: str) -> Price:
    """The price of one model alone: a slot-millisecond costs one, wherever."""
    costs = {at: problem.ms[at] for at, musts in enumerate(problem.musts) if model in musts}
    served = sorted({mode.place for at in costs for mode in problem.modes[at]})
    serving = [(problem.places[at], problem.places[at].host.models[model]) for at in served]
    slots = sum(place.count * row.slots for place, row in serving)
    load = min((place.load_ms(model) * row.slots for place, row in serving), default=0)
    return Price(source=model, costs=costs, capacity=slots, loads={model: load}, slots=slots)


def priced(problem: Problem, prices: Prices) -> Price:
    """What tasks cost and hosts earn under given prices."""
    by_place = [prices.get(place.names[0], {}) for place in problem.places]
    rates: dict[tuple[int, tuple[str, ...]], int] = {}
    costs = {}
    for at, modes in enumerate(problem.modes):
        least = -1
        for mode in modes:
            key = (mode.place, mode.models)
            if key not in rates:
                rates[key] = sum(by_place[mode.place].get(model, 0) for model in mode.models)
            cost = mode.ms * rates[key]
            least = cost if least < 0 else min(least, cost)
        if least:
            costs[at] = least
    capacity = 0
    for place, row in zip(problem.places, by_place, strict=True):
        worth = {model: row.get(model, 0) * place.host.models[model].slots for model in place.used}
        capacity += place.count * dearest(place, worth)
    loads = {}
    for model in problem.models:
        served = [(place, row) for place, row in zip(problem.places, by_place, strict=True) if model in place.used]
        loads[model] = min(
            place.load_ms(model) * place.host.models[model].slots * row.get(model, 0) for place, row in served
        )
    return Price(source="", costs=costs, capacity=capacity, loads=loads)


def dearest(place: Place, worth: Mapping[str, int]) -> int:
    """The most that models in memory together can be worth."""
    held = sum(worth.get(model, 0) for model in place.pinned)
    if place.host.cloud:
        return sum(worth.values())
    free = sorted((model for model in worth if worth[model] and model not in place.pinned), key=lambda m: -worth[m])
    best = held

    def extend(at: int, chosen: frozenset[str], value: int) -> None:
        nonlocal best
        best = max(best, value)
        if at == len(free) or value + sum(worth[model] for model in free[at:]) <= best:
            return
        with_it = chosen | {free[at]}
        if place.fits(with_it):
            extend(at + 1, with_it, value + worth[free[at]])
        extend(at + 1, chosen, value)

    extend(0, frozenset(), held)
    return best


def find_prices(problem: Problem) -> list[Prices]:
    """Prices worth trying, by host name and model."""
    sets = [largest_sets(place) for place in problem.places]
    if sum(map(len, sets)) > SETS_MAX or any(not rows for rows in sets):
        return [_by_size(problem)]
    return [_by_program(problem, sets), _by_size(problem)]


def largest_sets(place: Place) -> list[frozenset[str]]:
    """Sets of models that fit and to which none can be added; nothing when there are too many."""
    if place.host.cloud:
        return [frozenset(place.used)]
    found: list[frozenset[str]] = []
    for chosen in _maximal(place, 0, frozenset()):
        found.append(chosen)
        if len(found) > SETS_MAX:
            return []
    return found


def _maximal(place: Place, at: int, chosen: frozenset[str]) -> Iterator[frozenset[str]]:
    if at == len(place.used):
        if all(model in chosen or not place.fits(chosen | {model}) for model in place.used):
            yield chosen
        return
    with_it = chosen | {place.used[at]}
    if place.fits(with_it):
        yield from _maximal(place, at + 1, with_it)
    if place.used[at] not in place.pinned:
        yield from _maximal(place, at + 1, chosen)


def _by_size(problem: Problem) -> Prices:
    """Dual-feasible prices: a model too large to share counts one for each millisecond in memory, half of it a half."""
    made: dict[str, dict[str, int]] = {}
    for place in problem.places:
        memory, row = place.host.memory_bytes, {}
        for model in place.used:
            serving = place.host.models[model]
            size = serving.memory_bytes
            alone = place.host.max_resident == 1 or (memory is not None and 2 * size > memory)
            half = memory is not None and 2 * size == memory
            row[model] = (2 if alone else 1 if half else 0) * SCALE // serving.slots
        made[place.names[0]] = {} if place.host.cloud else row
    return made


class _Program:
    """Columns by name, rows as they come."""

    def __init__(self) -> None:
        self.columns: dict[tuple[str, int, str], int] = {}
        self.rows: list[tuple[dict[int, float], float]] = []
        self.goal: dict[int, float] = {}

    def column(self, kind: str, at: int, name: str = "") -> int:
        return self.columns.setdefault((kind, at, name), len(self.columns))

    def solve(self) -> list[float]:
        width = len(self.columns)
        rows = [[row.get(column, 0.0) for column in range(width)] for row, _ in self.rows]
        goal = [self.goal.get(column, 0.0) for column in range(width)]
        return maximise(goal, rows, [limit for _, limit in self.rows])


def _by_program(problem: Problem, sets: Sequence[Sequence[frozenset[str]]]) -> Prices:
    """The linear program: earn all work as dearly as can be while all hosts together earn one a millisecond."""
    program = _Program()
    for at, place in enumerate(problem.places):
        for chosen in sets[at]:
            row = {program.column("w", at, m): float(place.host.models[m].slots) for m in sorted(chosen)}
            program.rows.append(({**row, program.column("u", at): -1.0}, 0.0))
    hosts = {program.column("u", at): float(place.count) for at, place in enumerate(problem.places)}
    program.rows.append((hosts, 1.0))
    groups = _groups(problem)
    whole = float(sum(sum(row) for row in groups.values()) or 1)
    for number, (modes, totals) in enumerate(groups.items()):
        pays = program.column("pays", number)
        program.goal[pays] = 1.0
        for (at, models), total in zip(modes, totals, strict=True):
            row = {program.column("w", at, model): -total / whole for model in models}
            program.rows.append(({pays: 1.0, **row}, 0.0))
    for model in problem.models:
        served = [(at, place) for at, place in enumerate(problem.places) if model in place.used]
        if all(place.load_ms(model) for _, place in served):
            pays = program.column("load", 0, model)
            program.goal[pays] = 1.0
            for at, place in served:
                load = place.load_ms(model) * place.host.models[model].slots / whole
                program.rows.append(({pays: 1.0, program.column("w", at, model): -load}, 0.0))
    found = program.solve()
    return {
        place.names[0]: {
            model: round(found[program.column("w", at, model)] * SCALE * 100)
            for model in place.used
            if ("w", at, model) in program.columns
        }
        for at, place in enumerate(problem.places)
    }


def _groups(problem: Problem) -> dict[tuple[tuple[int, tuple[str, ...]], ...], list[int]]:
    """Total duration in each mode of the tasks that have the same modes; the largest groups only."""
    made: dict[tuple[tuple[int, tuple[str, ...]], ...], list[int]] = {}
    for modes in problem.modes:
        key = tuple((mode.place, mode.models) for mode in modes)
        totals = made.setdefault(key, [0] * len(modes))
        for column, mode in enumerate(modes):
            totals[column] += mode.ms
    kept = sorted(made, key=lambda key: (-min(made[key]), key))[:GROUPS_MAX]
    return {key: made[key] for key in kept}
