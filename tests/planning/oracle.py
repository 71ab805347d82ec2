"""The shortest makespan of a tiny instance by trying everything: independent of planners, solvers and bounds.

Best first over states of time. At an instant any start that is possible may happen (a task, a load, an unload), or
time goes on to the next end or release. Some optimal schedule starts everything as early as what is before it allows,
so only these instants matter. The estimate is the longest chain of what is left, without swaps or slots.

A stay in memory of no length, which only a task of no duration can use, is not tried; there alone its answer may be
above the true one. Exponential: for at most about six tasks.
"""

import heapq
from collections.abc import Iterator

import msgspec

from ostler.planning.instance import Instance, PlanHost, PlanTask, can_host, task_ms

Running = tuple[int, int, int, int]  # left, task, host, choice
Moving = tuple[int, int, str, bool]  # left, host, model, whether it loads
Ready = frozenset[tuple[int, str]]


class State(msgspec.Struct, frozen=True, order=True):
    """All that matters at an instant; times are what is left."""

    done: tuple[int, ...]
    running: tuple[Running, ...]
    moving: tuple[Moving, ...]
    ready: tuple[tuple[int, str], ...]
    started: int = -1
    """Number of the last start at this instant: starts are tried in one order only."""


class TooLargeError(Exception):
    """More states than are worth trying."""


def shortest_ms(instance: Instance, states_max: int = 60_000) -> int:
    """The shortest makespan of any plan. Raises `TooLargeError` when that takes more states than allowed."""
    return _Search(instance).run(states_max)


class _Search:
    def __init__(self, instance: Instance) -> None:
        self.hosts = instance.hosts
        self.tasks = _required(instance)
        index = {task.id: at for at, task in enumerate(self.tasks)}
        self.needs = [sorted({index[need] for need in task.needs}) for task in self.tasks]
        self.lasts = [
            min(task_ms(choice, host) for choice in task.choices for host in self.hosts if can_host(choice, host))
            for task in self.tasks
        ]
        self.starts = [
            *(
                ("task", at, number, host)
                for at, task in enumerate(self.tasks)
                for number, choice in enumerate(task.choices)
                for host in range(len(self.hosts))
                if can_host(choice, self.hosts[host])
            ),
            *(
                (kind, 0, model, host)
                for host, row in enumerate(self.hosts)
                if not row.cloud
                for model in sorted(row.models)
                if self._useful(row, model)
                for kind in ("load", "unload")
            ),
        ]

    def _useful(self, host: PlanHost, model: str) -> bool:
        used = any(model in c.models for task in self.tasks for c in task.choices if can_host(c, host))
        return used or model in host.resident

    def run(self, states_max: int) -> int:
        ready = tuple(
            sorted((at, model) for at, host in enumerate(self.hosts) if not host.cloud for model in set(host.resident))
        )
        first = State(done=(), running=(), moving=(), ready=ready)
        queue = [(self._left(first, 0), 0, first)]
        seen: set[tuple[State, int]] = set()
        while queue:
            _, now, state = heapq.heappop(queue)
            key = (state, now if self._waits_for_release(now) else -1)
            if key in seen:
                continue
            seen.add(key)
            if len(state.done) == len(self.tasks):
                return now
            if len(seen) > states_max:
                raise TooLargeError
            for then, later in self._next(state, now):
                heapq.heappush(queue, (then + self._left(later, then), then, later))
        raise AssertionError("no plan at all")

    def _waits_for_release(self, now: int) -> bool:
        return any(task.release_ms > now for task in self.tasks)

    def _left(self, state: State, now: int) -> int:
        left = {task: time for time, task, _, _ in state.running}
        ends = [0] * len(self.tasks)
        for at in range(len(self.tasks)):
            if at in state.done:
                continue
            start = max((ends[need] for need in self.needs[at]), default=0)
            ends[at] = left[at] if at in left else max(start, self.tasks[at].release_ms - now) + self.lasts[at]
        return max(ends, default=0)

    def _next(self, state: State, now: int) -> Iterator[tuple[int, State]]:
        for number in range(state.started + 1, len(self.starts)):
            if (after := self._begun(state, number, now)) is not None:
                yield now, after
        steps = [row[0] for row in (*state.running, *state.moving)]
        steps += [task.release_ms - now for task in self.tasks if task.release_ms > now]
        if steps:
            yield now + min(steps), self._passed(state, min(steps))

    def _passed(self, state: State, step: int) -> State:
        ended = [task for left, task, _, _ in state.running if left == step]
        loaded = [(host, model) for left, host, model, loads in state.moving if left == step and loads]
        return State(
            done=tuple(sorted((*state.done, *ended))),
            running=tuple(sorted((row[0] - step, *row[1:]) for row in state.running if row[0] > step)),
            moving=tuple(sorted((row[0] - step, *row[1:]) for row in state.moving if row[0] > step)),
            ready=tuple(sorted((*state.ready, *loaded))),
        )

    def _begun(self, state: State, number: int, now: int) -> State | None:
        kind, at, what, host = self.starts[number]
        if kind == "task":
            assert isinstance(what, int)
            return self._task(state, number, (at, what, host), now)
        assert isinstance(what, str)
        serving = self.hosts[host].models[what]
        if kind == "load":
            if not self._may_load(state, host, what):
                return None
            if not serving.load_ms:
                ready = tuple(sorted((*state.ready, (host, what))))
                return msgspec.structs.replace(state, ready=ready, started=-1)
            moving = tuple(sorted((*state.moving, (serving.load_ms, host, what, True))))
            return msgspec.structs.replace(state, moving=moving, started=number)
        if (host, what) not in state.ready or serving.pinned or self._busy(state, host, what):
            return None
        ready = tuple(row for row in state.ready if row != (host, what))
        if not serving.unload_ms:
            return msgspec.structs.replace(state, ready=ready, started=-1)
        moving = tuple(sorted((*state.moving, (serving.unload_ms, host, what, False))))
        return msgspec.structs.replace(state, ready=ready, moving=moving, started=number)

    def _task(self, state: State, number: int, row: tuple[int, int, int], now: int) -> State | None:
        at, number_of_choice, host = row
        choice, place = self.tasks[at].choices[number_of_choice], self.hosts[host]
        begun = at in state.done or any(task == at for _, task, _, _ in state.running)
        if begun or now < self.tasks[at].release_ms or any(need not in state.done for need in self.needs[at]):
            return None
        models = set(choice.models)
        if not place.cloud and any((host, model) not in state.ready for model in models):
            return None
        lasts = task_ms(choice, place)
        if not lasts:
            return msgspec.structs.replace(state, done=tuple(sorted((*state.done, at))), started=-1)
        if any(self._busy(state, host, model) >= place.models[model].slots for model in models):
            return None
        if not place.cloud and not self._room(state, host, choice.memory_bytes):
            return None
        running = tuple(sorted((*state.running, (lasts, at, host, number_of_choice))))
        return msgspec.structs.replace(state, running=running, started=number)

    def _busy(self, state: State, host: int, model: str) -> int:
        return sum(
            model in self.tasks[task].choices[number].models for _, task, at, number in state.running if at == host
        )

    def _may_load(self, state: State, host: int, model: str) -> bool:
        serving, place = self.hosts[host].models[model], self.hosts[host]
        held = self._held(state, host)
        if model in held or (serving.load_ms and any(at == host and loads for _, at, _, loads in state.moving)):
            return False
        if place.max_resident is not None and len(held) >= place.max_resident:
            return False
        return self._room(state, host, serving.memory_bytes)

    def _held(self, state: State, host: int) -> set[str]:
        moving = {model for _, at, model, _ in state.moving if at == host}
        return moving | {model for at, model in state.ready if at == host}

    def _room(self, state: State, host: int, wanted: int) -> bool:
        place = self.hosts[host]
        if place.memory_bytes is None:
            return True
        used = sum(place.models[model].memory_bytes for model in self._held(state, host))
        used += sum(
            self.tasks[task].choices[number].memory_bytes for _, task, at, number in state.running if at == host
        )
        return used + wanted <= place.memory_bytes


def _required(instance: Instance) -> list[PlanTask]:
    """Tasks that are not optional and what they need, in an order that respects needs."""
    known = {task.id: task for task in instance.tasks}
    order: list[PlanTask] = []

    def visit(name: str) -> None:
        if all(task.id != name for task in order):
            for need in known[name].needs:
                visit(need)
            order.append(known[name])

    for task in instance.tasks:
        if not task.optional:
            visit(task.id)
    return order
