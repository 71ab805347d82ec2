"""How others would schedule the same work, simulated: for comparison, and as candidates a plan must never lose to.

    fifo          one queue in strict order of readiness; the least recently used idle model leaves
    round-robin   a router in front of hosts that know nothing of each other: each task to the next host
    least-loaded  the host with the least outstanding work for its slots
    affinity      a host that has the model in memory, the least loaded of them; else the least loaded
    drain         serve the resident model until nothing waits for it, then the model with the most waiting work
    heft          critical path first, blind to swaps: interrupt whatever is less urgent

Hosts behind a router are like Ollama: first come, first served, but a request for a loaded model passes the line; the
oldest request whose model is not loaded gets the next load, as soon as idle models, least recently used first, make
room. One load at a time. `drain` and `heft` are settings of our own rule (`residency.rule`).

A task with several choices is done by its first. Only for tasks with one model each (`Compiled.plain`).
Cost: O(log n) for an event, plus the hosts for an arrival and the models that wait on a host for an event there.
"""

import math
from collections import deque
from heapq import heappop, heappush
from typing import Final

from ostler.planning.board import FINISHED, LOADED, RELEASED, UNLOADED
from ostler.planning.compiled import Compiled, Option, paced
from ostler.planning.engine import Run
from ostler.planning.plan import Plan
from ostler.planning.stays import Stay, plan_of
from ostler.residency.rule import LIVE
from ostler.residency.state import LOADING, READY, UNLOADING

DRAIN: Final = LIVE._replace(urgency_weight=0.0, look=0.0, gamma=1.0, prefetch=False, backfill=False)
HEFT: Final = LIVE._replace(work_weight=0.0, theta=0.0, look=0.0, gamma=1.0, prefetch=False, backfill=False)
ROUTERS: Final = ("round-robin", "least-loaded", "affinity")
RIVALS: Final = ("fifo", *ROUTERS, "drain", "heft")


def rival(compiled: Compiled, name: str) -> Plan | None:
    """The plan of a rival; `None` if it cannot do the work. Raises `KeyError` for an unknown name."""
    if name in {"drain", "heft"}:
        run = Run(compiled, DRAIN if name == "drain" else HEFT, keys=compiled.path).go()
        return None if run.left else run.plan(name)
    if name not in RIVALS:
        raise KeyError(name)
    if not compiled.plain:
        return None
    simulated = _Routed(compiled, name)
    simulated.go()
    return None if simulated.left else simulated.plan()


class _Host:
    """A host with its line."""

    def __init__(self, compiled: Compiled, place: int) -> None:
        spec = compiled.instance.hosts[place]
        self.place = place
        self.memory = math.inf if spec.cloud or spec.memory_bytes is None else spec.memory_bytes
        self.limit = math.inf if spec.cloud or spec.max_resident is None else spec.max_resident
        names = sorted(spec.models) if spec.cloud else spec.resident
        self.stays = {model: Stay(model, compiled, place, 0, initial=True) for model in names}
        self.used = dict.fromkeys(names, 0)
        self.lines: dict[str, deque[tuple[int, int]]] = {}
        """By model, what waits: number of arrival, task."""
        self.work_ms = 0.0

    def loading(self) -> bool:
        return any(stay.phase == LOADING for stay in self.stays.values())

    def idle(self, keep: str) -> list[Stay]:
        """Those that may leave, least recently used first."""
        idle = [
            stay
            for stay in self.stays.values()
            if stay.phase == READY and not stay.busy and not stay.pinned and stay.model != keep
        ]
        return sorted(idle, key=lambda stay: (self.used[stay.model], stay.model))


class _Routed:
    """Hosts in front of which a router stands, or one strict line for all."""

    def __init__(self, compiled: Compiled, name: str) -> None:
        self.compiled = compiled
        self.name = name
        self.hosts = [_Host(compiled, place) for place in range(len(compiled.instance.hosts))]
        self.options = [options[0] for options in compiled.options]
        self.model = [compiled.classes[option.kind].models[0] for option in self.options]
        self.queue: deque[int] = deque()
        self.gone: list[tuple[int, Stay]] = []
        self.turn = 0
        self.arrived = 0
        self.stirred: set[int] = set()
        """Hosts at which something has happened."""
        self.now_ms = 0
        self.left = compiled.size
        self.missing = compiled.gates[:]
        self.starts = [0] * compiled.size
        self.ends = [0] * compiled.size
        self.ran: list[tuple[int, Option] | None] = [None] * compiled.size
        self.events: list[tuple[int, int, int, str]] = []

    def go(self) -> None:
        for task, count in enumerate(self.missing):
            if self.compiled.release[task] > 0:
                heappush(self.events, (self.compiled.release[task], RELEASED, task, ""))
            elif not count:
                self._arrive(task)
        self._serve_all()
        while self.events and self.left:
            self.now_ms = self.events[0][0]
            while self.events and self.events[0][0] == self.now_ms:
                _, kind, number, model = heappop(self.events)
                if kind == FINISHED:
                    self._finished(number)
                elif kind == UNLOADED:
                    host = self.hosts[number]
                    self.gone.append((number, host.stays.pop(model)))
                    self.stirred.add(number)
                elif kind == LOADED:
                    self.hosts[number].stays[model].phase = READY
                    self.stirred.add(number)
                else:
                    self._gate(number)
            self._serve_all()

    def _finished(self, task: int) -> None:
        ran = self.ran[task]
        self.left -= 1
        if ran is not None:
            host = self.hosts[ran[0]]
            stay = host.stays[self.model[task]]
            stay.busy -= 1
            host.used[stay.model] = self.now_ms
            host.work_ms -= ran[1].duration_ms / stay.footprint.slots
            self.stirred.add(host.place)
        for after in self.compiled.successors[task]:
            self._gate(after)

    def _gate(self, task: int) -> None:
        self.missing[task] -= 1
        if not self.missing[task]:
            self._arrive(task)

    def _arrive(self, task: int) -> None:
        if self.name == "fifo":
            self.queue.append(task)
            return
        model, option = self.model[task], self.options[task]
        able = [self.hosts[place] for place in sorted(self.compiled.classes[option.kind].hosts)]
        if self.name == "round-robin":
            host = able[self.turn % len(able)]
            self.turn += 1
        else:
            warm = [host for host in able if model in host.stays and host.stays[model].phase != UNLOADING]
            wanted = warm if warm and self.name == "affinity" else able
            host = min(wanted, key=lambda one: (one.work_ms, one.place))
        host.work_ms += option.duration_ms / self.compiled.footprints[host.place][model].slots
        host.lines.setdefault(model, deque()).append((self.arrived, task))
        self.arrived += 1
        self.stirred.add(host.place)

    def _serve_all(self) -> None:
        if self.name == "fifo":
            self._serve_strictly()
            return
        for place in sorted(self.stirred):
            self._serve(self.hosts[place])
        self.stirred.clear()

    def _serve(self, host: _Host) -> None:
        """Loaded models pass; the oldest request for another gets the next load."""
        oldest: tuple[int, str] | None = None
        for model, line in host.lines.items():
            stay = host.stays.get(model)
            while line and stay is not None and self._has_slot(stay):
                self._start(line.popleft()[1], host)
            if line and (stay is None or stay.phase == UNLOADING) and (oldest is None or line[0][0] < oldest[0]):
                oldest = line[0][0], model
        if oldest is not None:
            self._load(host, oldest[1])

    def _serve_strictly(self) -> None:
        while self.queue:
            task = self.queue[0]
            model = self.model[task]
            able = [self.hosts[place] for place in sorted(self.compiled.classes[self.options[task].kind].hosts)]
            here = [host for host in able if model in host.stays and host.stays[model].phase != UNLOADING]
            free = [host for host in here if self._has_slot(host.stays[model])]
            if free:
                self._start(self.queue.popleft(), free[0])
                continue
            if any(host.stays[model].phase == LOADING for host in here):
                return
            for host in sorted(able, key=lambda one: (sum(stay.busy for stay in one.stays.values()), one.place)):
                if host not in here and self._load(host, model):
                    break
            return

    @staticmethod
    def _has_slot(stay: Stay) -> bool:
        return stay.phase == READY and stay.busy < stay.footprint.slots

    def _start(self, task: int, host: _Host) -> None:
        option = self.options[task]
        spec = self.compiled.classes[option.kind]
        stay = host.stays[self.model[task]]
        stay.busy += 1
        host.used[stay.model] = self.now_ms
        self.starts[task] = self.now_ms
        self.ends[task] = self.now_ms + paced(option.duration_ms, spec.paces[spec.hosts.index(host.place)])
        self.ran[task] = (host.place, option)
        heappush(self.events, (self.ends[task], FINISHED, task, ""))

    def _load(self, host: _Host, model: str) -> bool:
        """Load the model if idle models can make room; whether something has begun."""
        if host.loading() or model in host.stays:
            return False
        footprint = self.compiled.footprints[host.place][model]
        leaving = [stay for stay in host.stays.values() if stay.phase == UNLOADING]
        used = sum(stay.footprint.memory_bytes for stay in host.stays.values())
        short = used + footprint.memory_bytes - host.memory
        surplus = len(host.stays) + 1 - host.limit
        if short <= 0 and surplus <= 0:
            host.stays[model] = Stay(model, self.compiled, host.place, self.now_ms)
            host.used[model] = self.now_ms
            heappush(self.events, (self.now_ms + footprint.load_ms, LOADED, host.place, model))
            return True
        short -= sum(stay.footprint.memory_bytes for stay in leaving)
        surplus -= len(leaving)
        victims = []
        for stay in host.idle(model):
            if short <= 0 and surplus <= 0:
                break
            victims.append(stay)
            short -= stay.footprint.memory_bytes
            surplus -= 1
        if short > 0 or surplus > 0:
            return False
        for stay in victims:
            stay.phase = UNLOADING
            stay.unload_start_ms = self.now_ms
            stay.unload_end_ms = self.now_ms + stay.footprint.unload_ms
            heappush(self.events, (stay.unload_end_ms, UNLOADED, host.place, stay.model))
        return True

    def plan(self) -> Plan:
        stays = self.gone + [(host.place, stay) for host in self.hosts for stay in host.stays.values()]
        return plan_of(self.compiled, stays, (self.starts, self.ends, self.ran), self.name)
