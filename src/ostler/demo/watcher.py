"""Looks at the hub and the machines from outside, once for every picture, and remembers all events."""

import time
from collections.abc import Mapping

import msgspec

from ostler.demo.fleet import Fleet
from ostler.demo.machines import MachineState, with_swaps_of_hub
from ostler.demo.story import Moment
from ostler.demo.workload import LONG_COMMAND
from ostler.domain.errors import UnreachableError
from ostler.domain.event import Event
from ostler.domain.fleet import Health
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.hub.views import EndpointRow, WorkerRow

EVENTS_PER_LOOK = 1000
TASKS_MAX = 1000


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment. `elapsed_s` counts from the first task."""

    elapsed_s: float
    now_ms: int
    tasks: tuple[Task, ...] = ()
    endpoints: tuple[EndpointRow, ...] = ()
    workers: tuple[WorkerRow, ...] = ()
    machines: Mapping[str, MachineState] = {}
    """Of machines that are switched on."""
    off: frozenset[str] = frozenset()
    """Machines that are switched off."""
    events: tuple[Event, ...] = ()
    """All events so far, oldest first."""


class Watcher:
    """Takes looks. A hub that does not answer once leaves what was known before."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._begun_s = time.monotonic()
        self._events: list[Event] = []
        self._last = Look(elapsed_s=0.0, now_ms=0)

    @property
    def elapsed_s(self) -> float:
        """Real seconds since the first task."""
        return time.monotonic() - self._begun_s

    def look(self) -> Look:
        """The picture of now."""
        client = self._fleet.client
        try:
            tasks = client.tasks(limit=TASKS_MAX)
            endpoints, workers = client.endpoints().endpoints, client.workers().workers
            self._read_events()
        except UnreachableError:
            self._fleet.processes.check()
            return msgspec.structs.replace(self._last, elapsed_s=self.elapsed_s)
        on = {name: machine for name, machine in self._fleet.machines.items() if machine.is_on}
        self._last = Look(
            elapsed_s=self.elapsed_s,
            now_ms=tasks.now_ms,
            tasks=tasks.tasks[::-1],
            endpoints=endpoints,
            workers=workers,
            machines={name: with_swaps_of_hub(self._fleet.total(name), name, self._events) for name in on},
            off=frozenset(self._fleet.machines.keys() - on.keys()),
            events=tuple(self._events),
        )
        return self._last

    def _read_events(self) -> None:
        after = self._events[-1].seq if self._events else 0
        while True:
            page = self._fleet.client.events(after, EVENTS_PER_LOOK)
            self._events += page.events
            after = page.last_seq
            if len(page.events) < EVENTS_PER_LOOK:
                return


def moment_of(look: Look, doomed: str) -> Moment:
    """What the story needs to know of a look. `doomed` is the machine that is switched off, and its endpoint."""
    ended = sum(task.state in FINAL_STATES for task in look.tasks)
    endpoint = next((row for row in look.endpoints if row.view.spec.name == doomed), None)
    joined = {row.session.offer.name for row in look.workers}
    is_up = endpoint is not None and endpoint.view.health is Health.UP
    busy = endpoint is not None and endpoint.in_flight > 0 and _runs_there(look, LONG_COMMAND, doomed)
    return Moment(
        elapsed_s=look.elapsed_s,
        ended_share=ended / max(1, len(look.tasks)),
        all_over=bool(look.tasks) and all(map(_is_over, look.tasks)),
        doomed_is_busy=busy,
        loss_noticed=not is_up and doomed not in joined,
        fell_back=any(task.fallback_used for task in look.tasks),
        is_back=is_up and doomed in joined,
    )


def _is_over(task: Task) -> bool:
    """Whether nothing will happen to it without a person; what needs such a task waits, and is given up in the end."""
    return task.state in FINAL_STATES or task.state is TaskState.NEEDS_HUMAN


def _runs_there(look: Look, task_id: str, worker: str) -> bool:
    return any(
        task.id == task_id and task.worker == worker and task.state in LEASED_STATES and task.started_ms is not None
        for task in look.tasks
    )
