"""The live policy with many settings, each simulated whole; the best is kept. Any-time.

No single setting wins everywhere: how much coming work protects a resident, how long a queue must be for a replica,
whether urgency or amount decides. And no single order: in short workflows it is chance which of two nearly equal tasks
should go first, so many settings shake the keys of the tasks, each by a fixed sequence of its own.

120 settings. The live one comes first, then those that differ from it least, then shaken keys. A run
is given up as soon as it is longer than what is worth to be kept. Cost: one simulation each, see `engine`.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice, product
from typing import NamedTuple

from ostler.planning.board import NEVER
from ostler.planning.compiled import Compiled, Option
from ostler.planning.engine import Run
from ostler.planning.ports import Effort
from ostler.planning.value import Value, value_of
from ostler.residency.rule import LIVE, Params

WEIGHTS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 0.3), (1.0, 3.0))
THETAS = (math.inf, 1.0, 4.0)
LOOKS = (1.0, 4.0, 0.0, 20.0)
GAMMAS = (LIVE.gamma, 1.0, 4.0)
QUICK = 120
QUICK_POLICIES = 48
SHAKEN = (
    LIVE,
    LIVE._replace(look=4.0),
    LIVE._replace(work_weight=0.3),
    LIVE._replace(urgency_weight=0.0),
    LIVE._replace(look=20.0, work_weight=0.0),
    LIVE._replace(drain=False),
)
"""Settings under which orders are shaken."""
MULTIPLIER, INCREMENT = 6_364_136_223_846_793_005, 1_442_695_040_888_963_407
"""Of a linear congruential sequence modulo 2**64; its upper ten bits are used."""


class Setting(NamedTuple):
    """A setting of the rule and an order of tasks: 0 = by upward rank, others shake that."""

    params: Params
    shake: int = 0


def quick_grid() -> Iterator[Setting]:
    """48 settings of the rule, then 72 shaken orders."""
    yield from (Setting(params) for params in islice(policies(), QUICK_POLICIES))
    yield from _shaken(range(1, QUICK - QUICK_POLICIES + 1))


def policies() -> Iterator[Params]:
    """Settings of the rule, the live one first, then those that differ from it in the fewest ways."""
    axes = (WEIGHTS, THETAS, LOOKS, (True, False), (True, False), GAMMAS, (True, False))
    for places in sorted(product(*(range(len(axis)) for axis in axes)), key=_distance):
        w, t, k, p, b, g, d = places
        urgency, work = WEIGHTS[w]
        flags = {"prefetch": p == 0, "backfill": b == 0, "drain": d == 0}
        yield Params(urgency, work, THETAS[t], LOOKS[k], GAMMAS[g], **flags)


def _distance(places: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    return sum(place > 0 for place in places), sum(places), places


def _shaken(shakes: Iterable[int]) -> Iterator[Setting]:
    for shake in shakes:
        yield Setting(SHAKEN[shake % len(SHAKEN)], shake)


def keys_of(compiled: Compiled, shake: int) -> list[int]:
    """The keys of an order: each rank times a factor between a half and three halves, the same for the same shake.

    Each second round of settings shakes the plain path instead, in which no change counts.
    """
    if not shake:
        return compiled.rank
    state = shake
    keys = []
    for rank in compiled.path if shake // len(SHAKEN) % 2 else compiled.rank:
        state = (state * MULTIPLIER + INCREMENT) % (1 << 64)
        keys.append(rank * (512 + (state >> 54)) // 1024)
    return keys


POOL = 8
LARGE = 400
"""Tasks beyond which a run is given up as soon as it is longer than the best."""


class Tried:
    """What came of some settings: the best run, its setting, and runs of other worth as starts for a search."""

    def __init__(self, run: Run, setting: Setting) -> None:
        self.run = run
        self.setting = setting
        self.tried = 0
        self.pool: list[tuple[Value, Run]] = []
        """The best runs of different worth, at most `POOL`, best first."""

    def add(self, value: Value, run: Run, setting: Setting) -> None:
        """A complete run."""
        if not self.pool or value < self.pool[0][0]:
            self.run, self.setting = run, setting
        if all(value != known for known, _ in self.pool):
            self.pool.append((value, run))
            self.pool.sort(key=_worth)
            del self.pool[POOL:]


def _worth(entry: tuple[Value, Run]) -> Value:
    return entry[0]


def best_setting(
    compiled: Compiled,
    effort: Effort,
    *,
    settings: Iterable[Setting] | None = None,
    options: list[tuple[Option, ...]] | None = None,
    floor_ms: int = 0,
) -> Tried:
    """The best of the settings, the live one first and always. Ends early at a makespan of `floor_ms`."""
    found = Tried(Run(compiled, LIVE, options=options).go(), Setting(LIVE))
    found.tried = 1
    counts = compiled.priced or compiled.dated
    if not found.run.left:
        found.add(value_of(compiled, found.run.ends, found.run.ran, found.run.loads), found.run, Setting(LIVE))
    for setting in quick_grid() if settings is None else settings:
        if effort.spent() or (found.run.makespan_ms <= floor_ms and not counts):
            break
        if setting == Setting(LIVE):
            continue
        found.tried += 1
        limit = NEVER
        if len(found.pool) == POOL and not counts:
            limit = found.pool[-1][1].makespan_ms
        elif found.pool and compiled.size > LARGE and not counts:
            limit = found.run.makespan_ms
        keys = keys_of(compiled, setting.shake)
        run = Run(compiled, setting.params, keys=keys, options=options).go(limit)
        if not run.left:
            found.add(value_of(compiled, run.ends, run.ran, run.loads), run, setting)
    return found


NAMES = {
    "urgency_weight": "urgency",
    "work_weight": "work",
    "theta": "interrupts at",
    "look": "looks ahead",
    "gamma": "replicates at",
}


def told(setting: Setting) -> str:
    """A setting in words: what differs from the live one."""
    parts = [
        f"{NAMES.get(field, field)} {value:g}" if not isinstance(value, bool) else f"no {field}"
        for field, value in setting.params._asdict().items()
        if value != getattr(LIVE, field)
    ]
    if setting.shake:
        parts.append(f"order {setting.shake}")
    return ", ".join(parts) or "live setting"
