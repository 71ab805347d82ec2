"""What it would take to use a model that is not usable on a managed host: a mapping that works each answer out when a
decision asks for it, and remembers it for the turn.

    it is being loaded        what is left of that
    its last load failed      blocked until its time is over
    otherwise                 the end of the swap under way
                              + the longest call on what must go
                              + work that waits for what must go, at most for as long as patience lasts
                              + unloads + load

What must go is the cheapest sufficient set of the residency rule: the cost in a decision is the cost of what that rule
would do.
"""

from collections.abc import Iterator, Mapping

from ostler.domain.fleet import HeldPhase, ModelAt, SwapEstimate
from ostler.residency.eviction import cheapest_set, victims
from ostler.residency.state import HostState
from ostler.scheduling.books import Books
from ostler.scheduling.demand import Demand, footprint, gather
from ostler.scheduling.hosts import HostBook, Swap


class SwapCosts(Mapping[ModelAt, SwapEstimate]):
    """The costs at one instant. Iterating it says what was asked so far: all there could be is not listed."""

    def __init__(self, books: Books, now_ms: int) -> None:
        self._books = books
        self._now_ms = now_ms
        self._known: dict[ModelAt, SwapEstimate] = {}
        self._demand: Demand | None = None

    def __getitem__(self, at: ModelAt) -> SwapEstimate:
        found = self._known.get(at)
        if found is None:
            book = self._books.hosts.of_endpoint(at.endpoint)
            if book is None:
                raise KeyError(at)
            found = self._known[at] = self._work_out(book, at)
        return found

    def __iter__(self) -> Iterator[ModelAt]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _work_out(self, book: HostBook, at: ModelAt) -> SwapEstimate:
        now_ms, swap = self._now_ms, book.swap
        until_ms, message = book.failed.get(at.model, (now_ms, ""))
        if until_ms > now_ms:
            return SwapEstimate(blocked_until_ms=until_ms, message=message)
        size = footprint(self._books, book, at)
        left_ms = 0 if swap is None else self._left_ms(book, swap)
        if swap is not None and swap.at == at and swap.kind == "load":
            return SwapEstimate(load_ms=left_ms, loading=True)
        if self._demand is None:
            self._demand = gather(self._books, now_ms)
        host = next(host for host in self._demand.state.hosts if host.name == book.name)
        after = self._after_swap(book)
        short = host.used_bytes - after.going_bytes + size.memory_bytes - book.capacity_bytes
        limit = book.spec.max_resident_models
        surplus = 0 if limit is None else len(host.residents) - after.going + 1 - limit
        found = victims(host, (at.model,), self._demand.state.wants_of, now_ms)
        if found and swap is not None:
            found = [victim for victim in found if self._demand.held[book.name, victim.model].phase is HeldPhase.READY]
        chosen = cheapest_set(found, short, surplus)
        if chosen is None and swap is not None:
            # What is being loaded now would have to go again: all of it is usable first.
            coming = footprint(self._books, book, swap.at)
            turn_ms = self._turn_ms(host, (swap.at.model,))
            return SwapEstimate(
                wait_ms=left_ms + turn_ms, unload_ms=coming.unload_ms, load_ms=size.load_ms, evict=(swap.at.model,)
            )
        if chosen is None:
            return SwapEstimate(possible=False, load_ms=size.load_ms, message=_full(book))
        gone = [host.residents[name] for name in chosen.models]
        drain_ms = max((resident.drained_ms - now_ms for resident in gone if resident.busy), default=0)
        return SwapEstimate(
            wait_ms=left_ms + max(0, drain_ms, self._turn_ms(host, chosen.models)),
            unload_ms=sum(resident.footprint.unload_ms for resident in gone),
            load_ms=size.load_ms,
            evict=tuple(self._demand.held[book.name, name].at.model for name in chosen.models),
        )

    def _left_ms(self, book: HostBook, swap: Swap) -> int:
        """What is left of a swap. One that takes longer than expected goes on for a tenth of its load at least."""
        load_ms = footprint(self._books, book, swap.at).load_ms if swap.kind == "load" else 0
        if swap.begun_ms is not None:
            return max(swap.ready_ms - self._now_ms, load_ms // 10)
        hosts, now_ms = self._books.hosts, self._now_ms
        drain_ms = max((hosts.drained_ms(at, now_ms) - now_ms for at in swap.evict), default=0)
        return drain_ms + sum(footprint(self._books, book, at).unload_ms for at in swap.evict) + load_ms

    def _after_swap(self, book: HostBook) -> "_Going":
        going = [held for held in book.held.values() if held.phase in (HeldPhase.LEAVING, HeldPhase.UNLOADING)]
        size = sum(held.memory_bytes for held in going)
        if book.swap is not None and book.swap.begun_ms is None and book.swap.kind == "load":
            # Decided, not in memory yet: it will be when the swap has ended.
            size -= footprint(self._books, book, book.swap.at).memory_bytes
            return _Going(size, len(going) - 1)
        return _Going(size, len(going))

    def _turn_ms(self, host: HostState, models: tuple[str, ...]) -> int:
        """How long the work that waits for these models is served before they go: never longer than patience."""
        if self._demand is None:
            return 0
        patience_ms = self._books.policy.residency.patience_ms
        longest_ms = 0
        for model in models:
            for want in self._demand.state.wants_of.get(model, ()):
                slots = host.models[model].slots if model in host.models else 1
                longest_ms = max(longest_ms, want.work_ms // slots if want.waiting else 0)
        return min(longest_ms, patience_ms)


class _Going:
    """What a swap under way will have taken from the memory, what it adds taken off."""

    __slots__ = ("going", "going_bytes")

    def __init__(self, going_bytes: int, going: int) -> None:
        self.going_bytes = going_bytes
        self.going = going


def _full(book: HostBook) -> str:
    pinned = sorted({held.at.model for held in book.held.values() if book.is_pinned(held.at.model)})
    return f"pinned there: {', '.join(pinned)}" if pinned else ""
