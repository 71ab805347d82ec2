"""An instance prepared for many simulations: numbers in lists instead of names in structs. Made once, never changed.

Tasks and hosts are known by their place in the instance. A *class* is a kind of queue: the models that its tasks need
at once, the hosts where they may run, and the memory that a task takes itself. A task has one *option* for each of its
choices that some host can serve; of two in one class the cheaper, then the shorter.

    path[j] = shortest duration of j + the largest path among those that need j      (upward rank)
    rank[j] = the same with changes counted on the way                               (the default key)

A change is what a host that cannot hold the models of both tasks at once has to unload and load between them. Where
one host could hold both, or only the second can run there, nothing has to change. Of `n` hosts that could take the
second task one has to change for it, and n - 1 go on meanwhile: each bears an n-th.

Cost: O(tasks + needs + choices x hosts), and O(hosts) for each pair of classes of which one needs the other.
"""

from typing import NamedTuple

from ostler.planning.instance import PERMILLE, Choice, Instance, PlanHost, can_host
from ostler.residency.state import Footprint


class Option(NamedTuple):
    """One way to do a task."""

    kind: int
    """Its class."""
    duration_ms: int
    """Before the pace of the host."""
    cost_micro_usd: int
    choice: int


class Class(NamedTuple):
    """A kind of queue."""

    models: tuple[str, ...]
    hosts: tuple[int, ...]
    """Where its tasks can run: the fastest first, then by place."""
    paces: tuple[int, ...]
    """Permille, in the order of `hosts`."""
    everywhere: bool
    """Whether it may run on every host that has the models."""
    memory_bytes: int


class Compiled:
    """The instance in numbers."""

    __slots__ = (
        "_changes",
        "classes",
        "dated",
        "footprints",
        "gates",
        "instance",
        "needs",
        "options",
        "path",
        "plain",
        "priced",
        "rank",
        "release",
        "shortest",
        "size",
        "successors",
    )

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.size = len(instance.tasks)
        index = {task.id: place for place, task in enumerate(instance.tasks)}
        self.needs = [tuple(sorted({index[need] for need in task.needs})) for task in instance.tasks]
        successors: list[list[int]] = [[] for _ in instance.tasks]
        for place, needs in enumerate(self.needs):
            for need in needs:
                successors[need].append(place)
        self.successors = [tuple(row) for row in successors]
        self.release = [task.release_ms for task in instance.tasks]
        self.gates = [len(needs) + (ms > 0) for needs, ms in zip(self.needs, self.release, strict=True)]
        """What a task waits for: its needs, and its release if that is not at once."""
        self.footprints = [_footprints(host) for host in instance.hosts]
        self.classes: list[Class] = []
        self.options: list[tuple[Option, ...]] = []
        self._set_options()
        self.shortest = [min((self._lasts(option) for option in options), default=0) for options in self.options]
        self._changes: dict[tuple[int, int], int] = {}
        self.path, self.rank = self._paths(changes=False), self._paths(changes=True)
        self.plain = all(len(kind.models) == 1 and not kind.memory_bytes for kind in self.classes)
        """Whether every task needs one model and no memory of its own: the common case, made fast."""
        self.dated = any(task.deadline_ms is not None for task in instance.tasks)
        self.priced = any(option.cost_micro_usd for options in self.options for option in options)

    def _set_options(self) -> None:
        known: dict[tuple[tuple[str, ...], tuple[str, ...], int], int] = {}
        for task in self.instance.tasks:
            options: dict[int, Option] = {}
            for place, choice in enumerate(task.choices):
                models = tuple(dict.fromkeys(choice.models))
                key = (models, tuple(sorted(choice.hosts)), choice.memory_bytes)
                if key not in known:
                    known[key] = len(self.classes)
                    self.classes.append(_class(self.instance, choice, models))
                kind = known[key]
                option = Option(kind, choice.duration_ms, choice.cost_micro_usd, place)
                if self.classes[kind].hosts and (kind not in options or _dearness(option) < _dearness(options[kind])):
                    options[kind] = option
            self.options.append(tuple(options.values()))

    def _lasts(self, option: Option) -> int:
        return paced(option.duration_ms, self.classes[option.kind].paces[0])

    def _paths(self, *, changes: bool) -> list[int]:
        path = [0] * self.size
        for place in reversed(self.topological()):
            longest_ms = 0
            for after in self.successors[place]:
                path_ms = path[after] + (self.change_ms(place, after) if changes else 0)
                longest_ms = max(longest_ms, path_ms)
            path[place] = self.shortest[place] + longest_ms
        return path

    def change_ms(self, task: int, after: int) -> int:
        """What lies between a task and one that needs it: the least change between two of their options."""
        least_ms: int | None = None
        for option in self.options[task]:
            for other in self.options[after]:
                pair = (option.kind, other.kind)
                if (known_ms := self._changes.get(pair)) is None:
                    known_ms = self._changes[pair] = self._change_ms(self.classes[pair[0]], self.classes[pair[1]])
                least_ms = known_ms if least_ms is None else min(least_ms, known_ms)
        return least_ms or 0

    def _change_ms(self, first: Class, second: Class) -> int:
        if first.models == second.models:
            return 0
        least_ms: int | None = None
        for place in second.hosts:
            host, sizes = self.instance.hosts[place], self.footprints[place]
            if place not in first.hosts or _fit_together(first, second, host):
                return 0
            change_ms = sum(sizes[model].unload_ms for model in first.models if model not in second.models)
            change_ms += sum(sizes[model].load_ms for model in second.models if model not in first.models)
            least_ms = change_ms if least_ms is None else min(least_ms, change_ms)
        return (least_ms or 0) // max(1, len(second.hosts))

    def topological(self) -> list[int]:
        """Places so that needs come first."""
        missing = [len(needs) for needs in self.needs]
        order = [place for place, count in enumerate(missing) if not count]
        for place in order:
            for after in self.successors[place]:
                missing[after] -= 1
                if not missing[after]:
                    order.append(after)
        return order


def _fit_together(first: Class, second: Class, host: PlanHost) -> bool:
    models = {*first.models, *second.models}
    if host.max_resident is not None and len(models) > host.max_resident:
        return False
    return host.memory_bytes is None or sum(host.models[model].memory_bytes for model in models) <= host.memory_bytes


def _dearness(option: Option) -> tuple[int, int]:
    return option.cost_micro_usd, option.duration_ms


def paced(duration_ms: int, pace_permille: int) -> int:
    """Duration on a host of that pace, rounded up."""
    return duration_ms if pace_permille == PERMILLE else -(-duration_ms * pace_permille // PERMILLE)


def _footprints(host: PlanHost) -> dict[str, Footprint]:
    return {
        name: Footprint(serving.memory_bytes, serving.load_ms, serving.unload_ms, serving.slots, serving.pinned)
        for name, serving in host.models.items()
    }


def _class(instance: Instance, choice: Choice, models: tuple[str, ...]) -> Class:
    able = []
    for place, host in enumerate(instance.hosts):
        if can_host(choice, host):
            pace = max((host.models[model].pace_permille for model in models), default=PERMILLE)
            able.append((pace, place))
    able.sort()
    everywhere = not choice.hosts
    return Class(
        models, tuple(place for _, place in able), tuple(pace for pace, _ in able), everywhere, choice.memory_bytes
    )
