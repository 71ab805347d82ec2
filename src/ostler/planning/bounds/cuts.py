"""Item 4, cuts: all that comes before a task must be done before it starts, and that takes time of its own.

    head(task) >= after + cost(those before it with head >= after) / capacity     (with loads where after = 0)

and the same for tails with what comes after, but without loads. Prices as in `windows`: each model alone, and whole
sets. Heads so raised raise later ones, and feed the windows. Which `after` and which price raised a head is kept, so
that it can be checked.

Costs of a set are added up bit by bit: one mask of tasks for each binary digit, and a count of bits for each. Thus a
cut takes O(digits x n / 64) and all of them O(n^2) with a small constant; above `TASKS_MAX` tasks there are none.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import gcd

import msgspec

from ostler.planning.bounds.windows import Price

TASKS_MAX = 2_000
AFTERS_MAX = 6
COARSE = 7


class Lift(msgspec.Struct, frozen=True, gc=False):
    """Why a head (or tail) is higher than its path tells."""

    task: int
    source: str
    after_ms: int
    value_ms: int


class _Digits:
    """The costs of one price as masks of tasks, one for each binary digit."""

    def __init__(self, price: Price, musts: Sequence[frozenset[str]]) -> None:
        self.price = price
        self._unit = gcd(*price.costs.values()) or 1
        self._all = 0
        self._masks: list[int] = []
        for task, cost in price.costs.items():
            bit = 1 << task
            self._all |= bit
            left, digit = cost // self._unit, 0
            while left:
                if digit == len(self._masks):
                    self._masks.append(0)
                if left & 1:
                    self._masks[digit] |= bit
                left, digit = left >> 1, digit + 1
        self._coarse = [(mask, digit) for digit, mask in enumerate(self._masks)][-COARSE:]
        self._users = {
            model: sum(1 << task for task in price.costs if model in musts[task])
            for model, load in price.loads.items()
            if load
        }

    def about_ms(self, tasks: int) -> int:
        """Nearly the least time, never more: the leading digits only."""
        cost = 0
        for mask, digit in self._coarse:
            cost += (tasks & mask).bit_count() << digit
        return cost * self._unit // self.price.capacity

    def least_ms(self, tasks: int, *, from_start: bool) -> int:
        """Least time for the tasks of a mask."""
        tasks &= self._all
        if not tasks:
            return 0
        cost = 0
        for mask in reversed(self._masks):
            cost = 2 * cost + (tasks & mask).bit_count()
        cost *= self._unit
        if from_start:
            cost += sum(self.price.loads[model] for model, users in self._users.items() if users & tasks)
        return -(-cost // self.price.capacity)


def lifts(
    order: Iterable[int],
    before: Sequence[Sequence[int]],
    values: Sequence[int],
    prices: Sequence[Price],
    musts: Sequence[frozenset[str]],
) -> list[Lift]:
    """Values above the given ones that cuts prove, along the order (forwards for heads, backwards for tails)."""
    if len(values) > TASKS_MAX:
        return []
    ladder = _ladder(values)
    later = dict(ladder)
    digits = [_Digits(price, musts) for price in prices if price.costs and price.capacity]
    masks = [0] * len(values)
    found: list[Lift] = []
    for at in order:
        mine = 0
        for need in before[at]:
            mine |= masks[need] | (1 << need)
        masks[at] = mine
        best = Lift(at, "", 0, values[at])
        for after, row in _best_rows(mine, ladder, digits):
            value = after + row.least_ms(mine & later[after], from_start=not after)
            if value > best.value_ms:
                best = Lift(at, row.price.source, after, value)
        if best.value_ms > values[at]:
            found.append(best)
    return found


def _best_rows(
    mine: int, ladder: Sequence[tuple[int, int]], digits: Sequence[_Digits]
) -> Iterator[tuple[int, _Digits]]:
    """Thresholds and prices worth a close look: all from the start, and the one above that seems best."""
    if not mine:
        return
    best, most = None, 0
    for row in digits:
        yield 0, row
    for after, later in ladder:
        kept = mine & later
        if after and kept:
            for row in digits:
                about = after + row.about_ms(kept)
                if about > most:
                    best, most = (after, row), about
    if best is not None:
        yield best


def _ladder(values: Sequence[int]) -> list[tuple[int, int]]:
    """A few thresholds with the mask of tasks at or above each."""
    distinct = sorted(set(values))
    count = min(AFTERS_MAX, len(distinct))
    steps = sorted({0, *(distinct[len(distinct) * step // count] for step in range(count))})
    return [(after, sum(1 << task for task, value in enumerate(values) if value >= after)) for after in steps]
