"""Places that take calls in virtual time: machines that load and evict models, providers that bill.

A *customer* hands a call over and is told of it exactly once how it ended, after it was told when it began (a call that
is refused, or lost with its machine, may never have begun). Told, a customer may hand over the next call at once: what
a site has to say is said in order, never within another thing it says.
"""

from collections import deque
from typing import Protocol

import msgspec

from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.simulate.cloud_model import CloudModel
from ostler.simulate.host_events import (
    FOREVER_MS,
    Call,
    CallRefused,
    CallStarted,
    Decision,
    LoadEnded,
    LoadStarted,
    RefusalCause,
    UnloadCause,
    UnloadEnded,
    UnloadStarted,
)
from ostler.simulate.host_model import HostModel
from ostler.simulate.spec import SimulatedCloudSpec, SimulatedHostSpec
from ostler.simulate.virtual.timeline import Timeline

_FAILURES = {
    RefusalCause.QUEUE_FULL: FailureClass.OVERLOADED,
    RefusalCause.DOES_NOT_FIT: FailureClass.OUT_OF_MEMORY,
    RefusalCause.LOAD_FAILED: FailureClass.SERVER,
}
LOST = "the simulated machine went away"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A call as a customer hands it over. `duration_ms` is the time of the call itself, from slot to last token."""

    number: int
    model: str
    duration_ms: int = 0
    prompt_tokens: int = 0
    load_only: bool = False
    """Wants the model in memory and nothing of it; ends once it is there."""
    keep_alive_ms: int | None = None
    """How long the model stays once it is idle; `None` = as it is set."""


class Customer(Protocol):
    """Whoever hands calls over."""

    def began(self, number: int) -> None:
        """The call got its slot."""
        ...

    def ended(self, number: int) -> None:
        """The call has all its tokens."""
        ...

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        """The call came to nothing."""
        ...

    def unloaded(self, site: str, model: str) -> None:
        """A model has left the memory of a machine."""
        ...


class SiteFigures(msgspec.Struct, kw_only=True):
    """What a site did. Milliseconds; `swaps` are loads for which another model had to go."""

    calls: int = 0
    loads: int = 0
    swaps: int = 0
    load_ms: int = 0
    unload_ms: int = 0
    busy_ms: int = 0
    """Time during which at least one call ran."""
    work_ms: int = 0
    """Time of all calls together."""


class Stay(msgspec.Struct, kw_only=True):
    """A model in a machine's memory. Virtual instants; `None` = not yet, or never."""

    model: str
    load_start_ms: int
    ready_ms: int
    unload_start_ms: int | None = None
    unload_end_ms: int | None = None


class Machine:
    """One simulated host, its timers in the timeline."""

    def __init__(self, spec: SimulatedHostSpec, timeline: Timeline, customer: Customer) -> None:
        self.name = spec.name
        self.spec = spec
        self.figures = SiteFigures()
        self.up = True
        self.ready: dict[str, int] = {}
        """Models that can take calls -> when they were last asked for."""
        self.loading: str | None = None
        self.unloading: list[str] = []
        self.stays: list[Stay] = []
        """All that was in its memory, in order of load."""
        self._timeline = timeline
        self._customer = customer
        self._host = HostModel(spec, now_ms=timeline.time_ms)
        self._orders: dict[int, Order] = {}
        self._running: set[int] = set()
        self._busy_since_ms = 0
        self._alarm_ms: int | None = None
        self._sayings: deque[Decision] = deque()
        self._saying = False
        self._asked_to_go: set[str] = set()
        self._made_room = False
        self._sizes = {model.key: model.weights_bytes for model in spec.models}
        self._contexts = {model.key: model.effective_num_ctx(None, spec.default_num_ctx) for model in spec.models}

    # What is asked of it

    def call(self, order: Order) -> None:
        """Take a call; one for a machine that is away fails at once."""
        if not self.up:
            self._customer.failed(order.number, FailureClass.NETWORK, LOST, None)
            return
        self._orders[order.number] = order
        if order.model in self.ready:
            self.ready[order.model] = self._timeline.time_ms
        call = Call(
            call_id=order.number,
            model=order.model,
            num_ctx=self._contexts[order.model],
            delay_ms=order.duration_ms,
            load_only=order.load_only,
            keep_alive_ms=order.keep_alive_ms,
        )
        self._take(self._host.submit(call, self._timeline.time_ms))

    def hang_up(self, number: int) -> None:
        """The customer no longer wants a call; nothing more is said of it."""
        if self._orders.pop(number, None) is not None:
            self._rest(number)
            self._take(self._host.cancel(number, self._timeline.time_ms))

    def unload(self, model: str) -> None:
        """Have a model leave memory, at once or as soon as it is idle."""
        if model in self.ready:
            self._asked_to_go.add(model)
            self._take(self._host.expire(model, self._timeline.time_ms))

    def fail(self) -> None:
        """It goes away: calls and models are lost."""
        self.up = False
        lost = sorted(self._orders)
        for number in list(self._running):
            self._rest(number)
        self._orders.clear()
        self._host = HostModel(self.spec, now_ms=self._timeline.time_ms)
        self.ready, self.loading, self.unloading, self._alarm_ms = {}, None, [], None
        for stay in self.stays:
            if stay.unload_end_ms is None or stay.unload_end_ms > self._timeline.time_ms:
                stay.unload_start_ms = stay.unload_end_ms = self._timeline.time_ms
        self._asked_to_go.clear()
        self._sayings.clear()
        for number in lost:
            self._customer.failed(number, FailureClass.NETWORK, LOST, None)

    def recover(self) -> None:
        """It is back, with an empty memory."""
        self.up = True

    # What is seen of it

    def residents(self) -> tuple[Resident, ...]:
        """Its memory as a listing shows it."""
        return tuple(
            Resident(model=model, context_tokens=self._contexts[model], size_bytes=self._sizes[model])
            for model in sorted(self.ready)
        )

    def free_bytes(self) -> int:
        """Memory that nothing takes."""
        taken = [*self.ready, *self.unloading] + ([self.loading] if self.loading is not None else [])
        return self.spec.capacity_bytes - sum(self._sizes[model] for model in taken)

    def size_bytes(self, model: str) -> int:
        """What a model takes here."""
        return self._sizes[model]

    @property
    def is_changing(self) -> bool:
        """Whether a load or an unload is under way."""
        return self.loading is not None or bool(self.unloading)

    @property
    def is_settled(self) -> bool:
        """Whether no load or unload is under way or needed for the calls it has."""
        return not self.is_changing and all(order.model in self.ready for order in self._orders.values())

    def expects(self, model: str) -> bool:
        """Whether a model is loaded, or will be for the calls it has."""
        return model in self.ready or self.loading == model or any(o.model == model for o in self._orders.values())

    # Time

    def _take(self, decisions: list[Decision]) -> None:
        self._sayings.extend(decisions)
        due_ms = self._host.next_timer_ms()
        if due_ms is not None and due_ms != self._alarm_ms and due_ms < FOREVER_MS // 2:
            self._alarm_ms = due_ms
            self._timeline.at(due_ms, self._ring)
        if self._saying:
            return
        self._saying = True
        while self._sayings:
            self._say(self._sayings.popleft())
        self._saying = False

    def _ring(self) -> None:
        if self._alarm_ms is not None and self._alarm_ms <= self._timeline.time_ms:
            self._alarm_ms = None
            self._take(self._host.advance(self._timeline.time_ms))

    def _say(self, decision: Decision) -> None:
        match decision:
            case CallStarted():
                self._begin(decision)
            case CallRefused():
                order = self._orders.pop(decision.call_id, None)
                if order is not None:
                    self._customer.failed(order.number, _FAILURES[decision.cause], decision.message, None)
            case LoadStarted():
                self.loading = decision.model
                stay = Stay(model=decision.model, load_start_ms=decision.at_ms, ready_ms=decision.ready_ms)
                self.stays.append(stay)
                self.figures.load_ms += decision.ready_ms - decision.at_ms
                self.figures.loads += 1
                self.figures.swaps += self._made_room
                self._made_room = False
            case LoadEnded():
                self.loading = None
                if decision.error is None:
                    self.ready[decision.model] = decision.at_ms
            case UnloadStarted():
                self._unloading(decision)
            case UnloadEnded():
                self.unloading.remove(decision.model)
                self._customer.unloaded(self.name, decision.model)

    def _unloading(self, decision: UnloadStarted) -> None:
        self.ready.pop(decision.model, None)
        self.unloading.append(decision.model)
        stay = next(stay for stay in reversed(self.stays) if stay.model == decision.model)
        stay.unload_start_ms, stay.unload_end_ms = decision.at_ms, decision.done_ms
        self.figures.unload_ms += decision.done_ms - decision.at_ms
        asked = decision.model in self._asked_to_go
        self._asked_to_go.discard(decision.model)
        if asked or decision.cause in (UnloadCause.EVICTED, UnloadCause.RELOADED):
            self._made_room = True

    def _begin(self, decision: CallStarted) -> None:
        order = self._orders.get(decision.call_id)
        if order is None:
            return
        if order.load_only:
            self._end(order.number)
            return
        if not self._running:
            self._busy_since_ms = self._timeline.time_ms
        self._running.add(order.number)
        self.figures.calls += 1
        self.figures.work_ms += order.duration_ms
        self._timeline.at(decision.timing.ends_ms, lambda: self._end(order.number))
        self._customer.began(order.number)

    def _end(self, number: int) -> None:
        order = self._orders.pop(number, None)
        if order is None:
            return
        if not order.load_only:
            self._rest(number)
            self.ready[order.model] = self._timeline.time_ms
        decisions = self._host.finish(number, self._timeline.time_ms)
        # Its end is told before what follows from it, and what the customer then asks comes after both.
        self._sayings.extend(decisions)
        self._customer.ended(number)
        self._take([])

    def _rest(self, number: int) -> None:
        if number in self._running:
            self._running.remove(number)
            if not self._running:
                self.figures.busy_ms += self._timeline.time_ms - self._busy_since_ms


class Provider:
    """One simulated cloud endpoint: no loads, limits as providers have them."""

    def __init__(self, spec: SimulatedCloudSpec, timeline: Timeline, customer: Customer) -> None:
        self.name = spec.name
        self.figures = SiteFigures()
        self.up = True
        self._timeline = timeline
        self._customer = customer
        self._cloud = CloudModel(spec, now_ms=timeline.time_ms)
        self._models = {model.name: model for model in spec.models}
        self._orders: dict[int, Order] = {}
        self._busy_since_ms = 0

    def call(self, order: Order) -> None:
        """Take a call, or turn it away for a limit."""
        if not self.up:
            self._customer.failed(order.number, FailureClass.NETWORK, LOST, None)
            return
        limited = self._cloud.admit(self._models[order.model], order.prompt_tokens, self._timeline.time_ms)
        if limited is not None:
            message = f"simulated limit of {limited.limit.value}"
            self._customer.failed(order.number, FailureClass.RATE_LIMIT, message, limited.retry_ms)
            return
        if not self._orders:
            self._busy_since_ms = self._timeline.time_ms
        self._orders[order.number] = order
        self.figures.calls += 1
        self.figures.work_ms += order.duration_ms
        self._timeline.at(self._timeline.time_ms + order.duration_ms, lambda: self._end(order.number))
        self._customer.began(order.number)

    def hang_up(self, number: int) -> None:
        """The customer no longer wants a call."""
        if self._orders.pop(number, None) is not None:
            self._cloud.cancel()
            self._rest()

    def fail(self) -> None:
        """It does not answer any more."""
        self.up = False
        for number in sorted(self._orders):
            self.hang_up(number)
            self._customer.failed(number, FailureClass.NETWORK, LOST, None)

    def recover(self) -> None:
        """It answers again."""
        self.up = True

    def residents(self) -> tuple[Resident, ...] | None:
        """A cloud does not say what is in memory."""
        return None

    def _end(self, number: int) -> None:
        order = self._orders.pop(number, None)
        if order is not None:
            self._cloud.finish(self._models[order.model], order.prompt_tokens, 0, 0)
            self._rest()
            self._customer.ended(number)

    def _rest(self) -> None:
        if not self._orders:
            self.figures.busy_ms += self._timeline.time_ms - self._busy_since_ms


Site = Machine | Provider
