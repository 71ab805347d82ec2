"""Item 5, model clock: let the clock of a model tick only while it is ready on its one host.

On that clock its tasks keep their order, also the order that comes through tasks of other models, and have as many
slots as the model has there. Thus whatever bounds them on the clock bounds the time for which the model must be ready.
Times of models that do not fit together add up: with a weight for each model the host earns at most the weight of the
heaviest set each millisecond, and every model's ready time, first load and last unload must be earned; only the unloads
of one set that fits together, those in memory at the end, may come too late.

Holds for a model whose tasks can run on one host only; tasks that can do without it take no time on its clock.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ostler.planning.bounds.problem import Place, Problem
from ostler.planning.bounds.residency import SCALE, dearest, largest_sets
from ostler.planning.bounds.simplex import maximise
from ostler.planning.bounds.windows import Price, best_window


class ClockTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long a model must be ready, with the window on its clock that proves it."""

    model: str
    place: int
    ready_ms: int
    after_ms: int
    before_ms: int


class ClockSum(msgspec.Struct, frozen=True, kw_only=True):
    """Ready times of the models of one place, weighed against what fits together."""

    bound_ms: int
    place: int
    weights: Mapping[str, int]


def clock_times(problem: Problem) -> dict[str, ClockTime]:
    """Least ready time of each model that is bound to one host."""
    made = {}
    for model in problem.models:
        mine = {at: problem.ms[at] for at, musts in enumerate(problem.musts) if model in musts}
        served = {mode.place for at in mine for mode in problem.modes[at]}
        place = min(served)
        if len(served) > 1 or problem.places[place].count > 1 or problem.places[place].host.cloud:
            continue
        order = range(len(problem.names))
        heads = _ticks(order, problem.before, mine)
        tails = _ticks(reversed(order), problem.after, mine)
        slots = problem.places[place].host.models[model].slots
        price = Price(source=model, costs=mine, capacity=slots, slots=slots)
        window = best_window(price, heads, tails, problem.musts)
        made[model] = ClockTime(
            model=model,
            place=place,
            ready_ms=window.bound_ms,
            after_ms=window.after_ms,
            before_ms=window.before_ms,
        )
    return made


def clock_sums(problem: Problem, times: Mapping[str, ClockTime]) -> list[ClockSum]:
    """For each place that has clocks the best weights found."""
    return [
        _sum(problem.places[at], at, [row for row in times.values() if row.place == at])
        for at in sorted({row.place for row in times.values()})
    ]


def _sum(place: Place, at: int, times: Sequence[ClockTime]) -> ClockSum:
    names = sorted(row.model for row in times)
    serving = place.host.models
    unloads = {name: 0 if serving[name].pinned else serving[name].unload_ms for name in names}
    needed = {row.model: row.ready_ms + place.load_ms(row.model) + unloads[row.model] for row in times}
    tried = [{name: SCALE} for name in names]
    if sets := largest_sets(place):
        scale = max(needed.values()) or 1
        width = len(names)
        together = [[float(name in chosen) for name in names] for chosen in sets]
        rows = [[*row, 0.0] for row in together]
        rows += [
            [*(share * unloads[name] / scale for share, name in zip(row, names, strict=True)), -1.0] for row in together
        ]
        goal = [*(needed[name] / scale for name in names), -1.0]
        found = maximise(goal, rows, [1.0] * len(sets) + [0.0] * len(sets))[:width]
        tried.append({name: round(value * SCALE) for name, value in zip(names, found, strict=True)})
    best = ClockSum(bound_ms=0, place=at, weights={})
    for weights in tried:
        earned = dearest(place, weights)
        late = dearest(place, {name: weight * unloads[name] for name, weight in weights.items()})
        if earned:
            bound = -(-(sum(weights[name] * needed[name] for name in weights) - late) // earned)
            if bound > best.bound_ms:
                best = ClockSum(bound_ms=bound, place=at, weights=weights)
    return best


def _ticks(order: Iterable[int], before: Sequence[Sequence[int]], mine: Mapping[int, int]) -> list[int]:
    """Least reading of the clock when each task can start."""
    ticks = [0] * len(before)
    for at in order:
        ticks[at] = max((ticks[need] + mine.get(need, 0) for need in before[at]), default=0)
    return ticks
