"""What is to be planned: hosts with memory, models that can be resident on them, tasks that need models and each other.

A cloud is a host without a memory limit whose models take no memory and no time to load; its price is in the choice of
the task. A task has alternatives (*choices*); a choice names the set of models that must be resident at once, usually
one. Memory counts from the start of a load to the end of its unload. One load at a time on each host.

An `Instance` is valid by construction through `checked`, which names every mistake; the structs alone check nothing,
because generators and solvers make thousands of them.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.errors import InvalidInputError, nearest

PERMILLE = 1000


class Serving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model on one host: what it takes there."""

    memory_bytes: int = 0
    """Weights and cache for its context and all its slots, counted from load start to unload end."""
    load_ms: int = 0
    unload_ms: int = 0
    slots: int = 1
    """Tasks it works on at once."""
    pace_permille: int = PERMILLE
    """Duration of a task here, as a share of the choice's duration; 2000 = twice as long."""
    pinned: bool = False
    """Never unloaded."""


class PlanHost(msgspec.Struct, frozen=True, kw_only=True):
    """A place where models can be resident."""

    name: str
    memory_bytes: int | None = None
    """Memory for models, reserve already taken off; `None` = no limit (a cloud)."""
    models: Mapping[str, Serving] = {}
    """Models that can be loaded here."""
    resident: tuple[str, ...] = ()
    """Models in memory at instant 0."""
    max_resident: int | None = None
    """At most so many models in memory at once, those loading and unloading included."""
    cloud: bool = False


class Choice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One way to do a task."""

    models: tuple[str, ...]
    """All of these must be resident on one host, each with a free slot."""
    duration_ms: int
    hosts: tuple[str, ...] = ()
    """Only on these; empty = on every host that has the models."""
    cost_micro_usd: int = 0
    memory_bytes: int = 0
    """Memory that the task itself takes on the host while it runs."""


class PlanTask(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work."""

    id: str
    choices: tuple[Choice, ...]
    """In order of preference where all else is equal."""
    needs: tuple[str, ...] = ()
    release_ms: int = 0
    deadline_ms: int | None = None
    weight: int = 1
    """Importance of its lateness."""
    optional: bool = False
    """May be left out of a plan, unless a task that is planned needs it."""
    label: str = ""
    phase: str = ""
    """Phase declared by whoever wrote it, if any; a phase is a group for people and orders nothing."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A whole problem."""

    hosts: tuple[PlanHost, ...]
    tasks: tuple[PlanTask, ...]
    minute_price_micro_usd: int = 50_000
    """What a minute of makespan is worth: joins time and money."""
    name: str = ""

    def host(self, name: str) -> PlanHost:
        """The host of that name. Raises `KeyError`."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)


def task_ms(choice: Choice, host: PlanHost) -> int:
    """Duration of a choice on a host: that of its slowest model there, rounded up.

    >>> box = PlanHost(name="box", models={"m": Serving(pace_permille=1500)})
    >>> task_ms(Choice(models=("m",), duration_ms=101), box)
    152
    """
    pace = max((host.models[model].pace_permille for model in choice.models), default=PERMILLE)
    return -(-choice.duration_ms * pace // PERMILLE)


def can_host(choice: Choice, host: PlanHost) -> bool:
    """Whether the choice could ever run there: models known, within memory and limit of residents.

    What is pinned and in memory from the start stays there, and is counted too.
    """
    if choice.hosts and host.name not in choice.hosts:
        return False
    if any(model not in host.models for model in choice.models):
        return False
    together = set(choice.models)
    together.update(model for model in host.resident if host.models[model].pinned)
    if host.max_resident is not None and len(together) > host.max_resident:
        return False
    if host.memory_bytes is None:
        return True
    models = sum(host.models[model].memory_bytes for model in together)
    return models + choice.memory_bytes <= host.memory_bytes


def checked(instance: Instance) -> Instance:
    """The instance itself. Raises `InvalidInputError` for the first thing that cannot be planned."""
    names = {task.id for task in instance.tasks}
    if len(names) != len(instance.tasks) or len({host.name for host in instance.hosts}) != len(instance.hosts):
        raise InvalidInputError("two tasks or two hosts have one name", where="plan", remedy="give each its own")
    for task in instance.tasks:
        for need in task.needs:
            if need not in names:
                raise InvalidInputError(
                    f"no task '{need}' is planned", where=f"{task.id}.needs", remedy=nearest(need, names)
                )
        if not any(can_host(choice, host) for choice in task.choices for host in instance.hosts):
            wanted = " or ".join("+".join(choice.models) for choice in task.choices) or "anything"
            remedy = "add a host with that model and enough memory, or allow another model"
            raise InvalidInputError(f"no host can ever run {wanted}", where=task.id, remedy=remedy)
    _refuse_rings(instance)
    return instance


def _refuse_rings(instance: Instance) -> None:
    missing = {task.id: len(set(task.needs)) for task in instance.tasks}
    dependents: dict[str, list[str]] = {}
    for task in instance.tasks:
        for need in set(task.needs):
            dependents.setdefault(need, []).append(task.id)
    ready = [name for name, count in missing.items() if count == 0]
    while ready:
        for dependent in dependents.get(ready.pop(), ()):
            missing[dependent] -= 1
            if missing[dependent] == 0:
                ready.append(dependent)
    stuck = sorted(name for name, count in missing.items() if count > 0)
    if stuck:
        what = f"these tasks need each other in a ring, or need one that does: {', '.join(stuck[:8])}"
        raise InvalidInputError(what, where="needs", remedy="take one need out of the ring")
