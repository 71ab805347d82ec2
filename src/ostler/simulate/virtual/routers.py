"""Simple routers in front of the same simulated machines: the rivals that the scheduler is measured against.

    fifo          strict order of arrival: the head waits for a place, all others wait for the head; the machine whose
                  memory suffices takes it, models that were used longest ago leave for it
    round-robin   each call to the next endpoint that serves its model; the machine queues it, as Ollama does
    least-loaded  each call to the endpoint with the fewest calls under way or queued
    warm-first    as least-loaded, but endpoints that have the model loaded come first
    drain         serve what the loaded models have until nothing waits for them, then change to the model with most
                  waiting work

The first and the last keep the queue themselves and never hand a machine more than its slots; the others hand over at
once, and the machine's own queue (in order of arrival, calls for loaded models past it) decides. All are told what the
scheduler is told; `drain` counts waiting work by the true lengths, which favours it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from ostler.simulate.virtual.sites import Machine


class Ticket(msgspec.Struct, kw_only=True):
    """A call that wants a place."""

    number: int
    model: str
    endpoints: tuple[str, ...]
    """All that serve the model, by name."""
    work_ms: int


class Stall(msgspec.Struct, kw_only=True):
    """An endpoint as a router sees it. `machine`: `None` for a cloud, which has room for everybody."""

    name: str
    machine: Machine | None
    slots: Callable[[str], int]
    placed: dict[str, int] = {}
    """Calls handed over and not over, by model."""

    @property
    def load(self) -> int:
        """All calls handed over and not over."""
        return sum(self.placed.values())

    def is_warm(self, model: str) -> bool:
        """Whether the model is loaded there, or will be for calls that were handed over."""
        return self.machine is None or self.machine.expects(model)

    def has_slot(self, model: str) -> bool:
        """Whether one more call of a model would run at once if the model were loaded."""
        return self.machine is None or self.placed.get(model, 0) < self.slots(model)


class Desk(Protocol):
    """What a router may do."""

    @property
    def stalls(self) -> Mapping[str, Stall]:
        """Endpoints that answer now, by name."""
        ...

    def place(self, ticket: Ticket, endpoint: str) -> None:
        """Hand a call over."""
        ...


class Router(Protocol):
    """Where each call goes."""

    def add(self, ticket: Ticket) -> None:
        """A call wants a place."""
        ...

    def withdraw(self, ticket: Ticket) -> None:
        """A call that was not placed is given up."""
        ...

    def dispatch(self) -> None:
        """Something changed: place what can be placed."""
        ...


class Pushing:
    """Hands each call over at once. Waits only while nothing that serves the model answers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stranded: list[Ticket] = []

    def add(self, ticket: Ticket) -> None:
        """Place it."""
        stalls = [self._desk.stalls[name] for name in ticket.endpoints if name in self._desk.stalls]
        if stalls:
            self._desk.place(ticket, self.choose(ticket, stalls).name)
        else:
            self._stranded.append(ticket)

    def withdraw(self, ticket: Ticket) -> None:
        """Forget it."""
        if ticket in self._stranded:
            self._stranded.remove(ticket)

    def dispatch(self) -> None:
        """Place what found nobody before."""
        stranded, self._stranded = self._stranded, []
        for ticket in stranded:
            self.add(ticket)

    def choose(self, ticket: Ticket, stalls: list[Stall]) -> Stall:
        """One of the endpoints that serve the model, given by name."""
        raise NotImplementedError


class RoundRobin(Pushing):
    """One after the other."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._turn = 0

    def choose(self, ticket: Ticket, stalls: list[Stall]) -> Stall:
        """The next one."""
        del ticket
        self._turn += 1
        return stalls[(self._turn - 1) % len(stalls)]


class LeastLoaded(Pushing):
    """The one with the fewest calls."""

    def choose(self, ticket: Ticket, stalls: list[Stall]) -> Stall:
        """The least loaded one, ties by name."""
        del ticket
        return min(stalls, key=lambda stall: (stall.load, stall.name))


class WarmFirst(Pushing):
    """One that has the model, else the one with the fewest calls."""

    def choose(self, ticket: Ticket, stalls: list[Stall]) -> Stall:
        """A warm one, the least loaded of these, ties by name."""
        return min(stalls, key=lambda stall: (not stall.is_warm(ticket.model), stall.load, stall.name))


class Fifo:
    """Strict order of arrival; models used longest ago leave."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._queue: deque[Ticket] = deque()

    def add(self, ticket: Ticket) -> None:
        """Queue it."""
        self._queue.append(ticket)

    def withdraw(self, ticket: Ticket) -> None:
        """Forget it."""
        if ticket in self._queue:
            self._queue.remove(ticket)

    def dispatch(self) -> None:
        """Place heads until one has to wait."""
        while self._queue and (stall := self._place_for(self._queue[0])) is not None:
            self._desk.place(self._queue.popleft(), stall.name)

    def _place_for(self, ticket: Ticket) -> Stall | None:
        stalls = [self._desk.stalls[name] for name in ticket.endpoints if name in self._desk.stalls]
        warm = [stall for stall in stalls if stall.is_warm(ticket.model) and stall.has_slot(ticket.model)]
        if warm:
            return min(warm, key=lambda stall: (stall.load, stall.name))
        cold = [stall for stall in stalls if can_load(stall, ticket.model)]
        if not cold:
            return None
        stall = min(cold, key=lambda stall: (len(leaving_for(stall, ticket.model) or ()), stall.load, stall.name))
        make_room(stall, ticket.model)
        return stall


class Drain:
    """Serve the loaded models exhaustively, then change to the model with most waiting work."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._queues: dict[str, deque[Ticket]] = {}

    def add(self, ticket: Ticket) -> None:
        """Queue it with those of its model."""
        self._queues.setdefault(ticket.model, deque()).append(ticket)

    def withdraw(self, ticket: Ticket) -> None:
        """Forget it."""
        queue = self._queues.get(ticket.model)
        if queue is not None and ticket in queue:
            queue.remove(ticket)

    def dispatch(self) -> None:
        """Serve, then change where nothing is left to serve, until nothing moves."""
        stalls = [self._desk.stalls[name] for name in sorted(self._desk.stalls)]
        moved = True
        while moved:
            served = [self._serve(stall) for stall in stalls]
            moved = any(served) or any(self._change(stall) for stall in stalls)

    def _serve(self, stall: Stall) -> bool:
        served = False
        for model in self._waiting():
            queue = self._queues[model]
            while queue and stall.name in queue[0].endpoints and stall.is_warm(model) and stall.has_slot(model):
                self._desk.place(queue.popleft(), stall.name)
                served = True
        return served

    def _change(self, stall: Stall) -> bool:
        machine = stall.machine
        if machine is None:
            return False
        ranked = sorted(self._waiting(), key=lambda model: (-sum(t.work_ms for t in self._queues[model]), model))
        busy = any(self._queues.get(model) for model in machine.ready)
        for model in ranked:
            if stall.name not in self._queues[model][0].endpoints or stall.is_warm(model):
                continue
            if not can_load(stall, model) or (busy and leaving_for(stall, model)):
                continue
            make_room(stall, model)
            self._desk.place(self._queues[model].popleft(), stall.name)
            return True
        return False

    def _waiting(self) -> list[str]:
        return sorted(model for model, queue in self._queues.items() if queue)


def can_load(stall: Stall, model: str) -> bool:
    """Whether a load of the model could begin now, after idle models have left."""
    machine = stall.machine
    if machine is None:
        return True
    return machine.is_settled and not stall.is_warm(model) and leaving_for(stall, model) is not None


def leaving_for(stall: Stall, model: str) -> tuple[str, ...] | None:
    """Idle models that have to leave for a model, used longest ago first; `None` = not enough of them are idle."""
    machine = stall.machine
    if machine is None:
        return ()
    free_bytes, count = machine.free_bytes(), len(machine.ready)
    needed, leaving = machine.size_bytes(model), list[str]()
    for victim in sorted(_idle(stall), key=lambda name: (machine.ready[name], name)):
        if free_bytes >= needed and count < machine.spec.max_loaded:
            break
        leaving.append(victim)
        free_bytes += machine.size_bytes(victim)
        count -= 1
    return tuple(leaving) if free_bytes >= needed and count < machine.spec.max_loaded else None


def make_room(stall: Stall, model: str) -> None:
    """Have idle models leave; the machine itself waits for them before it loads."""
    for victim in leaving_for(stall, model) or ():
        if stall.machine is not None:
            stall.machine.unload(victim)


def _idle(stall: Stall) -> Iterable[str]:
    machine = stall.machine
    return [] if machine is None else [model for model in machine.ready if not stall.placed.get(model, 0)]


ROUTERS: Mapping[str, Callable[[Desk], Router]] = {
    "fifo": Fifo,
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "warm-first": WarmFirst,
    "drain": Drain,
}
"""The rivals by name."""
