"""What can be told of the memory of a host: who is in it, what is changing, what waits, what changing has cost.

Plain data for faces; `scheduling.host_views` reads it off the books. Instants and durations are milliseconds.
"""

import msgspec

from ostler.domain.fleet import HeldPhase


class ResidentView(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a host's memory."""

    endpoint: str
    model: str
    context_tokens: int | None
    memory_bytes: int | None
    phase: HeldPhase
    busy: int
    """Calls in flight on it."""
    slots: int = 1
    """Calls that it works on at once."""
    since_ms: int | None
    """Since when it is in this phase; `None` = nobody knows."""
    used_ms: int | None
    """When a call last went to it or ended on it."""
    pinned: bool
    held_until_ms: int | None = None
    """Kept for an agent until then; `None` = not."""


class SwapView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a host's memory that is under way."""

    kind: str
    """`load` or `unload`."""
    endpoint: str
    model: str
    evict: tuple[str, ...]
    reason: str
    since_ms: int
    begun: bool
    """Whether it has begun; before, it waits for calls on what must go."""
    ready_ms: int
    """When it is expected to end."""


class ModelQueue(msgspec.Struct, frozen=True, kw_only=True):
    """Work that waits for a model on managed hosts."""

    model: str
    waiting: int
    oldest_ms: int | None
    """When the first of it entered the queue."""
    hosts: tuple[str, ...]
    calls: int = 0
    """So many of them are live calls; the others are tasks."""
    patience_ends_ms: int | None = None
    """When it overtakes the work that the residents are kept for; `None` = the model is usable, or on its way."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of a host's memory over some time."""

    loads: int = 0
    unloads: int = 0
    swaps: int = 0
    """Loads for which something had to go."""
    failed: int = 0
    lost_ms: int = 0
    """Time in which a change was carried out and no call ran on the host."""
