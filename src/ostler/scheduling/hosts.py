"""Books of the hosts whose memory the scheduler manages: what is in it, what is changing, what it has cost.

A host is *managed* when its memory is declared and one of its endpoints can list, load and unload models on request
(Ollama). Every such endpoint of the host shares its memory. On a managed host no call goes to a model that is not
usable, so the engine never swaps by itself; everywhere else the engine does, as it always did.

    held model:  loading -> ready -> leaving (no new calls) -> unloading -> gone
    swap:        decided (what must go is leaving) -> begun (an effect is out) -> ended by a signal

Invariants: at most one swap at a time on a host. Memory counts from the moment a load begins to the end of an unload;
inside one swap the unloads come first, so that its share is the larger of what goes and what comes. A model with a call
of ours in flight is never unloading. A listing that is older than the last change of an endpoint is not believed.

Cost: all operations are O(models held on the host).
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.domain.catalog import Catalog, EndpointKind, HostSpec, Reach, Speeds
from ostler.domain.decision import Wish
from ostler.domain.fleet import EndpointView, HeldPhase, ModelAt, Probe, Resident
from ostler.domain.measured import Measured, Measurement, Quantity
from ostler.residency.measured import estimate, sampled
from ostler.scheduling.speeds import MeasuredSpeeds
from ostler.scheduling.swap_counts import SwapCounts

STRETCH_EVERY_MS = 50
"""Of a model's calls one in so many is enough to learn from."""
LOADABLE = frozenset({EndpointKind.OLLAMA, EndpointKind.OPENAI})
"""Kinds of endpoint of which some load and unload on request: those that say what they hold."""


class Held(msgspec.Struct, kw_only=True):
    """One model in the memory of a managed host."""

    at: ModelAt
    memory_bytes: int
    context_tokens: int | None = None
    phase: HeldPhase = HeldPhase.READY
    since_ms: int
    """Since when it is in this phase."""
    ready_ms: int = 0
    """Since when it is usable, or, while it loads, when it is expected to be."""
    used_ms: int = 0
    """When a call last went to it or ended on it."""
    hold_until_ms: int = 0
    """Its last reply asked for a tool: somebody will be back until then."""
    credit_ms: int | None = None
    """What is left of the load it cost, for evictions (see `residency.eviction`); `None` = all of it."""


class SwapKind(StrEnum):
    """What a change of memory is."""

    LOAD = "load"
    UNLOAD = "unload"


class Swap(msgspec.Struct, kw_only=True):
    """A change of a host's memory that was decided and has not ended."""

    kind: SwapKind = SwapKind.LOAD
    at: ModelAt
    context_tokens: int | None = None
    evict: tuple[ModelAt, ...] = ()
    reason: str
    wanted_by_hand: bool = False
    decided_ms: int
    begun_ms: int | None = None
    """When its effect was given out; `None` = calls on what must go are still running."""
    ready_ms: int
    """When it is expected to end."""
    idle_ms: int = 0
    """Time since it began in which no call ran on the host."""


class HostBook(msgspec.Struct, kw_only=True):
    """One managed host."""

    spec: HostSpec
    endpoints: list[str] = []
    """Its managed endpoints, sorted."""
    held: dict[ModelAt, Held] = {}
    swap: Swap | None = None
    pins: dict[str, bool] = {}
    """Pinned or released by a person since the start; goes before the profile's word."""
    failed: dict[str, tuple[int, str]] = {}
    """Model -> until when it is not loaded here, and why the last load failed."""
    preload: list[str] = []
    """Models of the profile that were not loaded so far."""
    counts: SwapCounts

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def capacity_bytes(self) -> int:
        """Memory for models: the reserve taken off."""
        return max(0, (self.spec.memory_bytes or 0) - self.spec.reserve_bytes)

    def used_bytes(self) -> int:
        """Memory taken now, of a swap under way the larger side."""
        stays = coming = going = 0
        for held in self.held.values():
            if held.phase is HeldPhase.LOADING:
                coming += held.memory_bytes
            elif held.phase is HeldPhase.UNLOADING:
                going += held.memory_bytes
            else:
                stays += held.memory_bytes
        return stays + max(coming, going)

    def is_pinned(self, model: str) -> bool:
        """Whether a model is never evicted here."""
        return self.pins.get(model, model in self.spec.pinned)

    def usable(self, endpoint: str) -> tuple[Resident, ...]:
        """The models of an endpoint that calls may go to, by name."""
        ready = [held for held in self.held.values() if held.at.endpoint == endpoint and held.phase is HeldPhase.READY]
        ready.sort(key=lambda held: held.at)
        return tuple(
            Resident(model=held.at.model, context_tokens=held.context_tokens, size_bytes=held.memory_bytes)
            for held in ready
        )

    def key_of(self, held: Held, context_tokens: int | None) -> str:
        """Name of a resident for the rule: the model, unless another one of that name is meant by the work that waits:
        one with the context that calls ask for, or the first endpoint's.
        """
        model = held.at.model
        if held.context_tokens is not None and context_tokens is not None and held.context_tokens < context_tokens:
            return f"{model}@{held.context_tokens}/{held.at.endpoint}"
        first = min(at.endpoint for at in self.held if at.model == model)
        return model if held.at.endpoint == first else f"{model}/{held.at.endpoint}"


class Hosts:
    """All managed hosts by name."""

    def __init__(self, in_flight: Mapping[tuple[str, str], int]) -> None:
        self.books: dict[str, HostBook] = {}
        self._in_flight = in_flight
        self.speeds = MeasuredSpeeds()
        self.unsaved: dict[tuple[str, str, int, Quantity], Measurement] = {}
        """Newest measurements that are not stored yet."""
        self.saved_ms = 0
        self.dirty = False
        """Something changed that the rule should look at."""
        self.sizes: dict[ModelAt, int] = {}
        """Memory of models as listings have shown it."""
        self.changed_ms: dict[str, int] = {}
        """Endpoint -> when its memory last changed by our doing: older listings are stale."""
        self.calls: dict[ModelAt, dict[str, None]] = {}
        """Running attempts by place."""
        self.due_ms: dict[str, int] = {}
        """Running attempt -> when it is expected to end, wherever it runs."""
        self.unserved_ms: dict[tuple[str, frozenset[str]], int] = {}
        """(model, hosts) that work waits for and that is usable on none of them -> since when: patience."""
        self.left_ms: dict[str, int] = {}
        """Model -> when it last stopped being usable somewhere."""
        self.coming: dict[str, tuple[Wish, ...] | None] = {}
        """Tasks whose needs are all running, and what they will want; `None` = not worked out yet."""
        self._host_of: dict[str, str] = {}
        self._own_context: set[str] = set()
        """Endpoints that load every model with the context that they were started with."""
        self._expected: dict[str, tuple[int, int]] = {}
        """Running attempt -> when it began and how long it should take."""
        self._stretch: dict[str, Measured] = {}
        """Model -> how many times as long as it should its calls take."""
        self._factor: dict[str, float] = {}
        """The same as the one number that is reckoned with."""

    def __bool__(self) -> bool:
        return bool(self.books)

    def of_endpoint(self, endpoint: str) -> HostBook | None:
        """The managed host of an endpoint."""
        name = self._host_of.get(endpoint)
        return None if name is None else self.books[name]

    def of(self, at: ModelAt) -> Held | None:
        """A held model."""
        book = self.of_endpoint(at.endpoint)
        return None if book is None else book.held.get(at)

    def follow(self, view: EndpointView, catalog: Catalog) -> HostBook | None:
        """Take an endpoint in, or let it go, as its view and the profile now say; returns its book if it is managed."""
        name, spec = view.spec.name, catalog.hosts.get(view.spec.host)
        manages = (
            spec is not None
            and spec.memory_bytes is not None
            and view.spec.kind in LOADABLE
            and view.spec.local
            and view.spec.reached_by is Reach.HUB  # else there is nobody here who could load and unload
            # Once it has said what it holds, a listing without that is a hiccup, and the books go on.
            and (view.residents is not None or name in self._host_of)
        )
        if not manages or spec is None:
            self.drop(name)
            return None
        if self._host_of.get(name, spec.name) != spec.name:
            self.drop(name)
        if view.spec.kind is not EndpointKind.OLLAMA:
            self._own_context.add(name)
        book = self.books.get(spec.name)
        if book is None:
            book = self.books[spec.name] = HostBook(
                spec=spec, endpoints=[], held={}, pins={}, failed={}, preload=list(spec.preload), counts=SwapCounts()
            )
        if book.spec != spec:
            book.spec, self.dirty = spec, True
        if name not in book.endpoints:
            book.endpoints = sorted([*book.endpoints, name])
            self._host_of[name] = spec.name
            self.dirty = True
        return book

    def drop(self, endpoint: str) -> None:
        """Forget an endpoint: it was removed, or is not managed any more. A swap of it ends unheard."""
        self._own_context.discard(endpoint)
        name = self._host_of.pop(endpoint, None)
        if name is None:
            return
        book = self.books[name]
        book.endpoints.remove(endpoint)
        for at in [at for at in book.held if at.endpoint == endpoint]:
            del book.held[at]
        swap = book.swap
        if swap is not None and endpoint in {swap.at.endpoint, *(at.endpoint for at in swap.evict)}:
            book.swap = None
            for held in book.held.values():
                held.phase = HeldPhase.READY
        if not book.endpoints:
            del self.books[name]
        self.dirty = True

    def memory_bytes(self, at: ModelAt, catalog: Catalog, capacity_bytes: int) -> int:
        """What a model takes: as listed, else as configured; one that nobody knows is taken to need all there is."""
        listed = self.sizes.get(at)
        if listed is not None:
            return listed
        spec = catalog.models.get(at.model)
        return spec.memory_bytes if spec is not None and spec.memory_bytes is not None else capacity_bytes

    def listed(self, book: HostBook, probe: Probe, catalog: Catalog, now_ms: int) -> bool:
        """Bring the books in line with a listing, unless it is stale; whether it said anything new."""
        endpoint, residents, asked_ms = probe.endpoint, probe.residents or (), probe.at_ms - probe.latency_ms
        swap = book.swap
        busy = swap is not None and swap.begun_ms is not None
        if busy or asked_ms <= self.changed_ms.get(endpoint, -1):
            return False
        before = [(held.at, held.memory_bytes, held.context_tokens) for held in book.held.values()]
        seen = {ModelAt(endpoint, resident.model): resident for resident in residents}
        for at in [at for at in book.held if at.endpoint == endpoint and at not in seen and not self.busy(at)]:
            self.forget(book, at, now_ms)
        for at, resident in seen.items():
            if resident.size_bytes:
                self.sizes[at] = resident.size_bytes
            held = book.held.get(at)
            if held is None:
                memory = self.memory_bytes(at, catalog, book.capacity_bytes)
                # For how long it has been there is not known, so that it need not stay.
                book.held[at] = Held(at=at, memory_bytes=memory, since_ms=now_ms, used_ms=now_ms)
                held = book.held[at]
            held.context_tokens = resident.context_tokens
            held.memory_bytes = resident.size_bytes or held.memory_bytes
            if at.model in book.preload:
                book.preload.remove(at.model)
        return before != [(held.at, held.memory_bytes, held.context_tokens) for held in book.held.values()]

    def forget(self, book: HostBook, at: ModelAt, now_ms: int) -> None:
        """A model is out of the memory."""
        if book.held.pop(at, None) is not None:
            self.left_ms[at.model] = now_ms
        if book.swap is not None and book.swap.begun_ms is None and at in book.swap.evict:
            book.swap.evict = tuple(other for other in book.swap.evict if other != at)

    def context_of(self, at: ModelAt, catalog: Catalog) -> int | None:
        """The one context size that a model is loaded with, wherever: every other one would be a reload. `None` where
        the engine has its own.
        """
        spec = catalog.models.get(at.model)
        return spec.context_tokens if spec is not None and at.endpoint not in self._own_context else None

    def speeds_of(self, host: str, model: str, catalog: Catalog) -> Speeds:
        """Measured speeds on a host, else the configured ones."""
        spec = catalog.models.get(model)
        guess = spec.speeds if spec is not None else Speeds()
        return self.speeds.of(host, model, guess)

    def stretched_ms(self, model: str, call_ms: int) -> int:
        """How long a call will take that should take so long: by how wrong such figures were for the model."""
        factor = self._factor.get(model)
        return call_ms if factor is None else round(call_ms * factor)

    def call_began(self, at: ModelAt, task_id: str, call_ms: int, now_ms: int) -> None:
        """A call of ours goes to a place, and should take so long."""
        self.due_ms[task_id] = now_ms + self.stretched_ms(at.model, call_ms)
        self._expected[task_id] = (now_ms, max(1, call_ms))
        held = self.of(at)
        if held is not None:
            self.calls.setdefault(at, {})[task_id] = None
            held.used_ms, held.credit_ms = now_ms, None

    def call_took(self, model: str, task_id: str, now_ms: int) -> None:
        """A call ends well now: learn how far off the figure for it was."""
        began_ms, call_ms = self._expected.get(task_id, (now_ms, 1))
        seen = self._stretch.get(model)
        if now_ms > began_ms and (seen is None or now_ms - seen.updated_ms >= STRETCH_EVERY_MS):
            seen = self._stretch[model] = sampled(seen, 1.0, (now_ms - began_ms) / call_ms, now_ms)
            self._factor[model] = estimate(seen, 1.0).value

    def call_ended(self, at: ModelAt, task_id: str, now_ms: int) -> None:
        """A call ended, however."""
        self.due_ms.pop(task_id, None)
        self._expected.pop(task_id, None)
        running = self.calls.get(at)
        if running is not None:
            running.pop(task_id, None)
            if not running:
                del self.calls[at]
        held = self.of(at)
        if held is not None:
            held.used_ms = now_ms
            self.dirty = True

    def hold(self, at: ModelAt, until_ms: int) -> None:
        """Keep a model: its last reply asked for a tool."""
        held = self.of(at)
        if held is not None:
            held.hold_until_ms = max(held.hold_until_ms, until_ms)

    def busy(self, at: ModelAt) -> int:
        """Calls of ours that are in flight on a model."""
        return self._in_flight.get((at.endpoint, at.model), 0)

    def drained_ms(self, at: ModelAt, now_ms: int) -> int:
        """When the last call in flight on a model is expected to end; now if there is none."""
        due = (self.due_ms.get(task_id, now_ms) for task_id in self.calls.get(at, ()))
        return max(due, default=now_ms)

    def is_idle(self, book: HostBook) -> bool:
        """Whether no call of ours runs on a managed endpoint of the host."""
        return not any(self.busy(at) for at in book.held)

    def pass_time(self, from_ms: int, now_ms: int) -> None:
        """Count the time that hosts stood idle while they swapped. O(hosts), cheap where none swaps."""
        for book in self.books.values():
            swap = book.swap
            if swap is not None and swap.begun_ms is not None and self.is_idle(book):
                swap.idle_ms += now_ms - max(from_ms, swap.begun_ms)
