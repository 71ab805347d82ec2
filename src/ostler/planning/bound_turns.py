"""Whether turns of models on one host could cost less than claimed, for the checker of certificates.

Follows every sequence of turns that could still end below the limit; a turn does at once all it can reach. Written
apart from `bounds` on purpose.
"""

import heapq
from collections.abc import Mapping, Sequence

from ostler.planning.bound_facts import Facts, WrongWitnessError

TURNS_MAX = 100_000


class _Turns:
    """What turns reach and cost, and what is left at least. Group -1 stands for none."""

    def __init__(
        self, facts: Facts, open_to: Mapping[str, frozenset[int]], costs: tuple[Sequence[int], Sequence[int]]
    ) -> None:
        self.facts, self.open_to = facts, open_to
        self.loads, self.unloads = costs
        self.names = list(facts.needs)
        self._chain: dict[tuple[str, int], int] = {}
        for name, later in facts.follows.items():
            behind = {new: max((self._chain[other, new] for other in later), default=0) for new in open_to[name]}
            for old in range(-1, len(self.loads)):
                self._chain[name, old] = min(self.swap(old, new) + least for new, least in behind.items())

    def swap(self, old: int, new: int) -> int:
        return 0 if new in (old, -1) else self.unloads[old] + self.loads[new]

    def reach(self, done: frozenset[str], group: int) -> frozenset[str]:
        now = set(done)
        for name in self.names:
            if group in self.open_to[name] and name not in now and now.issuperset(self.facts.needs[name]):
                now.add(name)
        return frozenset(now)

    def left_ms(self, done: frozenset[str], group: int) -> int:
        left = [name for name in self.names if name not in done]
        due = {min(self.open_to[name]) for name in left if len(self.open_to[name]) == 1} - {group}
        visits = 0
        if due:
            unloads = [self.unloads[other] for other in due]
            visits = self.unloads[group] + sum(self.loads[other] for other in due) + sum(unloads) - max(unloads)
        return max(visits, max((self._chain[name, group] for name in left), default=0))


def none_cheaper(
    facts: Facts,
    open_to: Mapping[str, frozenset[int]],
    costs: tuple[Sequence[int], Sequence[int]],
    start: int,
    limit_ms: int,
) -> bool:
    """Whether no sequence of turns that costs less than the limit does all tasks.

    `open_to` tells for each task in the turns of which groups it can be done; `costs` are the loads by group and the
    unloads by group with 0 for none at the end. Raises `WrongWitnessError` when there are too many to follow.
    """
    turns = _Turns(facts, open_to, costs)
    begun = turns.reach(frozenset(), start)
    queue: list[tuple[int, int, frozenset[str], int]] = [(0, 0, begun, start)]
    best = {(begun, start): 0}
    pushed = 0
    for _ in range(TURNS_MAX):
        if not queue:
            return True
        spent, _, done, group = heapq.heappop(queue)
        if best[done, group] < spent or spent + turns.left_ms(done, group) >= limit_ms:
            continue
        if len(done) == len(turns.names):
            return False
        for new in range(len(turns.loads)):
            then, cost = turns.reach(done, new), spent + turns.swap(group, new)
            if len(then) > len(done) and cost < best.get((then, new), cost + 1):
                best[then, new] = cost
                pushed += 1
                heapq.heappush(queue, (cost, pushed, then, new))
    raise WrongWitnessError("too many turns to follow")
