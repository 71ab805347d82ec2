"""The fleet as the core sees it: endpoints with health and slots, host loads, workers. Frozen views with their age.

A view is replaced, never changed. What the scheduler itself knows better than any probe (calls in flight) is kept
beside the views, because a probe is always stale.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec, Speeds
from ostler.domain.ledger import Span, Spent
from ostler.domain.limits import PartOf
from ostler.domain.tasks import TaskKind

GIB = 1024**3


class Health(StrEnum):
    """What the listing probes say."""

    UNKNOWN = "unknown"
    """Registered, not checked yet: not used, not counted as down."""
    UP = "up"
    DOWN = "down"
    KEY_INVALID = "key_invalid"
    """It answers and refuses our key; a person must act, nothing is routed around it silently."""


class BreakerState(StrEnum):
    """Whether calls may go to the endpoint after failures of real calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One call at a time until one succeeds."""


class ProbeStatus(StrEnum):
    """Result of one listing. The exit code of `endpoints check` follows it: available 0, unavailable 1,
    rate_limited 2, key_invalid 3.
    """

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    KEY_INVALID = "key_invalid"

    @property
    def exit_code(self) -> int:
        """Exit code of `ostler endpoints check`, the same from the cache and fresh."""
        return _PROBE_EXIT_CODES[self]


_PROBE_EXIT_CODES = {
    ProbeStatus.AVAILABLE: 0,
    ProbeStatus.UNAVAILABLE: 1,
    ProbeStatus.RATE_LIMITED: 2,
    ProbeStatus.KEY_INVALID: 3,
}


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a host's memory at one context size."""

    model: str
    context_tokens: int | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None


class ModelAt(msgspec.Struct, frozen=True, order=True):
    """A model on an endpoint: what a load or an unload is about."""

    endpoint: str
    model: str


class Unloaded(msgspec.Struct, frozen=True, kw_only=True):
    """A model that has left the memory, and how long that took."""

    endpoint: str
    model: str
    unload_ms: int


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What one listing of an endpoint brought back. A probe lists; it never generates."""

    endpoint: str
    status: ProbeStatus
    at_ms: int
    latency_ms: int = 0
    models: tuple[str, ...] = ()
    """Installed or offered models, normalised names."""
    residents: tuple[Resident, ...] | None = None
    """Loaded models; `None` = this kind of endpoint does not say."""
    context_tokens: Mapping[str, int] = {}
    """Windows learned from the listing, by model."""
    versions: Mapping[str, str] = {}
    """What tells one version of a model from another, by model, where the listing says it."""
    version: str = ""
    message: str = ""
    """Why not, in one line."""
    retry_after_ms: int | None = None
    timed_out: bool = False
    """No answer came in time. Some engines list nothing while they generate, so this is weaker than a refusal."""


class HeldPhase(StrEnum):
    """Where a model in the memory of a managed host is in its stay."""

    LOADING = "loading"
    READY = "ready"
    LEAVING = "leaving"
    """No new calls; it is unloaded when those under way have ended."""
    UNLOADING = "unloading"


class SwapEstimate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What it takes until a model can be used on a managed host."""

    wait_ms: int = 0
    """Until its load, or the first unload for it, can begin: a swap under way, calls that have to end first."""
    unload_ms: int = 0
    load_ms: int = 0
    evict: tuple[str, ...] = ()
    """Models that would have to go, by name."""
    loading: bool = False
    """It is being loaded already; the times are what is left."""
    blocked_until_ms: int | None = None
    """Its last load failed there: no other one begins before."""
    message: str = ""
    """Why it is blocked, or can never have room."""
    possible: bool = True
    """Whether room can be made for it at all."""

    @property
    def total_ms(self) -> int:
        """From now until it can be used."""
        return self.wait_ms + self.unload_ms + self.load_ms


class SharedSlots(msgspec.Struct, frozen=True, kw_only=True):
    """Slots of an endpoint that several pools have in common."""

    slots: int
    """Those of this pool now."""
    total: int = 0
    pools: tuple[str, ...] = ()
    """The others, by name; none while it is not known yet who they are."""


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as the scheduler knows it now."""

    spec: EndpointSpec
    health: Health = Health.UNKNOWN
    models: frozenset[str] = frozenset()
    """Models it can serve: declared ones if declared, else listed."""
    residents: tuple[Resident, ...] | None = None
    checked_ms: int | None = None
    breaker: BreakerState = BreakerState.CLOSED
    blocked_until_ms: int | None = None
    """Rate limited until then, by its own word."""
    managed: bool = False
    """The scheduler decides what is loaded there: `residents` are the models that may be used now, by its own books,
    and a model that is not among them is loaded before a call goes to it."""
    slots: int = 1
    """Open slots now: those of the spec, fewer while it ramps up after recovery, is half open, or other pools share it.
    """
    share: SharedSlots | None = None
    """`None` = it is this pool's alone."""
    unusable_since_ms: int | None = None
    """Since when no call may go there, for whatever reason (down, breaker open, rate limited, bad key)."""
    message: str = ""
    windows: Mapping[str, int] = {}
    """Largest context of models, as the endpoint itself lists them."""
    versions: Mapping[str, str] = {}
    """Versions of models, as the endpoint itself lists them; empty where it does not tell them apart."""

    @property
    def is_well(self) -> bool:
        """Whether nothing at all speaks against a call there but its slots. Where something does, it may be over."""
        return self.health is Health.UP and self.breaker is BreakerState.CLOSED and self.blocked_until_ms is None

    @property
    def usable(self) -> bool:
        """Whether a call may go there, slots aside."""
        return self.health is Health.UP and self.breaker is not BreakerState.OPEN and self.blocked_until_ms is None

    def loaded_context(self, model: str) -> int | None:
        """Context that the model is loaded with, the largest if there are several; `None` = not loaded, or not said."""
        loaded = (resident.context_tokens for resident in self.residents or () if resident.model == model)
        return max((context for context in loaded if context is not None), default=None)

    def serves(self, model: str) -> bool:
        """Whether the endpoint offers the model (normalised name)."""
        return model in self.models

    def is_warm(self, model: str) -> bool:
        """Whether the model is loaded; endpoints that do not say hold no models of their own and count as warm."""
        if self.residents is None:
            return True
        return any(resident.model == model for resident in self.residents)


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """Load of a machine, from the worker on it. Unknown stays `None`, it is never guessed."""

    host: str
    at_ms: int
    cpu_percent: float | None = None
    ram_total_bytes: int | None = None
    ram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    vram_used_bytes: int | None = None
    listings: tuple[Probe, ...] = ()
    """Of the endpoints that the hub asked this worker to look at."""


class Held(msgspec.Struct, frozen=True, order=True):
    """An attempt that a daemon has in hand: it runs, or its end is still to be reported."""

    task_id: str
    generation: int


class WorkerOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says when it joins."""

    name: str
    host: str
    host_aliases: tuple[str, ...] = ()
    """Other names of its machine (full name, addresses), to match endpoints on it."""
    slots: Mapping[TaskKind, int]
    """How many attempts of each allowed kind at once; a kind that is absent is not allowed here."""
    capabilities: frozenset[str] = frozenset()
    repos: tuple[str, ...] = ()
    builtin: bool = False
    version: str = ""
    instance: str = ""
    """Lasting name of this very daemon, over its restarts: who joins under it again takes over what it held before."""
    holds: tuple[Held, ...] = ()
    """Attempts that it still has in hand from before; it has lost all others."""
    life: str = ""
    """Name of this process of the daemon, another one after each start."""
    starts: int = 0
    """How often this very daemon has been started, this time included; 0 = it does not count."""
    joins: int = 0
    """How often this process has asked to join: what was overtaken on its way says nothing about what it holds now."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A joined worker, from join to loss. The session is what is leased, not each task."""

    id: str
    offer: WorkerOffer
    joined_ms: int
    renewed_ms: int
    heartbeat_ms: int = 0
    """How often the hub wants to hear of it, as of the join; 0 = three times in a lease."""
    lease_ms: int = 0
    """How long it may be silent before it is lost, where that is not as the policy says; 0 = as the policy says."""
    suspect_since_ms: int | None = None


class FleetSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` sees. `in_flight` counts attempts that were assigned and have not ended.

    The mappings may be views on the scheduler's own books: they do not change during a call of `decide`.
    """

    endpoints: Mapping[str, EndpointView] = {}
    by_model: Mapping[str, tuple[str, ...]] = {}
    """Model -> names of endpoints that serve it, sorted: the index that keeps a decision from scanning the fleet."""
    reports: Mapping[str, HostReport] = {}
    in_flight: Mapping[str, int] = {}
    in_flight_by_model: Mapping[tuple[str, str], int] = {}
    """(endpoint, model) -> attempts in flight."""
    repo_hosts: Mapping[str, str] = {}
    """Repo -> host that last worked on it."""
    swaps: Mapping[ModelAt, SwapEstimate] = {}
    """What a model takes that is not usable on a managed endpoint; may be worked out when it is asked for."""
    speeds: Mapping[tuple[str, str], Speeds] = {}
    """(host, model) -> measured speeds, where there are any; they replace the configured ones."""
    outputs: Mapping[tuple[str, str], int] = {}
    """(type of work, model) -> tokens that an answer is expected to have, as learned; an empty type = any."""
    spent: Callable[[Span], Spent] | None = None
    """What is used and held of the budget; `None` = nobody keeps a ledger, no limit is asked."""
    parts: PartOf | None = None
    """This pool's parts of limits that it has together with others; `None` = it has them for itself."""
    explore: bool = True
    """Whether there is money left for exploring what costs more than the best choice."""
    allowances: tuple[Reported, ...] = ()
    """What providers last reported of the windows of their subscriptions."""
    taken_ms: int = 0
