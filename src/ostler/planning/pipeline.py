"""A pipeline as a value: tasks with needs, slots it may use, and the phases somebody declared for it. Pure.

Needs order the work. Phases do not: those that are *derived* group the tasks by their depth in the graph of needs and
by their model, for people to read; those that are *declared* are a claim about an order (see `phases`), which may break
needs or leave tasks out. All of this is O(tasks + needs).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ostler.domain.tasks import TaskSpec
from ostler.planning.phases import Group, Order

WILDCARDS = "*?"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A declared phase: its tasks run after all of the phase before it."""

    name: str
    tasks: tuple[str, ...]
    parallel: bool = True
    """Whether its tasks run side by side, each after what it needs; else one after the other, as listed."""


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of one document, by the ids they have in it."""

    name: str = ""
    specs: tuple[TaskSpec, ...]
    slots: Mapping[str, int] = {}
    """Model, as it is written -> tasks of this pipeline that may work on it at once."""
    limit: int | None = None
    """Tasks of this pipeline that may run at once."""
    phases: tuple[Phase, ...] = ()
    """The order that is claimed; empty = none is."""


class DerivedPhase(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks of one depth that use one model. Depth 0 needs nothing."""

    depth: int
    model: str
    tasks: tuple[str, ...]


def is_wildcard(name: str) -> bool:
    """Whether a need stands for several tasks."""
    return any(sign in name for sign in WILDCARDS)


def matching(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that a wildcard matches, in their order: `*` is any text, `?` any one character.

    >>> matching("*-implementation", ["api-implementation", "plan", "app-implementation"])
    ('api-implementation', 'app-implementation')
    """
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    shape = re.compile("".join(parts), re.DOTALL)
    return tuple(name for name in names if shape.fullmatch(name))


def depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many tasks stand before each on its longest chain of needs. `needs` has no ring; names outside count as none.

    >>> depths({"a": [], "b": ["a"], "c": ["a", "b"]})
    {'a': 0, 'b': 1, 'c': 2}
    """
    missing = {task: len({need for need in wanted if need in needs}) for task, wanted in needs.items()}
    dependents: dict[str, list[str]] = {}
    for task, wanted in needs.items():
        for need in dict.fromkeys(wanted):
            dependents.setdefault(need, []).append(task)
    found = dict.fromkeys(needs, 0)
    ready = [task for task, count in missing.items() if count == 0]
    for task in ready:  # grows while it is walked
        for dependent in dependents.get(task, ()):
            found[dependent] = max(found[dependent], found[task] + 1)
            missing[dependent] -= 1
            if missing[dependent] == 0:
                ready.append(dependent)
    return found


def derived_phases(needs: Mapping[str, Sequence[str]], models: Mapping[str, str]) -> tuple[DerivedPhase, ...]:
    """The tasks in groups of equal depth and model, least depth first, then in the order the models first appear."""
    order = {model: index for index, model in enumerate(dict.fromkeys(models[task] for task in needs))}
    groups: dict[tuple[int, int], list[str]] = {}
    for task, depth in depths(needs).items():
        groups.setdefault((depth, order[models[task]]), []).append(task)
    names = list(order)
    return tuple(
        DerivedPhase(depth=depth, model=names[index], tasks=tuple(tasks))
        for (depth, index), tasks in sorted(groups.items())
    )


def claimed_order(phases: Sequence[Phase]) -> Order:
    """The declared phases as an order to check, to follow, or to mend (see `phases`)."""
    return tuple(Group(name=phase.name, tasks=phase.tasks, sequential=not phase.parallel) for phase in phases)
