"""Item 1, paths: the head of a task is the earliest instant it can start, its tail the least time after it ends.

    head(mode) = max(release, time to get its models into memory, over its needs: least end of any mode of theirs + gap)

The gap is there when both run on one host that no other is like, and a model of the one cannot be in memory beside a
model of the other (then that model is unloaded and this one loaded between them) or beside the whole other task. A path
is as long as head + duration + tail in the best mode. A task of no duration takes no memory of its own and excludes
nothing: at its instant one model may leave as the other comes. Floors (see `cuts`) lift all modes of a task at once.

Cost: O(edges x modes).
"""

from collections.abc import Callable, Iterable, Sequence

from ostler.planning.bounds.problem import Mode, Place, Problem

Floors = Sequence[int]
Gap = Callable[[Mode, Mode], int]
Stand = tuple[int, tuple[str, ...], int, bool]
"""Place, models and own memory of a mode, and whether it takes time."""


class Paths:
    """Heads and tails of one problem under given floors."""

    def __init__(self, problem: Problem, head_floors: Floors = (), tail_floors: Floors = ()) -> None:
        count = len(problem.names)
        gaps = Gaps(problem.places)
        order = range(count)
        starts: list[list[int]] = []
        for at in order:
            floor = max(problem.release_ms[at], head_floors[at] if head_floors else 0)
            starts.append([max(floor, gaps.first(mode)) for mode in problem.modes[at]])
        ends = [[tail_floors[at] if tail_floors else 0] * len(problem.modes[at]) for at in order]
        lone = {at for at, place in enumerate(problem.places) if place.count == 1 and not place.host.cloud}
        sweep = Sweep(problem.modes, lone)
        sweep.run(order, problem.before, starts, gaps.between)
        sweep.run(reversed(order), problem.after, ends, lambda one, other: gaps.between(other, one))
        self.by_mode = starts, ends
        self.heads = [min(row) for row in starts]
        self.tails = [min(row) for row in ends]
        self.through = [
            min(head + mode.ms + tail for head, mode, tail in zip(starts[at], problem.modes[at], ends[at], strict=True))
            for at in order
        ]

    @property
    def longest(self) -> tuple[int, int]:
        """Length of the longest path and a task on it."""
        at = max(range(len(self.through)), key=lambda index: (self.through[index], -index), default=-1)
        return (self.through[at], at) if at >= 0 else (0, -1)


class Gaps:
    """Least time between two modes, and before the first."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._known: dict[tuple[Stand, Stand], int] = {}
        self._first: dict[Stand, int] = {}

    def between(self, one: Mode, other: Mode) -> int:
        """Least time from the end of the one to the start of the other."""
        if one.place != other.place or (one.models == other.models and not one.own_bytes and not other.own_bytes):
            return 0
        key = (_stand(one), _stand(other))
        if key not in self._known:
            self._known[key] = self._swap(self._places[one.place], one, other)
        return self._known[key]

    def first(self, mode: Mode) -> int:
        """Least time before anything can run in this mode: what is in the way is unloaded, what it needs is loaded."""
        key = _stand(mode)
        if key not in self._first:
            place = self._places[mode.place]
            resident = () if place.host.cloud or not mode.ms else place.host.resident
            loads = {model: place.load_ms(model) for model in mode.models}
            waits = [
                place.host.models[old].unload_ms + load
                for model, load in loads.items()
                for old in resident
                if model not in place.host.resident and old != model and not place.fits(frozenset((old, model)))
            ]
            waits += [place.host.models[old].unload_ms for old in self._out(place, resident, mode)]
            self._first[key] = max([sum(loads.values()), *waits])
        return self._first[key]

    def _swap(self, place: Place, one: Mode, other: Mode) -> int:
        """Models of the one that are gone when the other runs, models of the other that came after the one ended."""
        if place.host.cloud or place.count > 1:
            return 0
        models = place.host.models
        swaps = [
            models[old].unload_ms + models[new].load_ms
            for old in one.models
            for new in other.models
            if (one.ms or other.ms) and old != new and not place.fits(frozenset((old, new)))
        ]
        gone = [models[old].unload_ms for old in self._out(place, one.models, other)]
        came = [models[new].load_ms for new in self._out(place, other.models, one)]
        return max([0, sum(came), *gone, *swaps])

    @staticmethod
    def _out(place: Place, models: Sequence[str], mode: Mode) -> list[str]:
        """Those that cannot be in memory while a task runs in that mode."""
        beside = frozenset(mode.models)
        return [
            model
            for model in dict.fromkeys(models)
            if mode.ms and model not in beside and not place.fits(beside | {model}, mode.own_bytes)
        ]


def _stand(mode: Mode) -> Stand:
    return mode.place, mode.models, mode.own_bytes, mode.ms > 0


class Sweep:
    """Raises values along an order of tasks, forwards or backwards."""

    def __init__(self, modes: Sequence[tuple[Mode, ...]], lone: set[int]) -> None:
        self._modes = modes
        self._lone = lone
        """Places of one host: only there is a gap."""

    def run(self, order: Iterable[int], before: Sequence[Sequence[int]], values: list[list[int]], gap: Gap) -> None:
        """A task's best mode counts, and beside it the best on another place."""
        best: list[tuple[int, int, int]] = [(0, -1, 0)] * len(self._modes)
        for at in order:
            row, modes = values[at], self._modes[at]
            for need in before[at]:
                least, place, elsewhere = best[need]
                for column, mode in enumerate(modes):
                    arrival = least
                    if mode.place == place:
                        here = min(
                            value + other.ms + gap(other, mode)
                            for value, other in zip(values[need], self._modes[need], strict=True)
                            if other.place == place
                        )
                        arrival = here if elsewhere < 0 else min(elsewhere, here)
                    row[column] = max(row[column], arrival)
            best[at] = self._best(row, modes)

    def _best(self, row: Sequence[int], modes: Sequence[Mode]) -> tuple[int, int, int]:
        """Least end, its place if a gap may follow there (or -1), and the least end elsewhere (-1 = none)."""
        ends = [value + mode.ms for value, mode in zip(row, modes, strict=True)]
        least = min(ends)
        place = modes[ends.index(least)].place
        if place not in self._lone:
            return least, -1, -1
        return (
            least,
            place,
            min((end for end, mode in zip(ends, modes, strict=True) if mode.place != place), default=-1),
        )
