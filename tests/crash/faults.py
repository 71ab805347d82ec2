"""What goes wrong, in which order, and after how much work: drawn from a seed before anything starts."""

import random
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """A kind of fault."""

    HUB_KILLED = "hub killed"
    WORKER_KILLED = "worker killed"
    POWER_CUT = "all killed at once"
    HUB_FROZEN = "hub frozen beyond its lease"
    WORKER_FROZEN = "worker frozen beyond its session"
    DISK_FULL = "disk full"
    DATABASE_STOPPED = "database stopped at once"
    DATABASE_KILLED = "database killed"


OF_DATABASE = frozenset({Kind.DATABASE_STOPPED, Kind.DATABASE_KILLED})


class Fault(NamedTuple):
    """One fault. `after`: so many more tasks must be acknowledged than before the last; `which` picks among several."""

    kind: Kind
    which: int
    after: int
    lasts_s: float


def drawn(seed: int, tasks: int, kinds: list[Kind], every: int) -> list[Fault]:
    """Faults for so many tasks, one about every `every` tasks; each kind comes, and in a round of its own first."""
    rng = random.Random(f"faults {seed}")
    found: list[Fault] = []
    left = tasks - every
    bag: list[Kind] = []
    while left > 0:
        if not bag:
            bag = rng.sample(kinds, len(kinds))
        after = rng.randint(max(1, every // 2), every + every // 2)
        lasts_s = rng.uniform(5.5, 7.0) if bag[-1] in {Kind.HUB_FROZEN, Kind.WORKER_FROZEN} else rng.uniform(0.0, 2.0)
        found.append(Fault(bag.pop(), rng.randrange(1000), after, round(lasts_s, 2)))
        left -= after
    return found
