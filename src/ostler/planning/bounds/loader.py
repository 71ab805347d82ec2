"""Loads: a host loads one model at a time, so models that all must come to it wait for each other.

A task that only one host can run brings its models there. Whichever of a set of models is loaded last, its load ends
after all their loads together, and then its longest task with all that follows is still to come.

    T >= sum of the loads of a set + least over the set of (the most that follows the load)

The best sets take models by what follows their load, most first. Cost: O(n + models log models).
"""

from collections.abc import Sequence

import msgspec

from ostler.planning.bounds.problem import Problem


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """The best set of models of one host."""

    bound_ms: int
    place: int
    models: tuple[str, ...]


def load_bounds(problem: Problem, tails: Sequence[int]) -> list[Loads]:
    """The bound for each place of one host that must load something."""
    follows: dict[tuple[int, str], int] = {}
    for at, musts in enumerate(problem.musts):
        places = {mode.place for mode in problem.modes[at]}
        for model in musts if len(places) == 1 else ():
            key = (min(places), model)
            follows[key] = max(follows.get(key, 0), problem.ms[at] + tails[at])
    made: dict[int, Loads] = {}
    loaded: dict[int, tuple[int, tuple[str, ...]]] = {}
    for (at, model), ms in sorted(follows.items(), key=lambda item: (-item[1], item[0])):
        place = problem.places[at]
        load = place.load_ms(model)
        if not load or place.count > 1:
            continue
        total, models = loaded.get(at, (0, ()))
        loaded[at] = total + load, (*models, model)
        bound = total + load + ms
        if at not in made or bound > made[at].bound_ms:
            made[at] = Loads(bound_ms=bound, place=at, models=loaded[at][1])
    return [made[at] for at in sorted(made)]
