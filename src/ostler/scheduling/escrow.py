"""How pools divide what can be spent once: what is left of a limit that they have together.

A pool's claim says what it has spent (`used`, what its attempts hold among it), up to where it may come (`held`), and
where it would like to come (`wanted`). It spends beyond `held` only by what an attempt takes beyond its estimate. Each
pool decides for itself alone and writes nothing but its own claim, as with slots (`shares`):

* it goes up only into what no other pool has spent or holds: so all together never come to more than the total
* it goes down to what it has spent and its share of what is left, at once: nothing that is held for an attempt is more
  than an estimate that was counted already
* what is left goes first to each that waits for a sum that is indivisible (`step`), as far as that suffices, whose
  turn it is first; then max-min to those who want more; what nobody wants is spread over all
* a pool that died, or takes no more, keeps what it holds until its window is over: what it has spent of that, its next
  leader will say

O(pools x log total) for each limit.
"""

from collections.abc import Collection, Mapping

from ostler.scheduling.shares import Claim, poured


def ceiling(own: str, claims: Mapping[str, Claim], takers: Collection[str], turn: int = 0) -> int:
    """What a pool may come to from now on. `claims` are those of all pools, its own among them; `takers`: the pools
    that live and take more, itself among them. Their smallest word of the total holds.
    """
    total = min(claims[name].total for name in takers)
    mine = claims[own]
    live = {name: claims[name] for name in takers}
    gone = sum(max(claim.held, claim.used) for name, claim in claims.items() if name not in live)
    left = total - gone - sum(claim.used for claim in live.values())
    target = mine.used + parts_of(max(0, left), live, turn)[own]
    if target <= mine.held:
        return target
    room = total - sum(max(claim.held, claim.used) for name, claim in claims.items() if name != own)
    return max(mine.held, min(target, room))


def parts_of(left: int, claims: Mapping[str, Claim], turn: int = 0) -> dict[str, int]:
    """What is left, divided among pools. Adds up to it."""
    names = sorted(claims)
    first = turn % len(names) if names else 0
    got = dict.fromkeys(names[first:] + names[:first], 0)
    rest = left
    wanted = {name: max(0, claim.wanted - claim.used) for name, claim in claims.items()}
    for name in got:
        step = min(claims[name].step, wanted[name])
        if step <= rest:
            got[name] = step
            rest -= step
        else:
            wanted[name] = 0  # a piece of it would be of no use
    rest = poured(rest, got, wanted)
    poured(rest, got, dict.fromkeys(got, left + 1))
    return got
