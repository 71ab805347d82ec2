"""Three ways to order work between models, interchangeable: each takes an instance and gives a plan.

- `model-first`: drain every task that one model can do, then take the model that can do the most work next.
- `dependency-first`: tasks in the order in which they get ready; whenever the next one needs another model, swap.
- `hybrid`: as model-first, but the model of the most urgent task comes next, and the most urgent task of a model first.
  Urgency is the longest remaining path: a task's own duration and that of all that has to follow it.

Each also takes an order of phases that somebody declared, which it then follows to the letter (`phases`, `layout`);
an order that breaks needs is refused with every pair, or repaired on request. What one model can do is its *closure*:
tasks of that model that need only finished work or each other. Cost: tasks + needs, times the number of swaps at worst.
"""

from collections.abc import Callable, Iterable, Mapping

from ostler.domain.errors import InvalidInputError, nearest
from ostler.planning.instance import Choice, Instance, PlanTask, can_host
from ostler.planning.layout import laid_out
from ostler.planning.phases import Group, Order, repaired
from ostler.planning.plan import Plan

MODEL_FIRST, DEPENDENCY_FIRST, HYBRID = "model-first", "dependency-first", "hybrid"
Models = tuple[str, ...]


def planned(instance: Instance, strategy: str, order: Order | None = None, *, repair: bool = False) -> Plan:
    """The plan of a strategy; with an order, that order's.

    Raises `InvalidInputError` for an unknown strategy, `BrokenOrderError` for an order that breaks needs unless
    `repair` is asked for.
    """
    derive = ORDERS.get(strategy)
    if derive is None:
        raise InvalidInputError(f"no strategy '{strategy}'", where="strategy", remedy=nearest(strategy, ORDERS))
    if order is None:
        return laid_out(instance, derive(instance), strategy=strategy)
    order = tuple(group for group in order if group.tasks)
    followed = repaired(order, instance) if repair else order
    return laid_out(instance, followed, strategy=strategy, detail=_told(order, followed))


def _told(order: Order, followed: Order) -> str:
    if order == followed:
        return "follows the declared phases"
    names = {task: group.name for group in order for task in group.tasks}
    moved = [task for group in followed for task in group.tasks if names[task] != group.name]
    return f"follows the declared phases, mended: {', '.join(moved) or 'the order within one'} behind what it needs"


def model_first(instance: Instance) -> Plan:
    """As few swaps as draining one model after the other gives."""
    return planned(instance, MODEL_FIRST)


def dependency_first(instance: Instance) -> Plan:
    """Work in the order in which it gets ready."""
    return planned(instance, DEPENDENCY_FIRST)


def hybrid(instance: Instance) -> Plan:
    """Drain one model after the other, the critical path first."""
    return planned(instance, HYBRID)


def model_first_order(instance: Instance) -> Order:
    """Groups of one model each, the one with the most work that can be done next; ties to the one listed first."""
    work = _Work(instance)
    return tuple(work.drained(lambda models, closure: sum(work.duration_ms(task, models) for task in closure)))


def dependency_first_order(instance: Instance) -> Order:
    """One group of everything: who is ready first, runs first."""
    return (Group(name="ready first", tasks=tuple(task.id for task in instance.tasks), barrier=False),)


def hybrid_order(instance: Instance) -> Order:
    """Groups of one model each, the one of the most urgent task next, the most urgent first in each."""
    urgency = urgency_ms(instance)
    work = _Work(instance)
    rows = work.drained(lambda _, closure: max(urgency[task] for task in closure))
    return tuple(
        Group(
            name=row.name,
            tasks=tuple(sorted(row.tasks, key=lambda task: -urgency[task])),
            barrier=False,
            models=row.models,
        )
        for row in rows
    )


ORDERS: Mapping[str, Callable[[Instance], Order]] = {
    MODEL_FIRST: model_first_order,
    DEPENDENCY_FIRST: dependency_first_order,
    HYBRID: hybrid_order,
}


def urgency_ms(instance: Instance) -> dict[str, int]:
    """For each task, its shortest duration and that of the longest chain behind it; swaps are not counted."""
    dependents: dict[str, list[str]] = {task.id: [] for task in instance.tasks}
    missing = {task.id: 0 for task in instance.tasks}
    for task in instance.tasks:
        for need in dict.fromkeys(task.needs):
            dependents[need].append(task.id)
            missing[need] += 1
    tasks = {task.id: task for task in instance.tasks}
    found: dict[str, int] = {}
    free = [name for name, count in missing.items() if not count]
    while free:
        name = free.pop()
        task = tasks[name]
        own_ms = min(choice.duration_ms for choice in task.choices)
        found[name] = own_ms + max((found[dependent] for dependent in dependents[name]), default=0)
        for need in dict.fromkeys(task.needs):
            missing[need] -= 1
            if not missing[need]:
                free.append(need)
    return found


class _Work:
    """Which tasks each set of models can do, and which of them can be done next."""

    def __init__(self, instance: Instance) -> None:
        self._tasks = {task.id: task for task in instance.tasks}
        self._choices = {task.id: _local_choices(task, instance) for task in instance.tasks}
        self._missing = {task.id: len(set(task.needs)) for task in instance.tasks}
        self._place = {task.id: index for index, task in enumerate(instance.tasks)}
        self._dependents: dict[str, list[str]] = {}
        self._ready: dict[Models, dict[str, None]] = {}
        for task in instance.tasks:
            for choice in self._choices[task.id].values():
                self._ready.setdefault(choice.models, {})
            for need in dict.fromkeys(task.needs):
                self._dependents.setdefault(need, []).append(task.id)
        for name, count in self._missing.items():
            if not count:
                self._offer(name)

    def duration_ms(self, task: str, models: Models) -> int:
        """How long the task takes with these models."""
        return self._choices[task][models].duration_ms

    def drained(self, worth: Callable[[Models, tuple[str, ...]], int]) -> Iterable[Group]:
        """Groups until all is done, the worthiest closure first."""
        numbers: dict[Models, int] = {}
        while any(self._ready.values()):
            closures = {models: self._closure(models) for models, ready in self._ready.items() if ready}
            models = max(closures, key=lambda models: worth(models, closures[models]))
            numbers[models] = numbers.get(models, 0) + 1
            tasks = closures[models]
            for task in tasks:
                self._finish(task)
            name = "+".join(models) or "no model"
            yield Group(name=f"{name} {numbers[models]}", tasks=tasks, barrier=False, models=models)

    def _closure(self, models: Models) -> tuple[str, ...]:
        """In the instance's order."""
        missing: dict[str, int] = {}
        found = dict(self._ready[models])
        stack = list(found)
        while stack:
            for dependent in self._dependents.get(stack.pop(), ()):
                missing[dependent] = missing.get(dependent, self._missing[dependent]) - 1
                if not missing[dependent] and models in self._choices[dependent]:
                    found[dependent] = None
                    stack.append(dependent)
        return tuple(sorted(found, key=self._place.__getitem__))

    def _offer(self, task: str) -> None:
        for models in self._choices[task]:
            self._ready[models][task] = None

    def _finish(self, task: str) -> None:
        for models in self._choices[task]:
            self._ready[models].pop(task, None)
        self._missing[task] = -1
        for dependent in self._dependents.get(task, ()):
            self._missing[dependent] -= 1
            if not self._missing[dependent]:
                self._offer(dependent)


def _local_choices(task: PlanTask, instance: Instance) -> dict[Models, Choice]:
    """Its choices by models: those of hosts of one's own, or if there is none, those of clouds."""
    runnable = [choice for choice in task.choices if any(can_host(choice, host) for host in instance.hosts)]
    own = [choice for choice in runnable if any(can_host(choice, host) for host in instance.hosts if not host.cloud)]
    found: dict[Models, Choice] = {}
    for choice in own or runnable:
        found.setdefault(choice.models, choice)
    return found
