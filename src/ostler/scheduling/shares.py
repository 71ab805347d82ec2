"""How pools divide what they have in common: the slots of one server. Pure: a snapshot in, one pool's new part out.

Every pool says of a resource how much of it there is (`total`; the smallest word holds), what it holds, uses and wants.
Each decides for itself alone, from what all said, and writes nothing but its own row:

* a part grows only into what no other pool holds: so the parts never add up to more than the total, in whatever order
  pools decide, provided that no two write from the same snapshot (the table sees to that)
* who holds more than its fair part begins nothing more beyond that at once, and holds on only to what still runs
* fair is max-min: no pool that wants less than an equal part gets less than it wants; what nobody wants is spread
* what cannot be divided goes round by `turn`, so that with fewer slots than pools each has them for a while

O(pools x log total) for each resource.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one pool says of one resource."""

    total: int
    """How much there is of it for all pools together."""
    held: int = 0
    """The pool's part: it uses no more than this."""
    used: int = 0
    wanted: int = 0
    """What it could use now, with what it uses."""
    step: int = 0
    """Of what can be spent once (`escrow`): the smallest sum that waits for more of it."""
    until_ms: int = 0
    """Of what can be spent once: when its window is over, and the claim with it; 0 = never."""
    takes: bool = True
    """Of what can be spent once: whether its pool takes more of it."""


class Part(NamedTuple):
    """What a pool decides for itself."""

    held: int
    """What is its own: what runs there, and what it may still begin."""
    open: int
    """It begins nothing while so much runs. Less than `held` while it gives back."""


def part(own: str, claims: Mapping[str, Claim], turn: int = 0) -> Part:
    """What a pool is to hold from now on. `claims` are those of all live pools, its own among them."""
    total = min(claim.total for claim in claims.values())
    mine = claims[own]
    fair = fair_parts(total, {name: max(claim.used, claim.wanted) for name, claim in claims.items()}, turn)[own]
    if fair <= mine.held:
        return Part(min(mine.held, max(fair, mine.used)), fair)
    room = total - sum(max(claim.held, claim.used) for name, claim in claims.items() if name != own)
    held = max(mine.held, min(fair, room))
    return Part(held, held)


def fair_parts(total: int, wanted: Mapping[str, int], turn: int = 0) -> dict[str, int]:
    """The total divided among those who want so much; what is left over is spread over all of them. Adds up to it."""
    names = sorted(wanted)
    first = turn % len(names) if names else 0
    order = names[first:] + names[:first]
    got = dict.fromkeys(order, 0)
    left = poured(max(0, total), got, wanted)
    poured(left, got, dict.fromkeys(order, total + left))
    return got


def spread(slots: int, claims: Mapping[str, Claim]) -> dict[str, int]:
    """A pool's open slots over its own endpoints at one server: each keeps what it uses, the rest goes to who wants
    more; where more is used than that, each keeps its fair part of it. Adds up to the slots.
    """
    rest = slots - sum(claim.used for claim in claims.values())
    if rest < 0:
        return fair_parts(slots, {name: claim.used for name, claim in claims.items()})
    more = fair_parts(rest, {name: max(0, claim.wanted - claim.used) for name, claim in claims.items()})
    return {name: claim.used + more[name] for name, claim in claims.items()}


def poured(left: int, got: dict[str, int], wanted: Mapping[str, int]) -> int:
    """Raise all who want more evenly until nothing is left, or nobody does; what is left."""
    while left > 0 and (open_ones := _below(got, wanted)):
        each = max(1, left // len(open_ones))
        for name in open_ones:
            give = min(each, wanted[name] - got[name], left)
            got[name] += give
            left -= give
    return left


def _below(got: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    return [name for name in got if got[name] < wanted[name]]


def lasting(wanted: int, before: int) -> int:
    """What is said to be wanted: a wish fades by halves, so that a pause between two calls does not give all away."""
    return max(wanted, before // 2)


def partners(claims: Iterable[str], own: str) -> tuple[str, ...]:
    """The other pools, by name."""
    return tuple(sorted(name for name in claims if name != own))
