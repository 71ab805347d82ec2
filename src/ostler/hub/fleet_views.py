"""What the hub answers about hosts and models: what is loaded where, what it takes, what waits for it.

As in `views`: durations and instants are milliseconds, money is dollars per million tokens as in the profile, and a
field that is not known is `null`, never 0.
"""

import msgspec

from ostler.domain.catalog import Speeds
from ostler.domain.fleet import HeldPhase
from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.hub.simulated import Saved
from ostler.residency.measured import Estimate


class LoadFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A model that could not be loaded a moment ago."""

    model: str
    message: str
    until_ms: int
    """No other load of it begins there before."""


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """One host and what is in its memory."""

    name: str
    managed: bool
    """Whether the scheduler decides what is loaded there."""
    unmanaged_because: str = ""
    endpoints: tuple[str, ...] = ()
    total_bytes: int | None = None
    """Memory as declared."""
    reserve_bytes: int = 0
    """Of it, what models never get."""
    used_bytes: int | None = None
    free_bytes: int | None = None
    max_resident_models: int | None = None
    residents: tuple[ResidentView, ...] = ()
    """On a host that is not managed: as its endpoints list them."""
    swap: SwapView | None = None
    queues: tuple[ModelQueue, ...] = ()
    """Work that waits for a model which could be used here; other hosts may serve it first."""
    failed: tuple[LoadFailure, ...] = ()
    pins: tuple[str, ...] = ()
    """Models that are never evicted, loaded or not."""
    since_start: Counts | None = None
    last_hour: Counts | None = None


class HostList(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts by name."""

    hosts: tuple[HostRow, ...]
    now_ms: int
    saved: Saved | None = None
    """What the last hour saved against first-in-first-out. The comparison is simulated. `None` = not asked for, or
    not possible."""
    saved_at_ms: int | None = None
    """The instant of which it speaks."""
    not_saved_because: str = ""
    """Why there is no comparison, where it was asked for."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity as configured and as measured; `measured` holds the bounds that nine of ten values keep."""

    configured: float
    measured: Estimate | None = None
    """`None` = never measured here."""


class SpeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes on a host at a context size."""

    host: str
    context_tokens: int | None
    """`None` = not known."""
    load_ms: Figure
    unload_ms: Figure
    prefill_tokens_per_s: Figure
    decode_tokens_per_s: Figure


class ModelPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A model on an endpoint that offers it."""

    host: str
    endpoint: str
    local: bool
    phase: HeldPhase | None = None
    """`None` = not in memory there, or the endpoint does not say."""
    context_tokens: int | None = None
    memory_bytes: int | None = None
    """As seen there."""
    busy: int = 0
    pinned: bool = False


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the profile names or an endpoint offers."""

    name: str
    aliases: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    configured: bool = False
    """Whether the profile describes it."""
    context_tokens: int | None = None
    memory_bytes: int | None = None
    """As configured."""
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    capabilities: tuple[str, ...] | None = None
    """By name; `None` = nobody says."""
    speeds: Speeds = Speeds()
    """As configured."""
    places: tuple[ModelPlace, ...] = ()
    measured: tuple[SpeedRow, ...] = ()
    """By host and context, where something was measured."""
    waiting: int = 0
    """Tasks that wait for it on managed hosts."""
    oldest_ms: int | None = None
    succeeded: int = 0
    """Of the newest tasks that ended (see `ModelList.counted`), those that it did."""
    failed: int = 0


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models by name."""

    models: tuple[ModelRow, ...]
    now_ms: int
    counted: int = 0
    """So many ended tasks were looked at for successes, the newest."""


class ModelChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a host's memory that a person asked for."""

    kind: str
    """`load` or `unload`."""
    host: str
    endpoint: str
    model: str
    evict: tuple[str, ...] = ()
    under_way: bool
    """Whether it has not ended yet; then `ready_ms` is when it is expected to."""
    ready_ms: int
    took_ms: int | None = None
    now_ms: int


class LoadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A model to load on a host. `model` and `evict` may be aliases."""

    model: str
    endpoint: str | None = None
    """Of the host; `None` = the first one that has the model."""
    evict: tuple[str, ...] = ()
    drain: bool = False
    """Let calls on what shall go end first, instead of being refused."""
    wait_ms: int = 0
    """How long to wait for the end."""


class UnloadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A model to unload from a host."""

    model: str
    endpoint: str | None = None
    drain: bool = False
    wait_ms: int = 0


class SwapOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One model in the place of another, wherever that one is loaded."""

    old: str
    new: str
    host: str | None = None
    drain: bool = False
    wait_ms: int = 0
