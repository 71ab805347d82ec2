"""Replicas: in a short plan one host cannot do all the work of a model, so it is loaded on several, each time anew.

In a plan of T a host is ready for a model for at most T - load - (least that follows its tasks). The work of the model
thus takes a least number of hosts, and as many loads as that, the cheapest ones. With prices as in `residency` all work
and all these loads must be earned in T. A shorter plan needs no fewer hosts and earns less: what refutes T refutes
every shorter one, so the bound is the least T that is not refuted, found by halving.

Cost: O(models x hosts x log T).
"""

from collections.abc import Mapping, Sequence

from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.residency import Prices, priced


def replicas_ms(problem: Problem, prices: Prices, tails: Sequence[int]) -> int:
    """The bound by these prices; 0 when they earn nothing."""
    price = priced(problem, prices)
    if not price.capacity:
        return 0
    work, follows = dict[str, int](), dict[str, int]()
    for at, musts in enumerate(problem.musts):
        for model in musts:
            work[model] = work.get(model, 0) + problem.ms[at]
            follows[model] = min(follows.get(model, tails[at]), tails[at])
    rows = {model: _Rows(problem, prices, model) for model in work}
    costs = sum(price.costs.values())

    def refuted(limit_ms: int) -> bool:
        loads = [rows[model].least_loads(limit_ms - follows[model], ms) for model, ms in work.items()]
        return None in loads or costs + sum(load or 0 for load in loads) > limit_ms * price.capacity

    low, high = 0, 1
    while refuted(high):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if refuted(middle) else (low, middle)
    return low


class _Rows:
    """Where one model can be: slots and load on each host, and what its loads cost, cheapest first."""

    def __init__(self, problem: Problem, prices: Prices, model: str) -> None:
        self._hosts: list[tuple[int, int]] = []
        costs: list[int] = []
        for place in problem.places:
            if model in place.used:
                slots, load = place.host.models[model].slots, place.load_ms(model)
                row: Mapping[str, int] = prices.get(place.names[0], {})
                self._hosts += [(slots, load)] * place.count
                costs += [row.get(model, 0) * slots * load] * place.count
        self._costs = sorted(costs)

    def least_loads(self, limit_ms: int, work_ms: int) -> int | None:
        """Cost of the fewest and cheapest loads that can do the work in time; `None` when all together cannot."""
        done = 0
        offers = sorted((slots * max(0, limit_ms - load) for slots, load in self._hosts), reverse=True)
        for count, offer in enumerate(offers):
            if done >= work_ms:
                return sum(self._costs[:count])
            done += offer
        return sum(self._costs) if done >= work_ms else None
