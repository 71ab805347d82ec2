"""What to try after a failed check, and when to stop.

The next model is the one most worth trying *given that the others failed*. Two models share the difficulty of a task to
a degree r: with r they succeed on the same tasks as far as their rates go, else independently:

    P(k succeeds | j failed) = r x max(0, p_k - p_j) / (1 - p_j) + (1 - r) x p_k

where j is the best of those that failed; one that failed n times itself has p_k x (1 - r)^n left. Outcomes of later
tries, once there are some, outweigh this. A check accepts some bad work and rejects some good work; both are part of
what a try is worth:

    worth = value x p x (1 - false_reject) - harm x (1 - p) x false_accept - cost

Stop when nothing is worth more than zero.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from ostler.learning.belief import Belief, shrunk
from ostler.learning.choose import Option
from ostler.learning.verifier import Check

_SURE = 1.0 - 1e-9


class Stakes(msgspec.Struct, frozen=True, kw_only=True):
    """What success is worth and what accepted failure does, in micro-dollars."""

    value_micro_usd: float
    harm_micro_usd: float = 0.0
    shared: float = 0.5
    """How far models fail on the same tasks: 0 = independently, 1 = wholly."""
    weight: float = 8.0
    """For how many outcomes of later tries the formula counts."""


class Failed(NamedTuple):
    """A model that was tried, and its rate at first tries."""

    name: str
    rate: float
    times: int = 1


class Next(NamedTuple):
    """An option after the failures so far."""

    option: Option
    chance: float
    worth_micro_usd: float


def given_failed(rate: float, failed_rate: float, shared: float) -> float:
    """The chance of a model after one of another rate failed.

    >>> given_failed(0.8, 0.5, 1.0), given_failed(0.5, 0.8, 1.0), given_failed(0.5, 0.8, 0.0)
    (0.6000000000000001, 0.0, 0.5)
    """
    failed_rate = min(failed_rate, _SURE)
    return shared * max(0.0, rate - failed_rate) / (1.0 - failed_rate) + (1.0 - shared) * rate


def rank_next(
    options: Sequence[Option],
    failed: Sequence[Failed],
    stakes: Stakes,
    *,
    check: Check | None = None,
    later: Mapping[str, Belief] | None = None,
    again: bool = False,
) -> list[Next]:
    """What is worth trying, the best first; empty = stop. Models that failed are not tried again, unless `again`.

    `later`: what outcomes of later tries say, by model; only their own counts are used.
    """
    check = check or Check()
    tried = {one.name: one.times for one in failed}
    hardest = max((one.rate for one in failed), default=0.0)
    found = []
    for option in options:
        times = tried.get(option.name, 0)
        if times and not again:
            continue
        chance = option.belief.mean
        if times:
            chance *= (1.0 - stakes.shared) ** times
        elif failed:
            chance = given_failed(chance, hardest, stakes.shared)
        known = (later or {}).get(option.name)
        if failed and known is not None:
            chance = shrunk(known.counts, chance, stakes.weight).mean
        gained = stakes.value_micro_usd * chance * (1.0 - check.false_reject)
        harm = stakes.harm_micro_usd * (1.0 - chance) * check.false_accept
        worth = gained - harm - option.cost_micro_usd
        if worth > 0.0:
            found.append(Next(option, chance, worth))
    return sorted(found, key=lambda one: (-one.worth_micro_usd, one.option.cost_micro_usd, one.option.name))
