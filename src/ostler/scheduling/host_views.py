"""Managed hosts as people see them: what is in memory, what is changing, what waits for what, what swapping has cost.

Pure readings of the scheduler's books. O(models held + classes that wait for managed hosts).
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.domain.measured import Quantity
from ostler.domain.tasks import Priority
from ostler.residency.measured import Estimate
from ostler.scheduling.books import Books
from ostler.scheduling.demand import URGENT_PATIENCE_SHARE, gather, slots_of, waiter
from ostler.scheduling.hosts import Held, HostBook, Swap


class SpeedView(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a context on a host: what it takes, as measured, with bounds that nine of ten values keep."""

    host: str
    model: str
    context_tokens: int = 0
    """0 = not known."""
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
    since_start: Counts
    last_hour: Counts


def host_views(books: Books, now_ms: int) -> tuple[HostView, ...]:
    """All managed hosts by name."""
    return tuple(_host(books, book, now_ms) for _, book in sorted(books.hosts.books.items()))


def _host(books: Books, book: HostBook, now_ms: int) -> HostView:
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
        since_start=book.counts.since_start(),
        last_hour=book.counts.last_hour(now_ms),
    )


def _resident(books: Books, book: HostBook, held: Held, now_ms: int) -> ResidentView:
    return ResidentView(
        endpoint=held.at.endpoint,
        model=held.at.model,
        context_tokens=held.context_tokens,
        memory_bytes=held.memory_bytes,
        phase=held.phase,
        busy=books.hosts.busy(held.at),
        slots=slots_of(books, held.at),
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


class _Queue:
    """A queue while it is counted."""

    __slots__ = ("calls", "hosts", "oldest_ms", "urgent", "waiting")

    def __init__(self) -> None:
        self.waiting = self.calls = 0
        self.oldest_ms: int | None = None
        self.urgent = False
        self.hosts: set[str] = set()


def model_queues(books: Books, now_ms: int) -> tuple[ModelQueue, ...]:
    """Waiting work by the model it would take first, by name."""
    found: dict[str, _Queue] = {}
    for key in books.queue.wishing:
        task_class = books.queue.classes[key]
        wishes = task_class.hold.wishes if task_class.hold is not None else ()
        head = books.queue.head(key)
        if not wishes or head is None:
            continue
        first, model = waiter(books, head[2]), wishes[0].model
        queue = found.setdefault(model, _Queue())
        queue.waiting += task_class.size
        queue.calls += task_class.size if head[2] in books.calls.waiting else 0
        queue.urgent = queue.urgent or first.priority is Priority.URGENT
        queue.hosts |= {wish.host for wish in wishes if wish.model == model}
        queue.oldest_ms = first.queued_ms if queue.oldest_ms is None else min(queue.oldest_ms, first.queued_ms)
    unserved_ms = gather(books, now_ms).unserved_ms if found else {}
    return tuple(
        ModelQueue(
            model=model,
            waiting=queue.waiting,
            calls=queue.calls,
            oldest_ms=queue.oldest_ms,
            hosts=tuple(sorted(queue.hosts)),
            patience_ends_ms=_patience_ends_ms(
                [since_ms for (name, _), since_ms in unserved_ms.items() if name == model],
                books.policy.residency.patience_ms // (URGENT_PATIENCE_SHARE if queue.urgent else 1),
            ),
        )
        for model, queue in sorted(found.items())
    )


def _patience_ends_ms(since_ms: list[int], patience_ms: int) -> int | None:
    return min(since_ms) + patience_ms if since_ms else None


def speed_views(books: Books) -> tuple[SpeedView, ...]:
    """Everything that was measured, by host, model and context."""
    speeds, catalog = books.hosts.speeds, books.policy.catalog
    views = []
    for host, model, context in speeds.places():
        found = speeds.estimates(host, model, catalog, context)
        views.append(
            SpeedView(
                host=host,
                model=model,
                context_tokens=context,
                load_ms=found[Quantity.LOAD_MS],
                unload_ms=found[Quantity.UNLOAD_MS],
                prefill_tokens_per_s=found[Quantity.PREFILL],
                decode_tokens_per_s=found[Quantity.DECODE],
            )
        )
    return tuple(views)
