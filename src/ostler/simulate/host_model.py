"""How one machine with Ollama on it queues, loads and evicts. Pure: events with `now_ms` in, decisions out.

The driver calls `submit`, `finish`, `cancel`, `expire` and `advance`; each answers with the decisions taken since, in
order. Between events only timers move the host: `next_timer_ms` says when to call `advance`. A driver may be late: a
timer takes effect at its own time, not at the time of the call. Equal events give equal decisions.

Rules, after Ollama's scheduler (2026), kept with their weak points, because schedulers must live with them:

1. A call for a loaded model with the same context is attached at once, past the queue, even when that model is waiting
   to be evicted; beyond its slots it waits there. So a stream of such calls can hold up the queue for ever.
2. All others queue, first in first out. The head blocks the rest until its model is loaded or cannot be.
3. One load at a time. The same model with another context is unloaded first. `max_loaded` counts usable models.
4. A load may claim all of an empty memory, `fit_percent` of what is free beside others. What is unloading anyway is
   waited for; otherwise a victim goes: the idle model with the shortest keep-alive (ties by name), whatever its size or
   use; if none is idle, the first in that order, once it is. A busy model is never unloaded.
5. A keep-alive runs while a model is idle. 0 unloads it as soon as it is.
6. Out of memory during a load: everything else is evicted and the load tried once more.
7. A client that hangs up frees its place or slot; if its model was loading, the load is given up.

Unlike Ollama, `max_queue` bounds all waiting calls, not only those whose model is not loaded: nothing is unbounded.
Each event costs O(residents log residents), a cancelled queue place O(queue).
"""

from collections import deque
from enum import Enum

import msgspec

from ostler.simulate.faults import FaultBoard, FaultKind
from ostler.simulate.host_events import (
    FOREVER_MS,
    Call,
    CallRefused,
    CallStarted,
    Counters,
    Decision,
    HostView,
    LoadEnded,
    LoadStarted,
    RefusalCause,
    UnloadCause,
    UnloadEnded,
    UnloadStarted,
)
from ostler.simulate.residents import Resident, Residents
from ostler.simulate.spec import BYTES_PER_GIB, SimulatedHostSpec
from ostler.simulate.timing import Timing, duration_ms

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
LOAD_FAILED = "llama runner process has terminated: error loading model: simulated load failure"
OUT_OF_MEMORY = "llama runner process has terminated: cudaMalloc failed: out of memory (simulated)"


class _Stage(Enum):
    QUEUED = 0
    HEAD = 1
    WAITING = 2
    RUNNING = 3


class _Ticket:
    """A call on its way. Once at the head, it remembers what it waits for."""

    def __init__(self, call: Call, submitted_ms: int) -> None:
        self.call = call
        self.submitted_ms = submitted_ms
        self.attached_ms = submitted_ms
        self.stage = _Stage.QUEUED
        self.resident: Resident | None = None
        self.cancelled = False
        self.evicted = False
        self.out_of_memory = False
        """Its load ran out of memory once: the next attempt starts alone in memory and is the last."""
        self.awaited: list[Resident] = []
        """Unloads it waits for. Ollama's queue stays blocked by them even if the client has gone."""


class HostModel:
    """The scheduling state of one simulated host."""

    def __init__(self, spec: SimulatedHostSpec, faults: FaultBoard | None = None, *, now_ms: int = 0) -> None:
        self.spec = spec
        self.counters = Counters()
        self._faults = faults or FaultBoard(spec.faults, now_ms=now_ms)
        self._models = {model.key: model for model in spec.models}
        self._keep_alive_ms = FOREVER_MS if spec.keep_alive_s < 0 else int(spec.keep_alive_s * 1000)
        self._residents = Residents(spec.capacity_bytes)
        self._tickets: dict[int, _Ticket] = {}
        self._queue: deque[_Ticket] = deque()
        self._head: _Ticket | None = None
        self._now_ms = now_ms
        self._decisions: list[Decision] = []

    # Events

    def submit(self, call: Call, now_ms: int) -> list[Decision]:
        """A client asks. Raises `KeyError` for a model the host does not have."""
        self._models[call.model]
        self._advance(now_ms)
        ticket = _Ticket(call, self._now_ms)
        resident = self._residents.ready.get(call.model)
        if resident is not None and resident.num_ctx == call.num_ctx:
            must_wait = not (call.load_only or resident.has_free_slot)
        else:
            resident, must_wait = None, self._head is not None
        if must_wait and len(self._queue) + self._residents.waiting >= self.spec.max_queue:
            self._refuse(call, RefusalCause.QUEUE_FULL, QUEUE_FULL)
        elif resident is not None:
            self._tickets[call.call_id] = ticket
            self._attach(ticket, resident)
        else:
            self._tickets[call.call_id] = ticket
            self._queue.append(ticket)
        return self._settle()

    def finish(self, call_id: int, now_ms: int) -> list[Decision]:
        """A started call has all its tokens."""
        self._advance(now_ms)
        call = self._tickets[call_id].call
        self.counters.calls_finished += 1
        self.counters.prompt_tokens += call.prompt_tokens
        self.counters.output_tokens += call.output_tokens
        self._leave(call_id)
        return self._settle()

    def cancel(self, call_id: int, now_ms: int) -> list[Decision]:
        """The client hung up. A call that is not known, or refused meanwhile, is ignored."""
        self._advance(now_ms)
        ticket = self._tickets.get(call_id)
        if ticket is None:
            return self._settle()
        self.counters.calls_cancelled += 1
        if ticket.stage is _Stage.QUEUED:
            self._queue.remove(ticket)
            del self._tickets[call_id]
        elif ticket.stage is _Stage.HEAD:
            ticket.cancelled = True
            if self._residents.loading is not None:
                self._abort_load(self._residents.loading)
        else:
            self._leave(call_id)
        return self._settle()

    def expire(self, model: str, now_ms: int) -> list[Decision]:
        """The model is asked to leave: now if idle, else as soon as it is. One that is not loaded is ignored."""
        self._advance(now_ms)
        resident = self._residents.ready.get(model)
        if resident is not None:
            self._dismiss(resident, UnloadCause.EXPIRED)
        return self._settle()

    def advance(self, now_ms: int) -> list[Decision]:
        """Time has passed."""
        self._advance(now_ms)
        return self._settle()

    # Reading

    def next_timer_ms(self) -> int | None:
        """When the next load, unload or keep-alive ends; `None` = nothing happens without an event."""
        due = self._residents.next_due()
        return None if due is None else due.timer_ms

    def view(self) -> HostView:
        """The state now."""
        return HostView(
            now_ms=self._now_ms,
            capacity_bytes=self._residents.capacity_bytes,
            used_bytes=self._residents.used_bytes,
            residents=self._residents.views(),
            head=self._head.call.model if self._head else None,
            queue=tuple(ticket.call.model for ticket in self._queue),
            counters=msgspec.structs.replace(self.counters),
        )

    # Time

    def _advance(self, now_ms: int) -> None:
        while (due := self._residents.next_due()) is not None and due.timer_ms is not None and due.timer_ms <= now_ms:
            self._now_ms = max(self._now_ms, due.timer_ms)
            if due is self._residents.loading:
                self._end_load(due)
            elif due in self._residents.unloading:
                self._end_unload(due)
            else:
                self._unload(due, UnloadCause.EXPIRED)
            self._serve_queue()
        self._now_ms = max(self._now_ms, now_ms)

    def _settle(self) -> list[Decision]:
        self._serve_queue()
        self._advance(self._now_ms)  # timers of zero length
        decisions, self._decisions = self._decisions, []
        return decisions

    # The queue

    def _serve_queue(self) -> None:
        while True:
            if self._head is None:
                if not self._queue:
                    return
                self._head = self._queue.popleft()
                self._head.stage = _Stage.HEAD
            if not self._serve_head(self._head):
                return
            self._head = None

    def _serve_head(self, head: _Ticket) -> bool:
        """One step for the head of the queue; true when it is done with, served or not."""
        if self._residents.loading is not None or head.awaited:
            return False
        if head.cancelled:
            del self._tickets[head.call.call_id]
            return True
        resident = self._residents.ready.get(head.call.model)
        if resident is not None and resident.num_ctx == head.call.num_ctx:
            self._attach(head, resident)
            return True
        return self._make_room(head, resident)

    def _make_room(self, head: _Ticket, same_model: Resident | None) -> bool:
        """Load the head's model, or evict for it. True when it never can be loaded."""
        residents, spec = self._residents, self._models[head.call.model]
        needed = spec.resident_bytes(head.call.num_ctx)
        if needed > residents.capacity_bytes:
            self._refuse(head.call, RefusalCause.DOES_NOT_FIT, _too_large(needed, residents.capacity_bytes))
            return True
        if same_model is not None:
            self._evict(head, same_model, UnloadCause.RELOADED)
        elif going := [resident for resident in residents.unloading if resident.spec.key == head.call.model]:
            head.awaited = going  # a model is in memory once
        elif head.out_of_memory and (residents.ready or residents.unloading):
            head.awaited = [*residents.ready.values(), *residents.unloading]
            for resident in list(residents.ready.values()):
                self._dismiss(resident, UnloadCause.EVICTED)
        elif len(residents.ready) < self.spec.max_loaded and residents.fits(needed, self.spec.fit_percent):
            self._load(head)
        elif residents.unloading and len(residents.ready) < self.spec.max_loaded:
            head.awaited = list(residents.unloading)
        else:
            self._evict(head, residents.victim(), UnloadCause.EVICTED)
        return False

    def _evict(self, head: _Ticket, victim: Resident, cause: UnloadCause) -> None:
        head.evicted = True
        head.awaited = [victim]
        self._dismiss(victim, cause)

    # Calls

    def _attach(self, ticket: _Ticket, resident: Resident) -> None:
        ticket.attached_ms = self._now_ms
        ticket.resident = resident
        resident.timer_ms = None
        if ticket.call.keep_alive_ms is not None:
            resident.keep_alive_ms = ticket.call.keep_alive_ms
        if ticket.call.load_only:
            resident.holders.add(ticket.call.call_id)
            self._start(ticket)
        elif resident.has_free_slot:
            resident.running.add(ticket.call.call_id)
            self._start(ticket)
        else:
            ticket.stage = _Stage.WAITING
            resident.waiting.append(ticket.call.call_id)

    def _start(self, ticket: _Ticket) -> None:
        ticket.stage = _Stage.RUNNING
        call, spec = ticket.call, self._models[ticket.call.model]
        timing = Timing(
            submitted_ms=ticket.submitted_ms,
            attached_ms=ticket.attached_ms,
            started_ms=self._now_ms,
            prefill_ms=duration_ms(call.prompt_tokens, spec.prefill_tokens_per_s) + call.delay_ms,
            decode_ms=duration_ms(call.output_tokens, spec.decode_tokens_per_s),
        )
        self._decisions.append(CallStarted(call_id=call.call_id, timing=timing))

    def _leave(self, call_id: int) -> None:
        resident = self._tickets.pop(call_id).resident
        if resident is None:
            return
        resident.running.discard(call_id)
        resident.holders.discard(call_id)
        if call_id in resident.waiting:
            resident.waiting.remove(call_id)
        while resident.waiting and resident.has_free_slot:
            next_id = resident.waiting.popleft()
            resident.running.add(next_id)
            self._start(self._tickets[next_id])
        if resident.is_idle:
            if resident.leaving is not None:
                self._unload(resident, resident.leaving)
            else:
                resident.timer_ms = self._now_ms + resident.keep_alive_ms

    def _refuse(self, call: Call, cause: RefusalCause, message: str) -> None:
        self._tickets.pop(call.call_id, None)
        self.counters.calls_refused += 1
        refused = CallRefused(call_id=call.call_id, at_ms=self._now_ms, cause=cause, message=message)
        self._decisions.append(refused)

    # Memory

    def _load(self, head: _Ticket) -> None:
        spec = self._models[head.call.model]
        resident = Resident(spec, head.call.num_ctx, self._keep_alive_ms)
        resident.timer_ms = self._now_ms + int(spec.load_s * 1000)
        self._residents.loading = resident
        self._decisions.append(
            LoadStarted(
                at_ms=self._now_ms,
                model=spec.key,
                num_ctx=resident.num_ctx,
                ready_ms=resident.timer_ms,
                is_swap=head.evicted,
            )
        )

    def _end_load(self, resident: Resident) -> None:
        head, model = self._head, resident.spec.key
        self._residents.loading = None
        resident.timer_ms = None
        self.counters.load_ms += int(resident.spec.load_s * 1000)
        fault = self._faults.strike_load(model)
        if fault is None:
            self.counters.loads += 1
            self.counters.swaps += int(head is not None and head.evicted)
            self._residents.ready[model] = resident
            self._decisions.append(LoadEnded(at_ms=self._now_ms, model=model))
            return
        out_of_memory = fault.kind is FaultKind.OUT_OF_MEMORY
        message = OUT_OF_MEMORY if out_of_memory else LOAD_FAILED
        self.counters.failed_loads += 1
        self._decisions.append(LoadEnded(at_ms=self._now_ms, model=model, error=message))
        if head is None:
            return
        if out_of_memory and self._residents.ready and not head.out_of_memory:
            head.out_of_memory = True
        else:
            self._refuse(head.call, RefusalCause.LOAD_FAILED, message)
            self._head = None

    def _abort_load(self, resident: Resident) -> None:
        self._residents.loading = None
        self._decisions.append(LoadEnded(at_ms=self._now_ms, model=resident.spec.key, error="aborted"))
        self._begin_unload(resident, UnloadCause.ABORTED)

    def _dismiss(self, resident: Resident, cause: UnloadCause) -> None:
        """Have it go: at once if idle, else when it is."""
        resident.keep_alive_ms = 0
        resident.leaving = cause
        if resident.is_idle:
            self._unload(resident, cause)

    def _unload(self, resident: Resident, cause: UnloadCause) -> None:
        del self._residents.ready[resident.spec.key]
        self._begin_unload(resident, cause)

    def _begin_unload(self, resident: Resident, cause: UnloadCause) -> None:
        resident.timer_ms = self._now_ms + int(resident.spec.unload_s * 1000)
        self._residents.unloading.append(resident)
        self._decisions.append(
            UnloadStarted(at_ms=self._now_ms, model=resident.spec.key, cause=cause, done_ms=resident.timer_ms)
        )

    def _end_unload(self, resident: Resident) -> None:
        self._residents.unloading.remove(resident)
        self.counters.unloads += 1
        self.counters.unload_ms += int(resident.spec.unload_s * 1000)
        self._decisions.append(UnloadEnded(at_ms=self._now_ms, model=resident.spec.key))
        if self._head is not None and resident in self._head.awaited:
            self._head.awaited.remove(resident)
        elif self._head is not None and not self._head.out_of_memory:
            self._head.awaited.clear()  # room has come from elsewhere: look again


def _too_large(needed_bytes: int, available_bytes: int) -> str:
    needed, available = needed_bytes / BYTES_PER_GIB, available_bytes / BYTES_PER_GIB
    return f"model requires more system memory ({needed:.1f} GiB) than is available ({available:.1f} GiB)"
