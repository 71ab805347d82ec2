"""What follows from an instance alone, for the checker of certificates: ways to run a task, heads, tails, windows.

Written apart from `bounds` on purpose. A *way* is a task on one host by one choice.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from graphlib import TopologicalSorter

import msgspec

from ostler.planning.instance import Instance, PlanHost, can_host, task_ms

SHARED_MAX = 64


class Way(msgspec.Struct, frozen=True, gc=False):
    """A task on one host."""

    host: str
    models: frozenset[str]
    ms: int
    own_bytes: int


class Lift(msgspec.Struct, frozen=True, array_like=True):
    """Where a head or tail is raised: by the price of a model (or "": given prices), among those from `after_ms` on."""

    side: str
    task: str
    model: str
    after_ms: int


class WrongWitnessError(Exception):
    """The witness proves nothing about this instance."""


class Facts:
    """The instance, read for checking."""

    def __init__(self, instance: Instance) -> None:
        self.hosts = {host.name: host for host in instance.hosts}
        tasks = {task.id: task for task in instance.tasks}
        needs = {name: sorted(set(task.needs)) for name, task in tasks.items()}
        order = list(TopologicalSorter(needs).static_order())
        must = {task.id for task in instance.tasks if not task.optional}
        for name in reversed(order):
            must.update(needs[name] if name in must else ())
        self.needs = {name: needs[name] for name in order if name in must}
        self.release = {name: tasks[name].release_ms for name in self.needs}
        self.ways: dict[str, list[Way]] = {}
        for name in self.needs:
            all_ways = [
                Way(host.name, frozenset(choice.models), task_ms(choice, host), choice.memory_bytes)
                for choice in tasks[name].choices
                for host in instance.hosts
                if can_host(choice, host)
            ]
            beside_pinned = [way for way in all_ways if together(self.hosts[way.host], way.models, way.own_bytes)]
            self.ways[name] = beside_pinned or all_ways
            if not all_ways:
                raise WrongWitnessError(f"no host can ever run '{name}'")

    @cached_property
    def follows(self) -> dict[str, list[str]]:
        """What needs each task."""
        made: dict[str, list[str]] = {name: [] for name in self.needs}
        for name, needs in self.needs.items():
            for need in needs:
                made[need].append(name)
        return {name: made[name] for name in reversed(self.needs)}

    def must(self, name: str) -> frozenset[str]:
        """Models without which the task cannot be done."""
        return frozenset.intersection(*(way.models for way in self.ways[name]))

    def load_ms(self, host: str, model: str) -> int:
        """Time to load it first."""
        row = self.hosts[host]
        return 0 if row.cloud or model in row.resident else row.models[model].load_ms

    def gap_ms(self, one: Way, other: Way) -> int:
        """Least time between the end of the one and the start of the other on their host."""
        host = self.hosts[one.host]
        if host.cloud or (one.models == other.models and one.own_bytes == other.own_bytes == 0):
            return 0
        pairs = [(old, new) for old in one.models for new in other.models if old != new and one.ms + other.ms]
        swaps = [
            host.models[old].unload_ms + host.models[new].load_ms
            for old, new in pairs
            if not together(host, {old, new})
        ]
        unloads = [host.models[old].unload_ms for old in excluded(host, one.models, other)]
        loads = [host.models[new].load_ms for new in excluded(host, other.models, one)]
        return max([*swaps, *unloads, sum(loads)])

    def first_ms(self, way: Way) -> int:
        """Least time before anything can run that way."""
        host = self.hosts[way.host]
        if host.cloud:
            return 0
        new = [model for model in way.models if model not in host.resident]
        waits = [
            host.models[old].unload_ms + host.models[model].load_ms
            for old in host.resident
            for model in new
            if way.ms and not together(host, {old, model})
        ]
        waits += [host.models[old].unload_ms for old in excluded(host, host.resident, way)]
        return max([sum(host.models[model].load_ms for model in new), *waits])

    def earliest(
        self, raised: Iterable[Lift], prices: Mapping[str, Mapping[str, int]], *, forwards: bool
    ) -> dict[str, list[int]]:
        """For each task and way the least time before it can start, or (backwards) after it ends."""
        order = self.needs if forwards else self.follows
        lifts: dict[str, list[Lift]] = {}
        for lift in raised:
            if lift.task not in self.needs or lift.side not in ("head", "tail"):
                raise WrongWitnessError(f"the lift of '{lift.task}' lifts nothing")
            if (lift.side == "head") is forwards:
                lifts.setdefault(lift.task, []).append(lift)
        numbers = {name: at for at, name in enumerate(order)}
        names, masks = list(order), dict[str, int]()
        values: dict[str, list[int]] = {}
        for name, before in order.items():
            floor = self.release[name] if forwards else 0
            if lifts:
                masks[name] = 0
                for need in before:
                    masks[name] |= masks[need] | 1 << numbers[need]
            for lift in lifts.get(name, ()):
                behind = (other for other in names[: numbers[name]] if masks[name] >> numbers[other] & 1)
                kept = [other for other in behind if min(values[other]) >= lift.after_ms]
                start = forwards and lift.after_ms <= 0
                least = self.window_ms(kept, lift.model, prices, from_start=start)
                floor = max(floor, lift.after_ms + least if kept else 0)
            values[name] = [max(floor, self.first_ms(way) if forwards else 0) for way in self.ways[name]]
            for need in before:
                ends = [(value + way.ms, way) for value, way in zip(values[need], self.ways[need], strict=True)]
                self._arrive(values[name], self.ways[name], ends, forwards=forwards)
        return values

    def _arrive(self, row: list[int], ways: Sequence[Way], ends: Sequence[tuple[int, Way]], *, forwards: bool) -> None:
        least, by = min(ends, key=lambda pair: pair[0])
        for at, way in enumerate(ways):
            arrival = least
            if way.host == by.host:
                arrival = min(
                    end
                    + (
                        0
                        if way.host != other.host
                        else self.gap_ms(other, way)
                        if forwards
                        else self.gap_ms(way, other)
                    )
                    for end, other in ends
                )
            row[at] = max(row[at], arrival)

    def earned(self, names: Sequence[str], prices: Mapping[str, Mapping[str, int]]) -> tuple[dict[str, int], int]:
        """What each task costs by these prices, and the most that all hosts earn in a millisecond."""
        costs, worth = self._priced(names, prices)
        return costs, sum(dearest(self.hosts[host], row) for host, row in worth.items())

    def _priced(
        self, names: Sequence[str], prices: Mapping[str, Mapping[str, int]]
    ) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        costs: dict[str, int] = {}
        used: dict[str, set[str]] = {}
        for name in names:
            rates = []
            for way in self.ways[name]:
                row = prices.get(way.host, {})
                rates.append(way.ms * sum(row.get(model, 0) for model in way.models))
                used.setdefault(way.host, set()).update(way.models)
            costs[name] = min(rates)
        worth = {
            host: {m: prices.get(host, {}).get(m, 0) * self.hosts[host].models[m].slots for m in models}
            for host, models in used.items()
        }
        return costs, worth

    def window_ms(
        self, names: Sequence[str], model: str, prices: Mapping[str, Mapping[str, int]], *, from_start: bool
    ) -> int:
        """Least time for these tasks by the price of one model, or by given prices."""
        if model:
            prices = {host: {model: 1} for host in self.hosts}
            names = [name for name in names if model in self.must(name)]
        costs, worth = self._priced(names, prices)
        capacity = sum(dearest(self.hosts[host], row) for host, row in worth.items())
        if not capacity:
            return 0
        total = sum(costs.values())
        if from_start:
            for each in frozenset[str]().union(*(self.must(name) for name in costs)):
                total += min(row[each] * self.load_ms(host, each) for host, row in worth.items() if each in row)
        shared = longest_shared(list(costs.values()), capacity) if model else 0
        return max(-(-total // capacity), shared)


def together(host: PlanHost, models: Iterable[str], own_bytes: int = 0) -> bool:
    """Whether these fit beside what is pinned on the host from the start."""
    all_in = {model for model in host.resident if host.models[model].pinned} | set(models)
    if host.cloud:
        return True
    if host.max_resident is not None and len(all_in) > host.max_resident:
        return False
    return host.memory_bytes is None or own_bytes <= host.memory_bytes - sum(
        host.models[model].memory_bytes for model in all_in
    )


def excluded(host: PlanHost, models: Iterable[str], way: Way) -> set[str]:
    """Which of these cannot be in memory while a task runs that way; a task of no duration excludes nothing."""
    if not way.ms:
        return set()
    return {model for model in set(models) - way.models if not together(host, way.models | {model}, way.own_bytes)}


def dearest(host: PlanHost, worth: Mapping[str, int]) -> int:
    """The most that a set of models which fits together is worth."""
    if host.cloud:
        return sum(worth.values())
    fixed = {model for model in host.resident if host.models[model].pinned}
    sets, best = [frozenset[str]()], 0
    for model in sorted(model for model, value in worth.items() if value and model not in fixed):
        sets += [grown for chosen in sets if together(host, grown := chosen | {model})]
    best = max(sum(worth[model] for model in chosen) for chosen in sets)
    return best + sum(worth.get(model, 0) for model in fixed)


def longest_shared(durations: Sequence[int], slots: int) -> int:
    """On that many slots some slot runs k + 1 of the k * slots + 1 longest."""
    falling = sorted(durations, reverse=True)
    sums = [
        sum(falling[shared * slots - shared : shared * slots + 1])
        for shared in range(min(SHARED_MAX, (len(falling) - 1) // slots) + 1)
    ]
    return max(sums, default=0)
