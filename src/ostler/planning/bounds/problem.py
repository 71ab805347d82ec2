"""An instance as bounds read it: tasks in an order that respects needs, and for each its *modes*.

A mode is one way to run a task on one *place*. Hosts that nothing tells apart are one place with a count. Optional
tasks are left out, and with them the order they stand for: what a plan may drop, no bound may count. A model that no
mode uses is left out as well: without its episodes a plan still holds.
"""

from functools import cached_property

import msgspec

from ostler.planning.instance import Choice, Instance, PlanHost, can_host, checked, task_ms


class Mode(msgspec.Struct, frozen=True, gc=False):
    """One way to run a task."""

    place: int
    models: tuple[str, ...]
    ms: int


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
        kept = {task.id: task for task in instance.tasks if not task.optional}
        order = _in_order({name: [need for need in task.needs if need in kept] for name, task in kept.items()})
        index = {name: at for at, name in enumerate(order)}
        self.names = order
        self.release_ms = [kept[name].release_ms for name in order]
        self.before = [sorted({index[need] for need in kept[name].needs if need in index}) for name in order]
        self.after: list[list[int]] = [[] for _ in order]
        for at, needs in enumerate(self.before):
            for need in needs:
                self.after[need].append(at)
        bare = _places(instance)
        known: dict[tuple[Choice, ...], tuple[Mode, ...]] = {}
        self.modes: list[tuple[Mode, ...]] = []
        for name in order:
            choices = kept[name].choices
            if choices not in known:
                known[choices] = _modes(choices, bare)
                if not known[choices]:
                    checked(instance)
            self.modes.append(known[choices])
        used: list[set[str]] = [set() for _ in bare]
        for modes in known.values():
            for mode in modes:
                used[mode.place].update(mode.models)
        self.places = [msgspec.structs.replace(place, used=tuple(sorted(used[at]))) for at, place in enumerate(bare)]

    @cached_property
    def ms(self) -> list[int]:
        """Shortest duration of each task."""
        return [min(mode.ms for mode in modes) for modes in self.modes]

    @cached_property
    def musts(self) -> list[frozenset[str]]:
        """Models that each task uses in whichever mode."""
        known: dict[tuple[Mode, ...], frozenset[str]] = {}
        for modes in self.modes:
            if modes not in known:
                known[modes] = frozenset.intersection(*(frozenset(mode.models) for mode in modes))
        return [known[modes] for modes in self.modes]

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Every model that some task cannot do without, sorted."""
        return tuple(sorted(frozenset().union(*self.musts)))


def _modes(choices: tuple[Choice, ...], places: list[Place]) -> tuple[Mode, ...]:
    made = [
        (Mode(at, tuple(sorted(set(choice.models))), task_ms(choice, place.host)), choice.memory_bytes)
        for choice in choices
        for at, place in enumerate(places)
        if can_host(choice, place.host)
    ]
    beside_pinned = [mode for mode, own in made if places[mode.place].fits(frozenset(mode.models), own)]
    best: dict[tuple[int, tuple[str, ...]], Mode] = {}
    for mode in beside_pinned or [mode for mode, _ in made]:
        key = (mode.place, mode.models)
        if key not in best or mode.ms < best[key].ms:
            best[key] = mode
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
