"""An instance as bounds read it: tasks in an order that respects needs, and for each its *modes*.

A mode is one way to run a task on one *place*. Hosts that nothing tells apart are one place with a count. Optional
tasks are left out, except those that a task which must be done needs: what a plan may drop, no bound may count. A model
that no mode uses is left out as well: without its episodes a plan still holds.
"""

from functools import cached_property

import msgspec

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, can_host, checked, task_ms

Served = tuple[int, int, tuple[str, ...]]
"""A choice, a place and the models that it takes there."""


class Mode(msgspec.Struct, frozen=True, gc=False):
    """One way to run a task."""

    place: int
    models: tuple[str, ...]
    ms: int
    own_bytes: int = 0
    """Memory of the task itself."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that are alike."""

    host: PlanHost
    names: tuple[str, ...]
    pinned: frozenset[str]
    """In memory at the start and never unloaded: every set of residents holds them."""
    used: tuple[str, ...]
    """Models that some mode uses here, sorted."""

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.names)

    def fits(self, models: frozenset[str], own_bytes: int = 0) -> bool:
        """Whether these can be in memory together, beside what is pinned."""
        host, together = self.host, models | self.pinned
        if host.cloud:
            return True
        if host.max_resident is not None and len(together) > host.max_resident:
            return False
        return host.memory_bytes is None or (
            sum(host.models[model].memory_bytes for model in together) + own_bytes <= host.memory_bytes
        )

    def load_ms(self, model: str) -> int:
        """Time until it can first be used: nothing when it is in memory at the start."""
        return 0 if self.host.cloud or model in self.host.resident else self.host.models[model].load_ms


class Problem:
    """Index-based view; task `i` needs only tasks with a smaller index."""

    def __init__(self, instance: Instance) -> None:
        """Reads an instance. Raises `InvalidInputError` for a task that no host can run."""
        kept = {task.id: task for task in _required(instance)}
        order = _in_order({name: list(task.needs) for name, task in kept.items()})
        index = {name: at for at, name in enumerate(order)}
        self.names = order
        self.release_ms = [kept[name].release_ms for name in order]
        self.before = [sorted({index[need] for need in kept[name].needs}) for name in order]
        self.after: list[list[int]] = [[] for _ in order]
        for at, needs in enumerate(self.before):
            for need in needs:
                self.after[need].append(at)
        bare = _places(instance)
        known: dict[tuple[object, ...], list[Served]] = {}
        self.modes: list[tuple[Mode, ...]] = []
        for name in order:
            choices = kept[name].choices
            key = tuple((choice.models, choice.hosts, choice.memory_bytes) for choice in choices)
            if key not in known:
                known[key] = _served(choices, bare)
                if not known[key]:
                    checked(instance)
            self.modes.append(_modes(choices, known[key], bare))
        used: list[set[str]] = [set() for _ in bare]
        for rows in known.values():
            for _, place, models in rows:
                used[place].update(models)
        self.places = [msgspec.structs.replace(place, used=tuple(sorted(used[at]))) for at, place in enumerate(bare)]

    @cached_property
    def ms(self) -> list[int]:
        """Shortest duration of each task."""
        return [min(mode.ms for mode in modes) for modes in self.modes]

    @cached_property
    def musts(self) -> list[frozenset[str]]:
        """Models that each task uses in whichever mode."""
        known: dict[tuple[tuple[str, ...], ...], frozenset[str]] = {}
        made = []
        for modes in self.modes:
            key = tuple(mode.models for mode in modes)
            if key not in known:
                known[key] = frozenset.intersection(*map(frozenset, key))
            made.append(known[key])
        return made

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Every model that some task cannot do without, sorted."""
        return tuple(sorted(frozenset().union(*set(self.musts))))


def _required(instance: Instance) -> list[PlanTask]:
    known = {task.id: task for task in instance.tasks}
    asked = [task.id for task in instance.tasks if not task.optional]
    found = set(asked)
    for name in asked:
        asked += [need for need in dict.fromkeys(known[name].needs) if need not in found]
        found.update(known[name].needs)
    return [task for task in instance.tasks if task.id in found]


def _served(choices: tuple[Choice, ...], places: list[Place]) -> list[Served]:
    """Which of the choices can run where: beside what is pinned, or if that leaves nothing at all anywhere."""
    made = [
        (number, at, tuple(sorted(set(choice.models))))
        for number, choice in enumerate(choices)
        for at, place in enumerate(places)
        if can_host(choice, place.host)
    ]
    beside_pinned = [
        (number, at, models)
        for number, at, models in made
        if places[at].fits(frozenset(models), choices[number].memory_bytes)
    ]
    return beside_pinned or made


def _modes(choices: tuple[Choice, ...], served: list[Served], places: list[Place]) -> tuple[Mode, ...]:
    best: dict[tuple[int, tuple[str, ...], int], Mode] = {}
    for number, at, models in served:
        ms = task_ms(choices[number], places[at].host)
        own = choices[number].memory_bytes
        known = best.get((at, models, own))
        if known is None or ms < known.ms:
            best[at, models, own] = Mode(at, models, ms, own)
    return tuple(best.values())


def _places(instance: Instance) -> list[Place]:
    told_apart = {name for task in instance.tasks for choice in task.choices for name in choice.hosts}
    alike: list[tuple[PlanHost, str, list[str]]] = []
    for host in instance.hosts:
        own = host.name if host.name in told_apart else ""
        nameless = msgspec.structs.replace(host, name="")
        for other, other_own, names in alike:
            if other_own == own and msgspec.structs.replace(other, name="") == nameless:
                names.append(host.name)
                break
        else:
            alike.append((host, own, [host.name]))
    return [
        Place(
            host=host,
            names=tuple(names),
            pinned=frozenset(model for model in host.resident if host.models[model].pinned),
            used=(),
        )
        for host, _, names in alike
    ]


def _in_order(needs: dict[str, list[str]]) -> list[str]:
    missing = {name: len(set(before)) for name, before in needs.items()}
    followers: dict[str, list[str]] = {}
    for name, before in needs.items():
        for need in sorted(set(before)):
            followers.setdefault(need, []).append(name)
    order = [name for name, count in missing.items() if not count]
    for name in order:
        for follower in followers.get(name, ()):
            missing[follower] -= 1
            if not missing[follower]:
                order.append(follower)
    return order
