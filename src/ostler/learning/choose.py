"""Which model to use: the most expected gain for the money, with room to find out what is not known yet.

    index = value x (mean + optimism x spread) - expected cost          in micro-dollars

The highest index wins, then the cheaper one, then by name. A model is dominated when another one costs no more and even
its lower bound is above this one's upper bound: it gets nothing but its share of exploration. Exploration is a floor:
one task in so many goes to a model drawn evenly among the others, while its own purse has money; one that the purse
cannot pay leaves its share to the best. The draw is an argument and so is the purse; the propensity of what was chosen
is exact, for whoever compares policies off-line.

Who may win and who may be tried can be less than all: a model may be known too little to be chosen for its figures, and
still be worth trying.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from ostler.learning.belief import Belief

_DRAWS = 1 << 53


class Option(NamedTuple):
    """A model that could be used."""

    name: str
    cost_micro_usd: float
    belief: Belief


class Aims(msgspec.Struct, frozen=True, kw_only=True):
    """What a success is worth, and how eager to learn."""

    value_micro_usd: float
    optimism: float = 1.0
    """In standard deviations; 0 = act on the mean."""
    explore: float = 0.02
    """Share of tasks that go to another model than the best one."""
    bound_sigmas: float = 2.0
    """How far a bound is from the mean where models are compared."""


class Ranked(NamedTuple):
    """An option with what speaks for it."""

    option: Option
    worth_micro_usd: float
    """The index."""
    gain_per_usd: float | None
    """Success gained over the cheapest one per dollar more; `None` for those that cost no more than it."""
    dominated_by: str
    propensity: float


class Choice(NamedTuple):
    """What was chosen and why; all options, the best first."""

    chosen: Option
    propensity: float
    explored: bool
    ranked: tuple[Ranked, ...]


def choose(
    options: Sequence[Option],
    aims: Aims,
    *,
    draw: float = 1.0,
    purse_micro_usd: float | None = None,
    winners: Collection[str] | None = None,
    tried: Collection[str] | None = None,
) -> Choice | None:
    """Choose among models; `None` if there are none. `draw`: from 0 up to 1; `purse_micro_usd`: what exploration may
    still spend more than the best choice would, `None` = without limit. `winners`, `tried`: names of those that may be
    chosen for their figures, and of those that may be explored; `None` = all.
    """
    if not options:
        return None
    scored = sorted((-_index(option, aims), option.cost_micro_usd, option.name, option) for option in options)
    inferior = {option.name: dominating(option, options, aims.bound_sigmas) for option in options}
    order = [row[3] for row in scored if not inferior[row[3].name]] + [
        row[3] for row in scored if inferior[row[3].name]
    ]
    best = next((option for option in order if winners is None or option.name in winners), order[0])
    others = [option for option in order if option is not best and (tried is None or option.name in tried)]
    share = aims.explore / len(others) if others else 0.0
    shares = {option.name: share if _affordable(option, best, purse_micro_usd) else 0.0 for option in others}
    chosen = best
    if others and draw < aims.explore:
        drawn = others[min(int(draw / share), len(others) - 1)]
        chosen = drawn if shares[drawn.name] > 0.0 else best
    shares[best.name] = 1.0 - sum(shares.values())
    cheapest = min(options, key=lambda option: (option.cost_micro_usd, -option.belief.mean, option.name))
    ranked = tuple(
        Ranked(
            option,
            _index(option, aims),
            _gain(option, cheapest),
            inferior[option.name],
            shares.get(option.name, 0.0),
        )
        for option in order
    )
    return Choice(chosen, shares[chosen.name], chosen is not best, ranked)


def draw_of(seed: int, name: str) -> float:
    """A draw from 0 up to 1 that is the same for the same seed and task."""
    return (int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()) >> 11) / _DRAWS


def _index(option: Option, aims: Aims) -> float:
    hoped = min(1.0, option.belief.mean + aims.optimism * option.belief.spread)
    return aims.value_micro_usd * hoped - option.cost_micro_usd


def dominating(option: Option, options: Sequence[Option], sigmas: float) -> str:
    """Name of one that is surely better and costs no more; empty = there is none."""
    reach = option.belief.mean + sigmas * option.belief.spread
    for other in sorted(options, key=lambda other: (-other.belief.mean, other.name)):
        low = other.belief.mean - sigmas * other.belief.spread
        if other.name != option.name and other.cost_micro_usd <= option.cost_micro_usd and low > reach:
            return other.name
    return ""


def _affordable(option: Option, best: Option, purse_micro_usd: float | None) -> bool:
    return purse_micro_usd is None or option.cost_micro_usd - best.cost_micro_usd <= purse_micro_usd


def _gain(option: Option, cheapest: Option) -> float | None:
    extra = option.cost_micro_usd - cheapest.cost_micro_usd
    return (option.belief.mean - cheapest.belief.mean) / extra * 1e6 if extra > 0.0 else None
