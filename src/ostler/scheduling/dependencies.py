"""Who needs whom. Cycles are refused before anything is stored; needs are counted down as tasks end.

A need is met when the needed task succeeded, or when it is optional and ended in any way. A need that can no longer be
met ends the tasks behind it too (cancelled, with the reason), rather than leaving them to wait for ever.

Cost: O(needs) for a task that comes or goes, O(tasks that need it) for one that is met, and what `behind` takes.
"""

from collections.abc import Iterable, Mapping, Sequence

from ostler.domain.errors import CycleError
from ostler.scheduling.behind import Behind


def find_cycle(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """A ring among `needs` (task -> tasks it needs), first name repeated at the end; `None` if there is none.

    Names that are no keys are outside and cannot be part of a ring. O(tasks + needs), no recursion.
    """
    done: set[str] = set()
    for start in needs:
        if start in done:
            continue
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, step = stack.pop()
            if step == 0:
                on_path[name] = len(path)
                path.append(name)
            following = needs.get(name, ())
            if step < len(following):
                stack.append((name, step + 1))
                needed = following[step]
                if needed in on_path:
                    return (*path[on_path[needed] :], needed)
                if needed in needs and needed not in done:
                    stack.append((needed, 0))
                continue
            done.add(name)
            path.pop()
            del on_path[name]
    return None


def check_cycle(needs: Mapping[str, Sequence[str]]) -> None:
    """Raise `CycleError` that names the ring, if there is one."""
    cycle = find_cycle(needs)
    if cycle is not None:
        raise CycleError(cycle)


class Dependencies:
    """Open needs of tasks that are not final."""

    def __init__(self) -> None:
        self._missing: dict[str, set[str]] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        # inner dicts are ordered sets: arrival order matters, and a task leaves in O(1)
        self._order: dict[str, list[str]] = {}
        """Needs of a task, the first by name last; those that are met go when they come to be the last."""
        self.behind = Behind()
        """Each task that waits for others stands behind the first of them by name."""

    def add(self, task_id: str, open_needs: Iterable[str]) -> None:
        """Record what a task still waits for."""
        missing = set(open_needs)
        if not missing:
            return
        self._missing[task_id] = missing
        order = self._order[task_id] = sorted(missing, reverse=True)
        for needed in missing:
            self._dependents.setdefault(needed, {})[task_id] = None
        self.behind.stand(task_id, order[-1])

    def missing(self, task_id: str) -> frozenset[str]:
        """What a task still waits for."""
        return frozenset(self._missing.get(task_id, ()))

    def drop(self, task_id: str) -> None:
        """Forget a task's own needs (it ended)."""
        for needed in self._missing.pop(task_id, ()):
            dependents = self._dependents.get(needed)
            if dependents is not None:
                dependents.pop(task_id, None)
                if not dependents:
                    del self._dependents[needed]
        self._order.pop(task_id, None)
        self.behind.stand(task_id, None)

    def met(self, task_id: str) -> list[str]:
        """A task met its dependents' need; returns those that now wait for nothing, in order of their arrival."""
        freed: list[str] = []
        for dependent in self._dependents.pop(task_id, ()):
            missing = self._missing[dependent]
            missing.discard(task_id)
            order = self._order[dependent]
            while order and order[-1] not in missing:
                order.pop()
            self.behind.stand(dependent, order[-1] if order else None)
            if not missing:
                del self._missing[dependent], self._order[dependent]
                freed.append(dependent)
        return freed

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Tasks that wait for this one."""
        return tuple(self._dependents.get(task_id, ()))
