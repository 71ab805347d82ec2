"""Item 2, energy: work that fits into no window is too much for the whole plan.

Every task of a set that starts at `after` at the earliest and leaves `before` at the least until the end runs in a
window of T - after - before. With a price for each slot-millisecond the set costs what its tasks cost in their cheapest
mode, and the window earns at most `capacity` a millisecond. For tasks of one model on S slots also the pigeonhole: of
the k*S + 1 longest, k + 1 share a slot.

    T >= after + max(cost / capacity, the k+1 smallest of the k*S+1 longest) + before

With `after` = 0 the window begins with nothing loaded, so loads count as well. Cost: O(thresholds x n log n).
"""

from bisect import insort
from collections.abc import Mapping, Sequence

import msgspec

AFTER_MAX = 48
PIGEONS_MAX = 64
SHARES_MAX = 32
STEPS_MAX = 60_000


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What each task costs and what a millisecond earns at most, in the same unit."""

    source: str
    """A model, or "" for prices of a whole set of models (see `residency`)."""
    costs: Mapping[int, int]
    """Cost by task; tasks that can do without are not here."""
    capacity: int
    loads: Mapping[str, int] = {}
    """Least cost of a first load, by model."""
    slots: int = 0
    """When costs are durations on that many slots, for the pigeonhole; 0 = they are not."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The best window found for one price."""

    bound_ms: int
    after_ms: int = 0
    before_ms: int = 0


def pack(durations: Sequence[int], slots: int) -> int:
    """Least time for all of them by the pigeonhole; longest first.

    >>> pack([15, 15, 15, 15, 10, 10, 10, 10, 10], 4)
    30
    """
    best, each = durations[0] if durations else 0, 1
    while each * slots < len(durations) and each <= SHARES_MAX:
        best = max(best, sum(durations[each * slots - each : each * slots + 1]))
        each += 1
    return best


def best_window(price: Price, heads: Sequence[int], tails: Sequence[int], musts: Sequence[frozenset[str]]) -> Window:
    """The window that proves most."""
    best = Window(bound_ms=0)
    tasks = sorted(price.costs, key=lambda task: (-tails[task], task))
    if not tasks or not price.capacity:
        return best
    pigeons = price.slots and len(tasks) <= PIGEONS_MAX
    for after in _thresholds([heads[task] for task in tasks], min(AFTER_MAX, 3 + STEPS_MAX // len(tasks))):
        cost, seen, longest = 0, set[str](), list[int]()
        for task in tasks:
            if heads[task] < after:
                continue
            cost += price.costs[task]
            if not after:
                cost += sum(price.loads.get(model, 0) for model in musts[task] - seen)
                seen |= musts[task]
            least = -(-cost // price.capacity)
            if pigeons:
                insort(longest, price.costs[task], key=lambda value: -value)
                least = max(least, pack(longest, price.slots))
            if after + least + tails[task] > best.bound_ms:
                best = Window(bound_ms=after + least + tails[task], after_ms=after, before_ms=tails[task])
        if price.slots and not pigeons:
            whole = pack(sorted((price.costs[t] for t in tasks if heads[t] >= after), reverse=True), price.slots)
            if after + whole > best.bound_ms:
                best = Window(bound_ms=after + whole, after_ms=after)
    return best


def _thresholds(heads: Sequence[int], count: int) -> list[int]:
    """0 and the heads there are, thinned out evenly when they are more than that."""
    distinct = sorted(set(heads))
    kept = distinct if len(distinct) <= count else [distinct[len(distinct) * step // count] for step in range(count)]
    return sorted({0, *kept})
