"""Planning again while the work goes on: at each decision about residents, look ahead in several possible futures.

A plan made for estimates is over-fitted: what was gained on paper is lost again when durations differ. So nothing far
away is fixed. When the live rule proposes a load, every alternative (another load, none yet) is followed to the end in
each *scenario*, a list of durations that unfinished tasks might have, and the best mean wins; what the rule proposes is
left only for a gain above `GAIN_PERMILLE`. Between decisions the rule acts alone.

Scenarios are handed in: sampled from what was learned about durations, by whoever has dice. A running task must last
longer in a scenario than it has run already; what does not is stretched to end next. The rule sees estimates only, also
inside a scenario: it would not know better there either.

Cost: alternatives x scenarios x half a simulation for a decision. With more alternatives than `KEPT`, the first
scenario alone chooses which of them are followed in the others.
"""

from collections.abc import Callable, Sequence
from heapq import heapify

from ostler.planning.board import FINISHED
from ostler.planning.compiled import paced
from ostler.planning.engine import Run
from ostler.planning.pilot import alternatives, run_value
from ostler.planning.ports import Effort
from ostler.residency.rule import Load

GAIN_PERMILLE = 1
KEPT = 6

Scenarios = Callable[[Run], Sequence[Sequence[int]]]
"""Durations by task, on a host of pace 1000, for several futures of a run at its present instant."""


def imagined(run: Run, durations: Sequence[int]) -> Run:
    """A copy of the run in which unfinished tasks have those durations."""
    twin = run.copy()
    twin.actual = list(durations)
    events = []
    for event in twin.events:
        if event[1] == FINISHED:
            task = event[2]
            end_ms = max(twin.now_ms + 1, twin.starts[task] + _lasts(run, task, durations[task]))
            twin.ends[task] = end_ms
            events.append((end_ms, FINISHED, task, ""))
        else:
            events.append(event)
    heapify(events)
    twin.events = events
    return twin


def _lasts(run: Run, task: int, duration_ms: int) -> int:
    ran = run.ran[task]
    if ran is None:
        return duration_ms
    place, option = ran
    kind = run.compiled.classes[option.kind]
    return paced(duration_ms, kind.paces[kind.hosts.index(place)])


def followed_ms(run: Run, move: Load | None, scenario: Sequence[int]) -> int | None:
    """What the run comes to in a scenario if it takes the move; `None` if it never ends."""
    twin = imagined(run, scenario)
    if move is None:
        twin.go(settled=True)
    else:
        twin.commit(move)
        twin.go()
    if twin.left:
        return None
    late_ms, worth_ms, _, _ = run_value(twin)
    return late_ms + worth_ms


class Replanner:
    """Hand its `choose` to a run as its chooser."""

    def __init__(self, scenarios: Scenarios, effort: Effort) -> None:
        self.scenarios = scenarios
        self.effort = effort
        self.changed = 0
        """Decisions in which the rule was overruled."""

    def choose(self, run: Run, natural: Load) -> Load | None:
        """The move with the best mean over the scenarios."""
        if self.effort.spent():
            return natural
        futures = self.scenarios(run)
        moves = alternatives(run, natural)
        if not futures or len(moves) == 1:
            return natural
        first = [followed_ms(run, move, futures[0]) for move in moves]
        kept = sorted((total, place) for place, total in enumerate(first) if total is not None and place)[: KEPT - 1]
        usual = self._total(run, natural, futures, first[0])
        if usual is None:
            return natural
        best, chosen = usual - usual * GAIN_PERMILLE // 1000, natural
        overruled = False
        for total, place in kept:
            if self.effort.spent():
                break
            worth = self._total(run, moves[place], futures, total)
            if worth is not None and worth < best:
                best, overruled = worth, True
                picked = moves[place]
        if not overruled:
            return chosen
        self.changed += 1
        return picked

    @staticmethod
    def _total(run: Run, move: Load | None, futures: Sequence[Sequence[int]], first: int | None) -> int | None:
        total = first
        for scenario in futures[1:]:
            worth = followed_ms(run, move, scenario)
            if worth is None or total is None:
                return None
            total += worth
        return total
