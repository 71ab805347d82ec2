"""Better plans by small changes of explicit episodes: annealing in rounds, any-time, repeatable by its dice.

    task    one task to another episode of a model that serves it
    order   one task before another of its episode
    trade   two tasks of two episodes of one model change places
    move    an episode to another place in its line, or to the line of another host
    split   the later tasks of an episode to a new episode further on
    fresh   a task, with its kind that comes at about that time, to a new episode anywhere
    merge   an episode into another of its model

Half of the changes start from the tasks that delay the end: the chain that is followed back from the last task through
needs, slots, loads and the memory that they wait for. A change is judged by its energy: the value of the schedule, plus
a little of the mean end of tasks, so that long plateaus have a slope. It is taken when it is no worse by more than a
random, shrinking tolerance. Rounds start from the best and, in turn, from the other starts: some good plans are many
changes away from each other.

Cost: one decode for a change (see `episodes`): about 10,000 changes a second at 40 tasks.
"""

import math
from collections.abc import Callable, Sequence

from ostler.planning.episodes import Frame, Layout, Timing, decode
from ostler.planning.ports import Dice, Effort
from ostler.planning.value import Value, value_of

HOT_LEAST, HOT_SPAN = 0.01, 10.0
"""Tolerance at the start of a round, as a share of the energy: drawn from the least to so many times it."""
COLD = 0.0004
ROUND_PER_TASK = 60
ROUND_MIN, ROUND_MAX = 500, 12_000
SLOPE = 0.03
"""Share of the mean end of tasks in the energy."""
CHAIN_SHARE = 0.6
EVEN = 0.5
NEIGHBOUR, SAME_LINE = 0.6, 0.8
"""Of moves of an episode: up to here with its neighbour, up to there within its line, else to another host."""


class Found:
    """A layout with its timing and what it is worth."""

    __slots__ = ("energy", "layout", "timing", "value")

    def __init__(self, frame: Frame, layout: Layout, timing: Timing) -> None:
        compiled = frame.compiled
        self.layout = layout
        self.timing = timing
        ran = None
        if compiled.priced:
            ran = [
                (0, frame.ways[task][layout.hosts[episode], layout.models[episode]][1])
                for task, episode in enumerate(layout.of)
            ]
        self.value: Value = value_of(compiled, timing.ends, ran or (), timing.loads)
        self.energy = self.value[0] + self.value[1] + SLOPE * sum(timing.ends) / max(1, compiled.size)


def improve(frame: Frame, starts: Sequence[Layout], effort: Effort, dice: Dice, floor_ms: int = 0) -> Found | None:
    """The best layout found from some starts, the most promising first; `None` if no start can be carried out.

    Ends early when nothing can be better: at a makespan of `floor_ms`, where lateness and money do not count.
    """
    search = _Search(frame, dice)
    pool = [Found(frame, layout, timing) for layout in starts if (timing := decode(frame, layout)).complete]
    if not pool:
        return None
    best = min(pool, key=_worth)
    others = [found for found in pool if found is not best]
    rounds = 0
    counts = frame.compiled.priced or frame.compiled.dated
    while not effort.spent() and (counts or best.timing.makespan_ms > floor_ms):
        fresh = bool(others) and rounds % 2 == 1
        found = search.round(others[rounds // 2 % len(others)] if fresh else best, effort)
        if _worth(found) < _worth(best):
            best = found
        rounds += 1
    return best


def _worth(found: Found) -> tuple[Value, float]:
    return found.value, found.energy


class _Search:
    """The changes, and one round of annealing."""

    def __init__(self, frame: Frame, dice: Dice) -> None:
        self.frame = frame
        self.dice = dice
        size = frame.compiled.size
        self.round_steps = max(ROUND_MIN, min(ROUND_MAX, ROUND_PER_TASK * size))
        self.clouds = frame.clouds
        self.changes: Sequence[tuple[float, Callable[[Layout, Found, list[int]], bool]]] = (
            (0.30, self._task),
            (0.50, self._order),
            (0.60, self._trade),
            (0.76, self._move),
            (0.84, self._split),
            (0.93, self._fresh),
            (1.00, self._merge),
        )

    def round(self, best: Found, effort: Effort) -> Found:
        """One round of annealing from the best; the best of all seen."""
        dice, frame = self.dice, self.frame
        here = best
        chain = critical(frame, here)
        steps = self.round_steps
        hot = HOT_LEAST * HOT_SPAN ** dice.random()
        cooling = (COLD / hot) ** (1 / steps)
        tolerance = hot * here.energy
        for _ in range(steps):
            if effort.spent():
                break
            tolerance *= cooling
            trial = here.layout.copy()
            if not self._change(trial, here, chain):
                continue
            allowed = here.energy - tolerance * math.log(1.0 - dice.random())
            timing = decode(frame, trial, int(allowed))
            if not timing.complete:
                continue
            found = Found(frame, trial, timing)
            if found.energy > allowed:
                continue
            here = found
            chain = critical(frame, here)
            if _worth(found) < _worth(best):
                trial.drop_empty()
                best = here
        return best

    def _change(self, trial: Layout, here: Found, chain: list[int]) -> bool:
        pick = self.dice.random()
        for until, change in self.changes:
            if pick < until:
                return change(trial, here, chain)
        return False

    def _any_task(self, chain: list[int]) -> int:
        if chain and self.dice.random() < CHAIN_SHARE:
            return chain[self.dice.randrange(len(chain))]
        return self.dice.randrange(self.frame.compiled.size)

    def _one_of(self, options: Sequence[int]) -> int:
        return options[self.dice.randrange(len(options))]

    def _serving(self, layout: Layout, task: int) -> list[int]:
        """Other episodes that could take the task."""
        ways, own = self.frame.ways[task], layout.of[task]
        return [
            episode
            for line in layout.lines
            for episode in line
            if episode != own and (layout.hosts[episode], layout.models[episode]) in ways
        ]

    def _task(self, trial: Layout, _here: Found, chain: list[int]) -> bool:
        task = self._any_task(chain)
        options = self._serving(trial, task)
        if not options:
            return False
        left = trial.of[task]
        trial.assign(self.frame, task, self._one_of(options))
        if left not in trial.of:
            trial.drop_empty()
        return True

    def _order(self, trial: Layout, here: Found, chain: list[int]) -> bool:
        task = self._any_task(chain)
        before = [
            other
            for other, episode in enumerate(trial.of)
            if episode == trial.of[task] and other != task and here.timing.starts[other] <= here.timing.starts[task]
        ]
        if not before:
            return False
        other = self._one_of(before)
        if self.dice.random() < EVEN:
            trial.keys[task], trial.keys[other] = trial.keys[other], trial.keys[task]
        else:
            trial.keys[task] = trial.keys[other] - 1
        return True

    def _trade(self, trial: Layout, _here: Found, chain: list[int]) -> bool:
        task = self._any_task(chain)
        own, ways = trial.of[task], self.frame.ways
        place = (trial.hosts[own], trial.models[own])
        options = [
            other
            for other, episode in enumerate(trial.of)
            if episode != own and (trial.hosts[episode], trial.models[episode]) in ways[task] and place in ways[other]
        ]
        if not options:
            return False
        other = self._one_of(options)
        trial.assign(self.frame, task, trial.of[other])
        trial.assign(self.frame, other, own)
        trial.keys[task], trial.keys[other] = trial.keys[other], trial.keys[task]
        return True

    def _loaded(self, layout: Layout) -> list[int]:
        return [
            episode
            for place, line in enumerate(layout.lines)
            if not self.clouds[place]
            for episode in line
            if not layout.initial[episode]
        ]

    def _floor(self, layout: Layout, host: int) -> int:
        """The first place of a line that can be taken: what is there at the start stays in front."""
        return sum(layout.initial[episode] for episode in layout.lines[host])

    def _place(self, trial: Layout, host: int) -> int:
        floor = self._floor(trial, host)
        return floor + self.dice.randrange(len(trial.lines[host]) - floor + 1)

    def _move(self, trial: Layout, here: Found, chain: list[int]) -> bool:
        loaded = self._loaded(trial)
        if not loaded:
            return False
        episode = self._one_of(loaded)
        if chain and self.dice.random() < CHAIN_SHARE:
            episode = here.layout.of[self._one_of(chain)]
            if episode not in loaded:
                return False
        host = trial.hosts[episode]
        line = trial.lines[host]
        at = line.index(episode)
        near = self.dice.random()
        if near < NEIGHBOUR:
            other = at + (1 if self.dice.random() < EVEN else -1)
            if not self._floor(trial, host) <= other < len(line):
                return False
            line[at], line[other] = line[other], line[at]
            return True
        line.pop(at)
        if near > SAME_LINE:
            members = trial.members(episode)
            model = trial.models[episode]
            hosts = [
                place
                for place in range(len(trial.lines))
                if place != host
                and not self.clouds[place]
                and all((place, model) in self.frame.ways[task] for task in members)
            ]
            if not hosts:
                return False
            host = trial.hosts[episode] = self._one_of(hosts)
            for task in members:
                trial.assign(self.frame, task, episode)
        trial.lines[host].insert(self._place(trial, host), episode)
        return True

    def _split(self, trial: Layout, here: Found, chain: list[int]) -> bool:
        first = self._any_task(chain)
        episode = trial.of[first]
        host = trial.hosts[episode]
        if self.clouds[host]:
            return False
        since = here.timing.starts[first]
        later = [task for task in trial.members(episode) if here.timing.starts[task] >= since]
        at = trial.lines[host].index(episode)
        fresh = trial.open(host, trial.models[episode], at + 1 + self.dice.randrange(len(trial.lines[host]) - at))
        for task in later:
            trial.of[task] = fresh
        if episode not in trial.of:
            trial.drop_empty()
        return True

    def _fresh(self, trial: Layout, here: Found, chain: list[int]) -> bool:
        task = self._any_task(chain)
        ways = [way for way in self.frame.ways[task] if not self.clouds[way[0]]]
        if not ways:
            return False
        host, model = ways[self.dice.randrange(len(ways))]
        starts = here.timing.starts
        fresh = trial.open(host, model, self._near(trial, here, host, starts[task]))
        reach = int(self.dice.random() ** 2 * 0.3 * here.timing.makespan_ms)
        for other, ways_there in enumerate(self.frame.ways):
            near = other == task or abs(starts[other] - starts[task]) <= reach
            if near and (host, model) in ways_there and trial.models[trial.of[other]] == model:
                trial.assign(self.frame, other, fresh)
        trial.assign(self.frame, task, fresh)
        trial.drop_empty()
        return True

    def _near(self, trial: Layout, here: Found, host: int, at_ms: int) -> int:
        """A place in the line of a host at about that instant."""
        line = trial.lines[host]
        ready = here.timing.ready
        position = sum(episode < len(ready) and ready[episode] <= at_ms for episode in line)
        position += self.dice.randrange(3) - 1
        return max(self._floor(trial, host), min(len(line), position))

    def _merge(self, trial: Layout, _here: Found, chain: list[int]) -> bool:
        task = self._any_task(chain)
        own = trial.of[task]
        options = [episode for episode in self._serving(trial, task) if trial.models[episode] == trial.models[own]]
        if not options:
            return False
        other = self._one_of(options)
        place = (trial.hosts[other], trial.models[other])
        for member in trial.members(own):
            if place in self.frame.ways[member]:
                trial.assign(self.frame, member, other)
        trial.drop_empty()
        return True


def critical(frame: Frame, found: Found) -> list[int]:
    """Tasks that delay the end, from the last one back: through needs, slots, loads, and memory waited for."""
    timing, layout, needs = found.timing, found.layout, frame.compiled.needs
    starts, ends, of = timing.starts, timing.ends, layout.of
    by_end: dict[int, list[int]] = {}
    for place, end_ms in enumerate(ends):
        by_end.setdefault(end_ms, []).append(place)
    chain: list[int] = []
    at: int | None = by_end[timing.makespan_ms][0] if timing.makespan_ms in by_end else None
    while at is not None:
        chain.append(at)
        here, start_ms, episode = at, starts[at], of[at]
        if start_ms and start_ms == timing.ready[episode]:
            at = _before_load(timing, layout, by_end, episode)
            continue
        ended = by_end.get(start_ms, ())
        at = next((other for other in ended if other in needs[here]), None)
        if at is None:
            at = next((other for other in ended if of[other] == episode), None)
    return chain


def _before_load(timing: Timing, layout: Layout, by_end: dict[int, list[int]], episode: int) -> int | None:
    """A task whose end let the episode load: the last of one that was unloaded for it, or for a load just before."""
    line = layout.lines[layout.hosts[episode]]
    at = line.index(episode)
    while at >= 0:
        start_ms = timing.load_start[line[at]]
        for other in line:
            if start_ms >= 0 and timing.free_at[other] == start_ms:
                left = next(
                    (task for task in by_end.get(timing.busy_until[other], ()) if layout.of[task] == other), None
                )
                if left is not None:
                    return left
        if at and timing.ready[line[at - 1]] != start_ms:
            return None
        at -= 1
    return None
