"""The memory of a simulated host: which model is in which state, what it takes, who uses it. Pure.

A resident's memory counts from the start of its load to the end of its unload. `ready` maps a model to its one usable
resident; at most one is `loading`; those `unloading` can be several and may include an older one of the same model.
"""

from collections import deque

from ostler.simulate.host_events import ResidentView, UnloadCause
from ostler.simulate.spec import SimulatedModelSpec


class Resident:
    """A model in memory with one context size. `running` never holds more calls than it has slots."""

    def __init__(self, spec: SimulatedModelSpec, num_ctx: int, keep_alive_ms: int) -> None:
        self.spec = spec
        self.num_ctx = num_ctx
        self.memory_bytes = spec.resident_bytes(num_ctx)
        self.keep_alive_ms = keep_alive_ms
        self.running: set[int] = set()
        self.waiting: deque[int] = deque()
        self.holders: set[int] = set()
        """Calls that use it without a slot."""
        self.timer_ms: int | None = None
        """When the load or unload under way ends, or, ready and idle, when the keep-alive does."""
        self.leaving: UnloadCause | None = None
        """Why it goes as soon as it is idle; `None` = it stays."""

    @property
    def has_free_slot(self) -> bool:
        """Whether one more call can run."""
        return len(self.running) < self.spec.slots

    @property
    def is_idle(self) -> bool:
        """Whether no call uses it or waits for it."""
        return not (self.running or self.waiting or self.holders)

    def view(self, state: str) -> ResidentView:
        """What is seen from outside."""
        return ResidentView(
            model=self.spec.key,
            state=state,
            num_ctx=self.num_ctx,
            memory_bytes=self.memory_bytes,
            slots=self.spec.slots,
            running=len(self.running) + len(self.holders),
            waiting=len(self.waiting),
            keep_alive_ms=self.keep_alive_ms,
            expires_ms=self.timer_ms if state == "ready" else None,
            leaving=self.leaving is not None,
        )


class Residents:
    """All residents of a host."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.ready: dict[str, Resident] = {}
        self.loading: Resident | None = None
        self.unloading: list[Resident] = []

    @property
    def used_bytes(self) -> int:
        """Memory taken, by whatever is loading, ready or unloading."""
        loading = self.loading.memory_bytes if self.loading else 0
        taken = sum(resident.memory_bytes for resident in (*self.ready.values(), *self.unloading))
        return taken + loading

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot of a loaded model."""
        return sum(len(resident.waiting) for resident in self.ready.values())

    def fits(self, memory_bytes: int, fit_percent: int) -> bool:
        """Whether a load may start: all of an empty memory, or `fit_percent` of what others leave free."""
        free = self.capacity_bytes - self.used_bytes
        shared = bool(self.ready or self.unloading)
        return memory_bytes <= (free * fit_percent // 100 if shared else free)

    def victim(self) -> Resident:
        """Who has to go: the idle one with the shortest keep-alive, else the busy one; ties by name.

        Only to be asked when a model is ready.
        """
        return min(self.ready.values(), key=lambda r: (not r.is_idle, r.keep_alive_ms, r.spec.key))

    def next_due(self) -> Resident | None:
        """The resident whose timer ends first: an unload before a load before a keep-alive, then by name."""
        ranked = [(r.timer_ms, 0, r.spec.key, r) for r in self.unloading if r.timer_ms is not None]
        if self.loading is not None and self.loading.timer_ms is not None:
            ranked.append((self.loading.timer_ms, 1, self.loading.spec.key, self.loading))
        ranked += [(r.timer_ms, 2, r.spec.key, r) for r in self.ready.values() if r.timer_ms is not None]
        return min(ranked, key=lambda entry: entry[:3])[3] if ranked else None

    def views(self) -> tuple[ResidentView, ...]:
        """All of them, by state and name."""
        loading = [self.loading.view("loading")] if self.loading else []
        ready = [self.ready[name].view("ready") for name in sorted(self.ready)]
        return (*loading, *ready, *(resident.view("unloading") for resident in self.unloading))
