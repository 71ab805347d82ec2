"""A declared order of phases as data: which needs it breaks, and the least change that mends it.

An *order* is a row of groups. A group starts when all groups before it have ended (a barrier), or as soon as its tasks
can (no barrier); inside a group tasks run side by side, each after what it needs, or one after the other as listed.

An order is *whole* when every task of the instance is in exactly one group. A need is *broken* when the needed task
comes later than the one that needs it: in a later group, or further down a group that runs one after the other. A plan
is only ever made of a whole order that breaks nothing (see `layout`); `repaired` gives one for every whole order.

All of this is linear in tasks and needs, but for sorting.
"""

from collections.abc import Mapping
from graphlib import TopologicalSorter

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.planning.instance import Instance

MAX_BROKEN_SHOWN = 20


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that belong together."""

    name: str
    tasks: tuple[str, ...]
    """In order of preference where they compete for a slot."""
    sequential: bool = False
    """One after the other, in the order given."""
    barrier: bool = True
    """Nothing of it starts, and no model is swapped for it, before all groups in front of it have ended."""
    models: tuple[str, ...] = ()
    """A task of the group takes its choice of these models if it has one; empty = whichever ends first."""


Order = tuple[Group, ...]


class BrokenNeed(msgspec.Struct, frozen=True, kw_only=True):
    """A task that an order would run before what it needs."""

    task: str
    need: str
    group: str
    """The group of the task."""
    need_group: str

    def __str__(self) -> str:
        if self.group == self.need_group:
            return f"{self.task} runs before {self.need} in {self.group}"
        return f"{self.task} ({self.group}) runs before {self.need} ({self.need_group})"


class BrokenOrderError(InvalidInputError):
    """An order that runs tasks before what they need; `broken` has every pair."""

    code = "broken_order"

    def __init__(self, broken: tuple[BrokenNeed, ...], *, where: str = "phases") -> None:
        self.broken = broken
        shown = "; ".join(str(pair) for pair in broken[:MAX_BROKEN_SHOWN])
        more = f"; and {len(broken) - MAX_BROKEN_SHOWN} more" if len(broken) > MAX_BROKEN_SHOWN else ""
        count = "a need" if len(broken) == 1 else f"{len(broken)} needs"
        super().__init__(
            f"the order of phases breaks {count}: {shown}{more}",
            where=where,
            remedy="let it be repaired, or move the tasks behind what they need",
        )


def declared(instance: Instance) -> Order:
    """The order that the tasks' own `phase` fields declare, by first appearance; empty if a task declares none."""
    groups: dict[str, list[str]] = {}
    for task in instance.tasks:
        groups.setdefault(task.phase, []).append(task.id)
    if "" in groups:
        return ()
    return tuple(Group(name=name, tasks=tuple(tasks)) for name, tasks in groups.items())


def left_out(order: Order, instance: Instance) -> tuple[str, ...]:
    """Tasks of the instance that are in no group, in the instance's order."""
    present = {task for group in order for task in group.tasks}
    return tuple(task.id for task in instance.tasks if task.id not in present)


def refuse_unless_whole(order: Order, instance: Instance) -> None:
    """Raise `InvalidInputError` for a task that is in no group, in two, or not in the instance."""
    names = {task.id for task in instance.tasks}
    seen: dict[str, str] = {}
    for group in order:
        for task in group.tasks:
            if task not in names:
                raise InvalidInputError(
                    f"no task '{task}' is planned", where=f"phase {group.name}", remedy=nearest(task, names)
                )
            if task in seen:
                what = f"task '{task}' is also in phase {seen[task]}"
                raise InvalidInputError(what, where=f"phase {group.name}", remedy="leave it in one of them")
            seen[task] = group.name
    if missing := left_out(order, instance):
        raise InvalidInputError(
            f"the phases leave out {', '.join(missing)}", where="phases", remedy="add each to a phase"
        )


def broken_needs(order: Order, instance: Instance) -> tuple[BrokenNeed, ...]:
    """Every need that the order breaks, in the order of its tasks. Tasks in no group are passed over."""
    places = {
        task: (group_index, index if group.sequential else 0)
        for group_index, group in enumerate(order)
        for index, task in enumerate(group.tasks)
    }
    needs = {task.id: task.needs for task in instance.tasks}
    return tuple(
        BrokenNeed(task=task, need=need, group=group.name, need_group=order[places[need][0]].name)
        for group in order
        for task in group.tasks
        for need in needs.get(task, ())
        if need in places and places[need] > places[task]
    )


def repaired(order: Order, instance: Instance) -> Order:
    """The order with each task that came too early moved right behind the group of what it needs, and no other.

    Tasks that were moved from one group to one place stay together, as a group of their own. Raises
    `InvalidInputError` if the order is not whole.
    """
    refuse_unless_whole(order, instance)
    needs = {task.id: task.needs for task in instance.tasks}
    places = _places_behind_needs(order, needs)
    # A place is (group it follows or is, how often moved behind another there, group it comes from): in running order.
    tasks_at: dict[tuple[int, int, int], list[str]] = {}
    for group in order:
        for task in group.tasks:
            tasks_at.setdefault(places[task], []).append(task)
    made = []
    for place, tasks in sorted(tasks_at.items()):
        behind, moves, source = place
        group = order[source]
        in_order = _needs_first(tasks, needs) if group.sequential else tasks
        name = f"{group.name} behind {order[behind].name}" if moves else group.name
        made.append(msgspec.structs.replace(group, name=name, tasks=tuple(in_order)))
    return tuple(made)


def _places_behind_needs(order: Order, needs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[int, int, int]]:
    source_of = {task: index for index, group in enumerate(order) for task in group.tasks}
    places: dict[str, tuple[int, int, int]] = {}
    for task in TopologicalSorter({task: needs[task] for task in source_of}).static_order():
        source = source_of[task]
        place = (source, 0, source)
        latest = max((places[need] for need in needs[task]), default=place)
        if latest > place:
            behind, moves, latest_source = latest
            place = latest if latest_source == source else (behind, moves + 1, source)
        places[task] = place
    return places


def _needs_first(tasks: list[str], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The same tasks, each behind what it needs among them, otherwise as they were."""
    members = set(tasks)
    made: list[str] = []
    done: set[str] = set()

    def add(first: str) -> None:
        stack = [(first, False)]
        while stack:
            task, needs_done = stack.pop()
            if task in done:
                continue
            if needs_done:
                done.add(task)
                made.append(task)
                continue
            stack.append((task, True))
            stack.extend((need, False) for need in reversed(needs[task]) if need in members and need not in done)

    for task in tasks:
        add(task)
    return made
