"""Item 6, switching: on one host whose models fall into groups that exclude each other, groups take turns.

Two models are in one group when a chain of pairs that fit together joins them; or a few models of which no two fit are
taken alone and all others left free. While one group has a model in memory no other group has, so time on the host is
the time in which some model of each group is ready, plus at each turn at least one load that nothing of the group can
overlap and, but for the last turn, at least one unload.

Least turns: as if slots had no limit, a turn does at once all it can reach, which never hurts. A* over (done, group)
finds the cheapest sequence of turns; when it is stopped early, the least estimate still open is a bound all the same.
Tasks that can run elsewhere, need only what is pinned, or take no time, are done whenever their needs are.

Of several groupings all are searched a little and the best one further. Cost: O(turns tried x groups x n).
"""

import heapq
from collections.abc import Mapping, Sequence

import msgspec

from ostler.planning.bounds.clock import ClockTime
from ostler.planning.bounds.problem import Place, Problem

STEPS_MAX = 160_000
FEW = 20
CLIQUES_MAX = 3


class Switching(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of models on one place, how long each must be ready, and the least time for their turns."""

    bound_ms: int
    place: int
    groups: tuple[tuple[str, ...], ...]
    switching_ms: int
    exact: bool
    """Whether the search ended; otherwise the true least time may be longer."""


def switchings(problem: Problem, times: Mapping[str, ClockTime]) -> list[Switching]:
    """The best bound for each place of one host where models exclude each other."""
    made = []
    for at, place in enumerate(problem.places):
        if place.count > 1 or place.host.cloud:
            continue
        mine = {model: time.ready_ms for model, time in times.items() if time.place == at}
        steps = STEPS_MAX // (1 + len(problem.names))
        rows = [_bound(problem, at, groups, mine, FEW + steps // 8) for groups in _groupings(place, mine)]
        best = max((row for row in rows if row), key=lambda row: row.bound_ms, default=None)
        if best is not None and not best.exact:
            best = _bound(problem, at, best.groups, mine, FEW + steps)
        if best is not None and best.bound_ms:
            made.append(best)
    return made


def _bound(
    problem: Problem,
    at: int,
    groups: tuple[tuple[str, ...], ...],
    ready_ms: Mapping[str, int],
    tries_max: int,
) -> Switching | None:
    turns = Turns(problem, at, groups)
    if not turns.sound:
        return None
    switching, exact = turns.least_ms(tries_max)
    ready = sum(max((ready_ms.get(model, 0) for model in group), default=0) for group in groups)
    return Switching(bound_ms=ready + switching, place=at, groups=groups, switching_ms=switching, exact=exact)


def _groupings(place: Place, ready_ms: Mapping[str, int]) -> list[tuple[tuple[str, ...], ...]]:
    """Ways to make groups: all models joined where they fit together, and sets of models no two of which do."""
    free = [model for model in place.used if model not in place.pinned]
    apart = {
        model: frozenset(other for other in free if other != model and not place.fits(frozenset((model, other))))
        for model in free
    }
    left, joined = list(free), []
    while left:
        group = [left.pop(0)]
        for member in group:
            more = [model for model in left if model not in apart[member]]
            group += more
            left = [model for model in left if model not in more]
        joined.append(tuple(sorted(group)))
    cliques: set[tuple[str, ...]] = set()
    for model in free:
        clique = [model]
        for other in sorted(apart[model], key=lambda name: (-ready_ms.get(name, 0), name)):
            if apart[other].issuperset(clique):
                clique.append(other)
        cliques.add(tuple(sorted(clique)))
    heaviest = sorted(cliques, key=lambda row: (-sum(ready_ms.get(model, 0) for model in row), row))[:CLIQUES_MAX]
    made = [tuple(joined), *(tuple((model,) for model in row) for row in heaviest)]
    return [groups for groups in dict.fromkeys(made) if len(groups) > 1]


class Turns:
    """The costs and the reach of turns on one place. The group after the last one stands for none."""

    def __init__(self, problem: Problem, at: int, groups: Sequence[tuple[str, ...]]) -> None:
        place, self.none = problem.places[at], len(groups)
        serving = place.host.models
        self._load = [min(serving[model].load_ms for model in group) for group in groups]
        self._unload = [*(min(serving[model].unload_ms for model in group) for group in groups), 0]
        of = {model: group for group, models in enumerate(groups) for model in models}
        everywhere = frozenset(range(self.none + 1))
        allowed = []
        for modes in problem.modes:
            turns = frozenset[int]()
            for mode in modes:
                mine = (
                    {of[model] for model in mode.models if model in of} if mode.place == at and mode.ms else set[int]()
                )
                turns |= mine or everywhere
            allowed.append(turns)
        self.all = (1 << len(allowed)) - 1
        self._open = [sum(1 << task for task, row in enumerate(allowed) if turn in row) for turn in sorted(everywhere)]
        self._only = [sum(1 << task for task, row in enumerate(allowed) if row == {turn}) for turn in range(self.none)]
        self._before = [sum(1 << need for need in needs) for needs in problem.before]
        self._ahead = self._chains(problem.after, allowed)
        first = {of[model] for model in place.host.resident if model in of}
        self.start = min(first, default=self.none)
        self.sound = len(first) <= 1

    def cost(self, old: int, new: int) -> int:
        """Least time from the last ready moment of one group to the first of another."""
        return 0 if new in (old, self.none) else self._unload[old] + self._load[new]

    def reach(self, done: int, turn: int) -> int:
        """All that is done when the group has had its turn."""
        left = self._open[turn] & ~done
        while left:
            bit = left & -left
            left ^= bit
            if not self._before[bit.bit_length() - 1] & ~done:
                done |= bit
        return done

    def estimate(self, done: int, turn: int) -> int:
        """Never more than what the rest costs: the dearest chain ahead, or one turn for each group still due."""
        left = self.all & ~done
        chain = next((cost for cost, task in self._ahead[turn] if left >> task & 1), 0)
        due = [group for group, only in enumerate(self._only) if group != turn and left & only]
        if not due:
            return chain
        unloads = [self._unload[group] for group in due]
        visits = sum(self._load[group] for group in due) + sum(unloads) - max(unloads) + self._unload[turn]
        return max(chain, visits)

    def least_ms(self, tries_max: int) -> tuple[int, bool]:
        """Least total time for turns until all is done, and whether the search ended."""
        done = self.reach(0, self.start)
        queue = [(self.estimate(done, self.start), 0, done, self.start)]
        known = {(done, self.start): 0}
        for _ in range(tries_max):
            estimate, spent, done, turn = heapq.heappop(queue)
            if done == self.all:
                return estimate, True
            if known[done, turn] < spent:
                continue
            for after in range(self.none):
                then = self.reach(done, after)
                cost = spent + self.cost(turn, after)
                if then != done and cost < known.get((then, after), cost + 1):
                    known[then, after] = cost
                    heapq.heappush(queue, (cost + self.estimate(then, after), cost, then, after))
        return queue[0][0], False

    def _chains(
        self, following: Sequence[Sequence[int]], allowed: Sequence[frozenset[int]]
    ) -> list[list[tuple[int, int]]]:
        """For each turn the tasks with the least cost of turns along any chain that starts with them, dearest first."""
        turns = range(self.none + 1)
        costs = [[self.cost(old, new) for new in turns] for old in turns]
        ahead = [[0] * (self.none + 1) for _ in allowed]
        entry = [[0] * (self.none + 1) for _ in allowed]
        for task in reversed(range(len(allowed))):
            for turn in turns:
                ahead[task][turn] = max((entry[after][turn] for after in following[task]), default=0)
            for turn in turns:
                entry[task][turn] = min(costs[turn][new] + ahead[task][new] for new in allowed[task])
        return [
            sorted(((row[turn], task) for task, row in enumerate(entry) if row[turn]), key=lambda pair: -pair[0])
            for turn in turns
        ]
