"""What is loaded where: the step after each round that asks the residency rule and carries out what it says.

    1. A decided swap whose evicted models have no call left begins; one that nobody wants any more is taken back.
    2. The rule is asked, again and again, until it has no move: each move is a load on a host that swaps nothing yet.
    3. A move marks what must go as leaving (no new call goes there) and begins at once if nothing of it is busy.
    4. One timer is set for when time alone can change the answer: patience, minimum residence, a failed load.

The step runs only when something changed that it looks at; its cost is that of `demand.gather` and of the rule.

Safety: a load begins only when no call of ours is in flight on what it evicts, and from its decision on no new one goes
there. Liveness: every effect is answered by one signal; whatever that says, the host is free for the next swap.
"""

from ostler.domain.decision import Hold, Route, RouteRequest, Verdict, Wish
from ostler.domain.event import Event, Scalar
from ostler.domain.fleet import HeldPhase, ModelAt
from ostler.domain.policy import ResidencyPolicy
from ostler.domain.tasks import Task
from ostler.residency import eviction
from ostler.residency.rule import OPEN, Load, Params, Recheck, next_move
from ostler.routing.decide import decide
from ostler.scheduling.books import Turn
from ostler.scheduling.demand import Demand, footprint, gather, starts_ms
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.guiding import guided, planned_endpoints
from ostler.scheduling.hosts import Held, HostBook, Swap, SwapKind
from ostler.scheduling.timers import TimerKind

MAX_COMING = 64
"""Tasks looked at for loading ahead at once."""


def step(turn: Turn) -> bool:
    """Ask the rule if there is reason to; whether what may be used changed, so that a round is due."""
    books = turn.books
    hosts, queue = books.hosts, books.queue
    if not hosts or not (hosts.dirty or queue.wishes_changed):
        return False
    hosts.dirty = queue.wishes_changed = False
    _look_ahead(turn)
    demand = gather(books, turn.now_ms)
    changed = False
    for book in list(hosts.books.values()):
        changed |= _advance(turn, book, demand)
    params = params_of(books.policy.residency)
    while True:
        if changed:
            demand = gather(books, turn.now_ms)
        move = guided(turn, demand) or next_move(demand.state, params, turn.now_ms)
        if not isinstance(move, Load):
            break
        changed = True
        _decide(turn, demand, move)
    hosts.unserved_ms = demand.unserved_ms
    _set_timer(turn, demand, move)
    return changed


def params_of(policy: ResidencyPolicy) -> Params:
    """The setting of the rule under a policy."""
    return OPEN._replace(min_stay_ms=policy.min_residence_ms)


def _set_timer(turn: Turn, demand: Demand, move: Recheck | None) -> None:
    books, now_ms = turn.books, turn.now_ms
    due = [until_ms for book in books.hosts.books.values() for until_ms, _ in book.failed.values()]
    if move is not None:
        due.append(move.at_ms)
    if demand.patience_ms is not None:
        due.append(demand.patience_ms)
    due = [at_ms for at_ms in due if at_ms > now_ms]
    if due:
        books.timers.set(TimerKind.RESIDENCY, "", min(due))
    else:
        books.timers.cancel(TimerKind.RESIDENCY, "")


def time_came(turn: Turn) -> None:
    """The timer of the step fired: what failed long enough ago may be tried again, and the rule is asked."""
    books, now_ms = turn.books, turn.now_ms
    books.hosts.dirty = True
    for book in books.hosts.books.values():
        over = [model for model, (until_ms, _) in book.failed.items() if until_ms <= now_ms]
        for model in over:
            del book.failed[model]
        if over:
            look_again(turn, book)


def look_again(turn: Turn, book: HostBook) -> None:
    """Have views and waiting classes follow what may be used on a host now."""
    books = turn.books
    books.hosts.dirty = True
    for name in book.endpoints:
        books.endpoints.set_usable(name, book.usable(name))
        books.queue.open_blocked_on(name)


def _advance(turn: Turn, book: HostBook, demand: Demand) -> bool:
    """Begin a swap that has become free to, or take it back when nobody wants it any more."""
    books, swap = turn.books, book.swap
    if swap is None or swap.begun_ms is not None:
        return False
    wanted = swap.wanted_by_hand or (book.name, swap.at.model) in demand.places
    if not wanted or not books.endpoints.is_usable(swap.at.endpoint):
        book.swap = None
        for at in swap.evict:
            held = book.held.get(at)
            if held is not None:
                held.phase = HeldPhase.READY
        look_again(turn, book)
        return True
    return _begin(turn, book, swap)


def _decide(turn: Turn, demand: Demand, move: Load) -> None:
    """Carry out a move of the rule."""
    book = turn.books.hosts.books[move.host]
    host = next(host for host in demand.state.hosts if host.name == move.host)
    at = ModelAt(demand.places[move.host, move.model], move.model)
    evict = [demand.held[move.host, key].at for key in move.evict]
    if at in book.held and at not in evict:
        evict.append(at)  # loaded with another context
    eviction.charge(host, move.evict)
    for key, resident in host.residents.items():
        demand.held[move.host, key].credit_ms = resident.credit_ms
    want = next(want for want in demand.state.wants_of[move.model] if want.hosts is None or move.host in want.hosts)
    why = f"{want.waiting} waiting" if want.waiting else "needed soon"
    if move.overdue:
        why = f"{why}, patience lost"
    decide_swap(turn, book, at, tuple(sorted(evict)), reason=why, expected_ms=move.available_ms)


def decide_swap(
    turn: Turn,
    book: HostBook,
    at: ModelAt,
    evict: tuple[ModelAt, ...],
    *,
    reason: str,
    expected_ms: int,
    by_hand: bool = False,
    kind: SwapKind = SwapKind.LOAD,
) -> None:
    """Begin to change what a host holds: what must go takes no new calls from now on."""
    books, now_ms = turn.books, turn.now_ms
    swap = Swap(
        kind=kind,
        at=at,
        context_tokens=books.hosts.context_of(at, books.policy.catalog),
        evict=evict,
        reason=reason,
        wanted_by_hand=by_hand,
        decided_ms=now_ms,
        ready_ms=now_ms + expected_ms,
    )
    book.swap = swap
    for gone in evict:
        held = book.held[gone]
        held.phase, held.since_ms = HeldPhase.LEAVING, now_ms
        books.hosts.left_ms[gone.model] = now_ms
    if not _begin(turn, book, swap):
        look_again(turn, book)


def _begin(turn: Turn, book: HostBook, swap: Swap) -> bool:
    """Give the effect out, unless something that must go is still busy."""
    books, now_ms = turn.books, turn.now_ms
    if any(books.hosts.busy(at) for at in swap.evict):
        return False
    size = footprint(books, book, swap.at)
    unload_ms = sum(footprint(books, book, at).unload_ms for at in swap.evict)
    swap.begun_ms, swap.ready_ms = now_ms, now_ms + unload_ms + size.load_ms
    for at in swap.evict:
        held = book.held[at]
        held.phase, held.since_ms = HeldPhase.UNLOADING, now_ms
    look_again(turn, book)  # whoever waits for it reckons with the time that it really takes
    if swap.kind is SwapKind.UNLOAD:
        turn.effects.append(UnloadModel(host=book.name, endpoint=swap.at.endpoint, model=swap.at.model))
        return True
    if swap.at not in book.held:
        book.held[swap.at] = Held(
            at=swap.at,
            memory_bytes=size.memory_bytes,
            context_tokens=swap.context_tokens,
            phase=HeldPhase.LOADING,
            since_ms=now_ms,
            ready_ms=swap.ready_ms,
        )
    measurements = {"expected_ms": unload_ms + size.load_ms, "memory_bytes": size.memory_bytes}
    evicted = ", ".join(at.model for at in swap.evict)
    turn.emit(event(turn, "model.loading", book, swap.at, measurements, evict=evicted, reason=swap.reason))
    turn.effects.append(
        LoadModel(
            host=book.name,
            endpoint=swap.at.endpoint,
            model=swap.at.model,
            context_tokens=swap.context_tokens,
            evict=swap.evict,
        )
    )
    return True


def event(
    turn: Turn, name: str, book: HostBook, at: ModelAt, measurements: dict[str, int], **metadata: Scalar
) -> Event:
    """An event about a model on a managed host."""
    meta: dict[str, Scalar] = {"host": book.name, "endpoint": at.endpoint, "model": at.model}
    return Event(name=name, at_ms=turn.now_ms, measurements=measurements, metadata=meta | metadata)


def about_to_run(turn: Turn, task_id: str) -> None:
    """A task was assigned: those that need it may have all their needs running now."""
    if turn.books.hosts:
        for name in turn.books.dependencies.dependents(task_id):
            foresee(turn, name)


def foresee(turn: Turn, task_id: str) -> None:
    """A task waits for others: if all of them run, what it will want is loaded ahead."""
    books = turn.books
    hosts, task = books.hosts, books.tasks.get(task_id)
    if not hosts or task is None or not books.policy.residency.prefetch:
        return
    if len(hosts.coming) >= MAX_COMING or task_id in hosts.coming:
        return
    if starts_ms(books, task, turn.now_ms) is not None:
        hosts.coming[task_id] = None
        hosts.dirty = True


def _look_ahead(turn: Turn) -> None:
    """Forget tasks that are not coming any more, and work out what new ones will want."""
    books, now_ms = turn.books, turn.now_ms
    coming = books.hosts.coming
    for name, wishes in list(coming.items()):
        task = books.tasks.get(name)
        if task is None or starts_ms(books, task, now_ms) is None:
            del coming[name]
        elif wishes is None:
            coming[name] = _wishes_of(turn, task)


def _wishes_of(turn: Turn, task: Task) -> tuple[Wish, ...]:
    """What a task would want if it could run now."""
    books, now_ms = turn.books, turn.now_ms
    request = RouteRequest(
        facts=task.facts,
        now_ms=now_ms,
        queued_ms=now_ms,
        quality_steps=task.quality_steps,
        errors=task.errors,
        excluded=task.excluded,
        planned=planned_endpoints(books, task),
    )
    return wishes_of(turn, decide(request, books.snapshot(now_ms), books.policy))


def wishes_of(turn: Turn, verdict: Verdict) -> tuple[Wish, ...]:
    """The places on managed hosts that a verdict is about."""
    if isinstance(verdict, Hold):
        return verdict.wishes
    return _wish(turn, verdict)


def _wish(turn: Turn, verdict: Route) -> tuple[Wish, ...]:
    decision = verdict.decision
    name, model, cost = decision.selected_endpoint, decision.selected_model, decision.estimate
    if name is None or model is None or turn.books.hosts.of_endpoint(name) is None:
        return ()
    call_ms = 0 if cost is None else cost.prefill_ms + cost.decode_ms
    return (Wish(endpoint=name, model=model, host=decision.selected_host or "", call_ms=call_ms),)
