"""What happens to managed hosts from outside: listings, ends of loads and unloads, wishes of people.

A signal that answers no swap we know of (its endpoint was removed meanwhile) changes nothing; the next listing tells.
"""

from typing import assert_never

from ostler.domain.commands import PutMeasurements
from ostler.domain.errors import ConflictError, NotFoundError, nearest
from ostler.domain.fleet import HeldPhase, ModelAt, Probe
from ostler.domain.measured import Quantity
from ostler.domain.policy import Policy
from ostler.domain.states import Failure
from ostler.domain.tasks import Usage
from ostler.residency.eviction import cheapest_set, victims
from ostler.scheduling.books import Turn
from ostler.scheduling.demand import footprint, gather
from ostler.scheduling.effects import Apply, ProbeNow
from ostler.scheduling.hosts import Held, HostBook, Swap, SwapKind
from ostler.scheduling.residency import decide_swap, event, look_again
from ostler.scheduling.signals import LoadEnded, PinModel, UnloadEnded, WantLoad, WantUnload
from ostler.scheduling.speeds import samples_of

UNLOAD_MS_MIN = 50
"""A model that has left sooner than this has only been told to: the time is no measurement."""


def followed(turn: Turn, endpoint: str) -> HostBook | None:
    """An endpoint came, changed or was listed: it may be managed from now on, or not any more."""
    books = turn.books
    view = books.endpoints.views.get(endpoint)
    if view is None:
        books.hosts.drop(endpoint)
        return None
    book = books.hosts.follow(view, books.policy.catalog)
    if book is None and view.managed:
        books.endpoints.set_usable(endpoint, view.residents or (), managed=False)
    return book


def listed(turn: Turn, probe: Probe) -> None:
    """A listing came back: take over what it says of the memory."""
    book = followed(turn, probe.endpoint)
    if book is None or probe.residents is None:
        return
    news = turn.books.hosts.listed(book, probe, turn.books.policy.catalog, turn.now_ms)
    if news or not turn.books.endpoints.views[probe.endpoint].managed:
        look_again(turn, book)
    elif book.preload:
        turn.books.hosts.dirty = True  # it may have been away when it was to be loaded


def policy_changed(turn: Turn, policy: Policy) -> None:
    """Another profile is in force: hosts may be declared, changed or gone, and guesses of speeds are others."""
    books = turn.books
    books.hosts.speeds.follow(policy.catalog)
    for name in list(books.endpoints.views):
        book = followed(turn, name)
        if book is not None:
            look_again(turn, book)


def told(turn: Turn, signal: LoadEnded | UnloadEnded | WantLoad | WantUnload | PinModel) -> None:
    """Hand a signal about models in memory to what it means."""
    match signal:
        case LoadEnded():
            load_ended(turn, signal)
        case UnloadEnded():
            unload_ended(turn, signal)
        case WantLoad():
            want_load(turn, signal)
        case WantUnload():
            want_unload(turn, signal)
        case PinModel():
            pin(turn, signal)
        case _:
            assert_never(signal)


def load_ended(turn: Turn, signal: LoadEnded) -> None:
    """A load ended, well or badly."""
    books, now_ms = turn.books, turn.now_ms
    at = ModelAt(signal.endpoint, signal.model)
    book = books.hosts.of_endpoint(signal.endpoint)
    swap = book.swap if book is not None else None
    if book is None or swap is None or swap.at != at or swap.begun_ms is None or swap.kind is not SwapKind.LOAD:
        return
    book.swap = None
    freeing_ms = _freeing_ms(turn, book, signal)
    _left(turn, book, swap, {ModelAt(gone.endpoint, gone.model): gone.unload_ms for gone in signal.unloaded})
    unload_ms = sum(gone.unload_ms for gone in signal.unloaded)
    if signal.failure is None:
        _loaded(turn, book, swap, signal)
        swapped = bool(swap.evict)
        book.counts.loaded(now_ms, unloads=len(signal.unloaded), swapped=swapped, lost_ms=swap.idle_ms)
        measurements = {"load_ms": signal.load_ms, "unload_ms": unload_ms, "memory_bytes": book.held[at].memory_bytes}
        turn.emit(event(turn, "model.loaded", book, at, measurements, reason=swap.reason))
        load_ms = max(signal.load_ms - freeing_ms, signal.load_ms // 4)
        _measure(turn, book.name, at, {Quantity.LOAD_MS: float(load_ms)})
    else:
        held = book.held.get(at)
        if held is not None and held.phase is HeldPhase.LOADING:
            del book.held[at]
        book.counts.load_failed(now_ms, unloads=len(signal.unloaded), lost_ms=swap.idle_ms)
        _failed(turn, book, at, signal.failure)
    for name in book.endpoints:
        books.hosts.changed_ms[name] = now_ms
        turn.effects.append(ProbeNow(endpoint=name))
    look_again(turn, book)


def _freeing_ms(turn: Turn, book: HostBook, signal: LoadEnded) -> int:
    """Part of a load's time in which memory was still being freed: some engines answer an unload before it is done."""
    early = (gone for gone in signal.unloaded if gone.unload_ms < UNLOAD_MS_MIN)
    return sum(footprint(turn.books, book, ModelAt(gone.endpoint, gone.model)).unload_ms for gone in early)


def _left(turn: Turn, book: HostBook, swap: Swap, gone: dict[ModelAt, int]) -> None:
    """Of what had to go, forget what is gone; the rest is usable again."""
    for at in swap.evict:
        if at in gone:
            turn.books.hosts.forget(book, at, turn.now_ms)
            reason = f"for {swap.at.model}" if swap.at != at else "loaded anew"
            turn.emit(event(turn, "model.unloaded", book, at, {"unload_ms": gone[at]}, reason=reason))
            if gone[at] >= UNLOAD_MS_MIN:
                _measure(turn, book.name, at, {Quantity.UNLOAD_MS: float(gone[at])})
        elif at in book.held:
            book.held[at].phase = HeldPhase.READY


def _loaded(turn: Turn, book: HostBook, swap: Swap, signal: LoadEnded) -> None:
    hosts, now_ms = turn.books.hosts, turn.now_ms
    for at in swap.evict:  # an engine that has loaded has made room, whatever it said
        if at != swap.at:
            hosts.forget(book, at, now_ms)
    seen = signal.resident
    if seen is not None and seen.size_bytes:
        hosts.sizes[swap.at] = seen.size_bytes
    book.held[swap.at] = Held(
        at=swap.at,
        memory_bytes=hosts.memory_bytes(swap.at, turn.books.policy.catalog, book.capacity_bytes),
        context_tokens=seen.context_tokens if seen is not None else swap.context_tokens,
        since_ms=now_ms,
        ready_ms=now_ms,
        used_ms=now_ms,
    )
    if swap.at.model in book.preload:
        book.preload.remove(swap.at.model)


def _failed(turn: Turn, book: HostBook, at: ModelAt, failure: Failure) -> None:
    wait_ms = turn.books.policy.residency.failed_wait_ms
    book.failed[at.model] = (turn.now_ms + wait_ms, failure.message)
    if at.model in book.preload:
        book.preload.remove(at.model)
    detail = {"failure": failure.kind.value, "message": failure.message}
    turn.emit(event(turn, "model.load_failed", book, at, {"retry_after_ms": wait_ms}, **detail))


def unload_ended(turn: Turn, signal: UnloadEnded) -> None:
    """An unload that was asked for alone ended."""
    books, now_ms = turn.books, turn.now_ms
    at = ModelAt(signal.endpoint, signal.model)
    book = books.hosts.of_endpoint(signal.endpoint)
    swap = book.swap if book is not None else None
    if book is None or swap is None or swap.at != at or swap.begun_ms is None or swap.kind is not SwapKind.UNLOAD:
        return
    book.swap = None
    if signal.failure is None:
        books.hosts.forget(book, at, now_ms)
        book.counts.unloaded(now_ms, lost_ms=swap.idle_ms)
        turn.emit(event(turn, "model.unloaded", book, at, {"unload_ms": signal.unload_ms}, reason=swap.reason))
        if signal.unload_ms >= UNLOAD_MS_MIN:
            _measure(turn, book.name, at, {Quantity.UNLOAD_MS: float(signal.unload_ms)})
    elif at in book.held:
        book.held[at].phase = HeldPhase.READY
        book.counts.load_failed(now_ms, unloads=0, lost_ms=swap.idle_ms)
    books.hosts.changed_ms[signal.endpoint] = now_ms
    turn.effects.append(ProbeNow(endpoint=signal.endpoint))
    look_again(turn, book)


def call_measured(turn: Turn, endpoint: str, model: str, usage: Usage, *, save_every_ms: int = 0) -> None:
    """A call ended well and its engine said what it took: learn from it. `save_every_ms`: how much of what was learned
    may be lost when the hub stops, so that not every call writes.
    """
    view, samples = turn.books.endpoints.views.get(endpoint), samples_of(usage)
    if view is not None and samples:
        _measure(turn, view.spec.host, ModelAt(endpoint, model), samples, save_every_ms)


def _measure(turn: Turn, host: str, at: ModelAt, samples: dict[Quantity, float], save_every_ms: int = 0) -> None:
    books = turn.books
    unsaved = books.hosts.unsaved
    held = books.hosts.of(at)
    context = held.context_tokens if held is not None else books.hosts.context_of(at, books.policy.catalog)
    place = (host, at.model, context or 0)
    rows = books.hosts.speeds.add(place, samples, books.policy.catalog, turn.now_ms)
    unsaved.update({(*place, row.quantity): row for row in rows})
    if unsaved and turn.now_ms >= books.hosts.saved_ms + save_every_ms:
        turn.effects.append(Apply(command=PutMeasurements(measurements=tuple(unsaved.values()))))
        books.hosts.saved_ms = turn.now_ms
        unsaved.clear()


def want_load(turn: Turn, wish: WantLoad) -> None:
    """A person wants a model loaded. Raises `NotFoundError` or `ConflictError` before anything changes."""
    books, now_ms = turn.books, turn.now_ms
    book = _book_of(turn, wish.endpoint)
    at = ModelAt(wish.endpoint, wish.model)
    view = books.endpoints.views[wish.endpoint]
    if not view.serves(wish.model):
        raise NotFoundError(f"{wish.endpoint} does not have {wish.model}", remedy=nearest(wish.model, view.models))
    held = book.held.get(at)
    if held is not None and held.phase is HeldPhase.READY and not wish.evict:
        raise ConflictError(f"{wish.model} is loaded on {wish.endpoint} already", where="model")
    _free_to_change(book)
    named = tuple(ModelAt(wish.endpoint, model) for model in wish.evict)
    for gone in named:
        _may_go(turn, book, gone, drain=wish.drain)
    demand = gather(books, now_ms)
    host = next(host for host in demand.state.hosts if host.name == book.name)
    size = footprint(books, book, at)
    taken = sum(book.held[gone].memory_bytes for gone in named)
    short = host.used_bytes - taken + size.memory_bytes - book.capacity_bytes
    limit = book.spec.max_resident_models
    surplus = 0 if limit is None else len(host.residents) - len(named) + 1 - limit
    idle = [
        victim
        for victim in victims(host, (at.model,), demand.state.wants_of, now_ms)
        if not host.residents[victim.model].busy and demand.held[book.name, victim.model].at not in named
    ]
    chosen = cheapest_set(idle, short, surplus)
    if chosen is None:
        remedy = "wait for running work to end, or unpin a model"
        raise ConflictError(f"{book.name} has no room for {wish.model} without stopping work", remedy=remedy)
    evict = tuple(sorted({*named, *(demand.held[book.name, name].at for name in chosen.models)}))
    unload_ms = sum(footprint(books, book, gone).unload_ms for gone in evict)
    expected_ms = _drain_ms(turn, evict) + unload_ms + size.load_ms
    decide_swap(turn, book, at, evict, reason="by hand", expected_ms=expected_ms, by_hand=True)


def want_unload(turn: Turn, wish: WantUnload) -> None:
    """A person wants a model gone. Raises `NotFoundError` or `ConflictError` before anything changes."""
    book = _book_of(turn, wish.endpoint)
    at = ModelAt(wish.endpoint, wish.model)
    _free_to_change(book)
    _may_go(turn, book, at, drain=wish.drain)
    expected_ms = _drain_ms(turn, (at,)) + footprint(turn.books, book, at).unload_ms
    decide_swap(turn, book, at, (at,), reason="by hand", expected_ms=expected_ms, by_hand=True, kind=SwapKind.UNLOAD)


def pin(turn: Turn, wish: PinModel) -> None:
    """A person pins a model, or releases it. Raises `NotFoundError` for a host that is not managed."""
    books = turn.books
    book = books.hosts.books.get(wish.host)
    if book is None:
        raise NotFoundError(f"no managed host {wish.host}", where="host", remedy=nearest(wish.host, books.hosts.books))
    book.pins[wish.model] = wish.pinned
    look_again(turn, book)


def _book_of(turn: Turn, endpoint: str) -> HostBook:
    books = turn.books
    if endpoint not in books.endpoints:
        raise NotFoundError(f"there is no endpoint {endpoint}", remedy=nearest(endpoint, books.endpoints.views))
    book = books.hosts.of_endpoint(endpoint)
    if book is None:
        remedy = "declare the memory of its host in the profile, under 'hosts'; only Ollama loads on request"
        raise ConflictError(f"what is loaded on {endpoint} is left to itself", where="endpoint", remedy=remedy)
    if not books.endpoints.is_usable(endpoint):
        raise ConflictError(f"{endpoint} cannot be used at present", where="endpoint", remedy="'ostler endpoints list'")
    return book


def _free_to_change(book: HostBook) -> None:
    if book.swap is not None:
        what = f"{book.name} is changing already: {book.swap.kind.value} {book.swap.at.model}"
        raise ConflictError(what, where="host", remedy="try again when that has ended")


def _drain_ms(turn: Turn, evict: tuple[ModelAt, ...]) -> int:
    """Until the last call on what must go is expected to end."""
    return max((turn.books.hosts.drained_ms(at, turn.now_ms) - turn.now_ms for at in evict), default=0)


def _may_go(turn: Turn, book: HostBook, at: ModelAt, *, drain: bool = False) -> None:
    if at not in book.held:
        names = sorted(held.model for held in book.held if held.endpoint == at.endpoint)
        raise NotFoundError(f"{at.model} is not loaded on {at.endpoint}", remedy=nearest(at.model, names))
    if turn.books.hosts.busy(at) and not drain:
        raise ConflictError(f"{at.model} is working on {at.endpoint}", remedy="try again when its work has ended")
    if book.is_pinned(at.model):
        raise ConflictError(f"{at.model} is pinned on {book.name}", where="model", remedy="unpin it first")
