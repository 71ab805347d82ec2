"""The live policy with many settings, each simulated whole; the best is kept. Any-time.

No single setting wins everywhere: how much coming work protects a resident, how long a queue must be for a replica,
whether urgency or amount decides. The grid starts with the live setting and then varies one thing at a time, so that a
short effort sees the variety first. A setting is given up as soon as its run is longer than the best so far.

Quick: 120 settings; full: 480. Cost: one simulation each, see `engine`.
"""

import math
from collections.abc import Iterator
from itertools import product

from ostler.planning.board import NEVER
from ostler.planning.compiled import Compiled, Option
from ostler.planning.engine import Run
from ostler.planning.ports import Effort
from ostler.planning.value import Value, value_of
from ostler.residency.rule import LIVE, Params

WEIGHTS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 0.3), (1.0, 3.0))
THETAS = (math.inf, 1.0, 4.0)
LOOKS = (1.0, 0.0, 4.0, 20.0)


def quick_grid() -> Iterator[Params]:
    """120 settings, the live one first, then those that differ from it least."""
    yield from _grid(backfills=(True,), gammas=(LIVE.gamma,))


def full_grid() -> Iterator[Params]:
    """480 settings: the quick ones first, then those without back-fill, eager and reluctant about replicas."""
    yield from quick_grid()
    yield from _grid(backfills=(False,), gammas=(LIVE.gamma,))
    yield from _grid(backfills=(True,), gammas=(1.0, 4.0))


def _grid(backfills: tuple[bool, ...], gammas: tuple[float, ...]) -> Iterator[Params]:
    axes = (WEIGHTS, THETAS, LOOKS, (True, False), backfills, gammas)
    for places in sorted(product(*(range(len(axis)) for axis in axes)), key=_distance):
        w, t, k, p, b, g = places
        urgency, work = WEIGHTS[w]
        yield Params(urgency, work, THETAS[t], LOOKS[k], gammas[g], prefetch=(True, False)[p], backfill=backfills[b])


def _distance(places: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    return sum(place > 0 for place in places), sum(places), places


def best_setting(
    compiled: Compiled,
    effort: Effort,
    *,
    settings: Iterator[Params] | None = None,
    options: list[tuple[Option, ...]] | None = None,
    keys: list[int] | None = None,
) -> tuple[Run, Params, int]:
    """The best run, its setting, and how many were tried. The live setting is always tried."""
    best: Run | None = None
    best_value: Value | None = None
    best_params = LIVE
    tried = 0
    for params in quick_grid() if settings is None else settings:
        if best is not None and effort.spent():
            break
        tried += 1
        limit = NEVER if best is None or best_value is None or compiled.priced or compiled.dated else best.makespan_ms
        run = Run(compiled, params, keys=keys, options=options).go(limit)
        if run.left:
            continue
        value = value_of(compiled, run.ends, run.ran, run.loads)
        if best_value is None or value < best_value:
            best, best_value, best_params = run, value, params
    return (best if best is not None else Run(compiled, LIVE, options=options).go()), best_params, tried


def told(params: Params) -> str:
    """A setting in words: what differs from the live one."""
    names = {
        "urgency_weight": "urgency",
        "work_weight": "work",
        "theta": "interrupts at",
        "look": "looks ahead",
        "gamma": "replicates at",
    }
    parts = [
        f"{names.get(field, field)} {value:g}" if not isinstance(value, bool) else f"{'' if value else 'no '}{field}"
        for field, value in params._asdict().items()
        if value != getattr(LIVE, field)
    ]
    return ", ".join(parts) or "live setting"
