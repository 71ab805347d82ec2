"""Managed hosts as people see them: what is in memory, what is changing, what waits for what, what swapping has cost.

Pure readings of the scheduler's books. O(models held + classes that wait for managed hosts).
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.fleet import HeldPhase
from ostler.domain.measured import Quantity
from ostler.residency.measured import Estimate
from ostler.scheduling.books import Books
from ostler.scheduling.hosts import Held, HostBook, Swap


class ResidentView(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a host's memory."""

    endpoint: str
    model: str
    context_tokens: int | None
    memory_bytes: int
    phase: HeldPhase
    busy: int
    """Calls in flight on it."""
    since_ms: int
    """Since when it is in this phase."""
    used_ms: int
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


class SpeedView(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a host: what it takes, as measured, with bounds that nine of ten values keep."""

    host: str
    model: str
    load_ms: Estimate
    unload_ms: Estimate
    prefill_tokens_per_s: Estimate
    decode_tokens_per_s: Estimate


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """One managed host at this moment."""

    name: str
    endpoints: tuple[str, ...]
    memory_bytes: int
    """Memory for models: the reserve taken off."""
    used_bytes: int
    reserve_bytes: int
    max_resident_models: int | None
    residents: tuple[ResidentView, ...]
    swap: SwapView | None
    failed: Mapping[str, str]
    """Models that could not be loaded a moment ago, and why."""
    failed_until_ms: Mapping[str, int]
    loads: int
    unloads: int
    swaps: int
    """Loads for which something had to go, since the start."""
    failed_loads: int
    lost_ms: int
    """Time in which a swap was carried out and no call ran, since the start."""
    swaps_last_hour: int
    lost_last_hour_ms: int


def host_views(books: Books, now_ms: int) -> tuple[HostView, ...]:
    """All managed hosts by name."""
    return tuple(_host(books, book, now_ms) for _, book in sorted(books.hosts.books.items()))


def _host(books: Books, book: HostBook, now_ms: int) -> HostView:
    swaps_last_hour, lost_last_hour_ms = book.counts.last_hour(now_ms)
    held = sorted(book.held.values(), key=lambda held: held.at)
    failed = {model: entry for model, entry in sorted(book.failed.items()) if entry[0] > now_ms}
    return HostView(
        name=book.name,
        endpoints=tuple(book.endpoints),
        memory_bytes=book.capacity_bytes,
        used_bytes=book.used_bytes(),
        reserve_bytes=book.spec.reserve_bytes,
        max_resident_models=book.spec.max_resident_models,
        residents=tuple(_resident(books, book, one, now_ms) for one in held),
        swap=None if book.swap is None else _swap(book.swap),
        failed={model: message for model, (_, message) in failed.items()},
        failed_until_ms={model: until_ms for model, (until_ms, _) in failed.items()},
        loads=book.counts.loads,
        unloads=book.counts.unloads,
        swaps=book.counts.swaps,
        failed_loads=book.counts.failed,
        lost_ms=book.counts.lost_ms,
        swaps_last_hour=swaps_last_hour,
        lost_last_hour_ms=lost_last_hour_ms,
    )


def _resident(books: Books, book: HostBook, held: Held, now_ms: int) -> ResidentView:
    return ResidentView(
        endpoint=held.at.endpoint,
        model=held.at.model,
        context_tokens=held.context_tokens,
        memory_bytes=held.memory_bytes,
        phase=held.phase,
        busy=books.hosts.busy(held.at),
        since_ms=held.since_ms,
        used_ms=held.used_ms,
        pinned=book.is_pinned(held.at.model),
        held_until_ms=held.hold_until_ms if held.hold_until_ms > now_ms else None,
    )


def _swap(swap: Swap) -> SwapView:
    return SwapView(
        kind=swap.kind.value,
        endpoint=swap.at.endpoint,
        model=swap.at.model,
        evict=tuple(at.model for at in swap.evict),
        reason=swap.reason,
        since_ms=swap.decided_ms,
        begun=swap.begun_ms is not None,
        ready_ms=swap.ready_ms,
    )


def model_queues(books: Books) -> tuple[ModelQueue, ...]:
    """Waiting work by the model it would take first, by name."""
    found: dict[str, tuple[int, int | None, set[str]]] = {}
    for key in books.queue.wishing:
        task_class = books.queue.classes[key]
        wishes = task_class.hold.wishes if task_class.hold is not None else ()
        head = books.queue.head(key)
        if not wishes or head is None:
            continue
        model = wishes[0].model
        queued_ms = books.tasks[head[2]].queued_ms
        waiting, oldest_ms, hosts = found.get(model, (0, None, set()))
        if queued_ms is not None:
            oldest_ms = queued_ms if oldest_ms is None else min(oldest_ms, queued_ms)
        hosts |= {wish.host for wish in wishes if wish.model == model}
        found[model] = (waiting + task_class.size, oldest_ms, hosts)
    return tuple(
        ModelQueue(model=model, waiting=waiting, oldest_ms=oldest_ms, hosts=tuple(sorted(hosts)))
        for model, (waiting, oldest_ms, hosts) in sorted(found.items())
    )


def speed_views(books: Books) -> tuple[SpeedView, ...]:
    """Everything that was measured, by host and model."""
    speeds, catalog = books.hosts.speeds, books.policy.catalog
    views = []
    for host, model in sorted(speeds.effective):
        found = speeds.estimates(host, model, catalog)
        views.append(
            SpeedView(
                host=host,
                model=model,
                load_ms=found[Quantity.LOAD_MS],
                unload_ms=found[Quantity.UNLOAD_MS],
                prefill_tokens_per_s=found[Quantity.PREFILL],
                decode_tokens_per_s=found[Quantity.DECODE],
            )
        )
    return tuple(views)
