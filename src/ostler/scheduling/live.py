"""Live calls on the same path as tasks: the same queue, the same decision, slots of the same endpoints.

    offered -> decide: route -> slot taken, RunCall       -> CallEnded or CallWithdrawn frees the slot, once
                       hold  -> waits in its class        -> a slot, a load, a recovery -> RunCall
                       |        its deadline comes        -> DenyCall with the reason of its wait
                       none  -> DenyCall at once

A call needs no worker and stores nothing but what it costs: a paid one holds its estimate before it is sent, is charged
at its end, and is denied at once when a limit leaves nothing for it. Its class holds calls only, so that every rule of
the queue holds for it: the order by priority, what opens a class, and that a model which calls wait for is wanted like
one that tasks wait for. Where an earlier attempt has failed, none is made again: when that was the last place, the call
is denied at once.

Cost: an offer and an end on a fleet where nothing waits are O(1) beside the decision.
"""

from collections.abc import Callable, Hashable

from msgspec.structs import replace

from ostler.budget.recovery import taken_back
from ostler.domain.decision import Decision, Hold, Route, Verdict
from ostler.domain.fleet import FleetSnapshot, ModelAt
from ostler.domain.live import Denial, Dispatch, LiveCall, LiveEnded, Standing
from ostler.domain.states import FailureClass, Wait, WaitCode
from ostler.routing.classes import call_class, calls_apart
from ostler.scheduling import allowances, purse
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.calls import Live
from ostler.scheduling.effects import DenyCall, RunCall
from ostler.scheduling.engine_terms import live_terms
from ostler.scheduling.loading import call_measured
from ostler.scheduling.outcomes import blame, touched
from ostler.scheduling.queue import BUDGET, TaskClass
from ostler.scheduling.swap_waits import swap_wait
from ostler.scheduling.timers import TimerKind
from ostler.scheduling.verdicts import Counts

RETRY_AFTER_MIN_MS = 1_000
SAVE_EVERY_MS = 5_000
"""Speeds that calls have shown are stored so often at the most."""

PART_WAIT_MS = 3_000
"""How long a call waits for money that other pools keep: they give it back within two looks, of a second each."""
PART_RETRY_MS = 2_000
_AT_ONCE = frozenset({WaitCode.NO_ROUTE, WaitCode.BUDGET})
"""Reasons that end a call before its deadline: nothing that happens soon would change them."""
_LOST = frozenset({WaitCode.ENDPOINT_DOWN, WaitCode.QUOTA_UNTIL, WaitCode.FALLBACK_WAIT})
"""Reasons that leave a call nothing to wait for once it has failed somewhere."""


def class_key(books: Books, live: Live) -> Hashable:
    """The class in which a call waits; no task is ever in it."""
    shape, excluded, limits = live.question
    apart = calls_apart(books.policy.budget.limits, live.call)
    return ("live", call_class(shape, live.call.facts.context_tokens), excluded, limits, apart)


def offered(turn: Turn, call: LiveCall) -> None:
    """A call came in, or comes again after an attempt that failed. One that is known already changes nothing."""
    books = turn.books
    known = books.calls.known.get(call.id)
    if known is not None:
        if call.attempt <= known.call.attempt:
            return
        _forget(turn, known)
    live = books.calls.add(purse.owned(books, call))
    key = class_key(books, live) if books.queue.classes else None
    due_ms = books.timers.next_ms()
    if books.queue.is_quiet(key) and (due_ms is None or due_ms > turn.now_ms):
        # Nobody is before it: what a round would find is found at once.
        verdict, decided_us = _verdict(turn, live, None)
        if not _settled(turn, live, verdict, decided_us):
            key = class_key(books, live)
            _enqueue(turn, live, key)
            _hold(turn, key, live, verdict)
        return
    _enqueue(turn, live, class_key(books, live))


def serve(turn: Turn, snapshot: Callable[[], FleetSnapshot], key: Hashable, name: str) -> bool:
    """Try the head of a class of calls; whether the next one should be tried."""
    live = turn.books.calls.waiting[name]
    verdict, decided_us = _verdict(turn, live, snapshot)
    if _settled(turn, live, verdict, decided_us):
        return True
    _hold(turn, key, live, verdict)
    return False


def _verdict(turn: Turn, live: Live, snapshot: Callable[[], FleetSnapshot] | None) -> tuple[Verdict, int]:
    """What is decided for a call now, and how long that took."""
    books, call, now_ms = turn.books, live.call, turn.now_ms
    started_us = books.clock.stopwatch_us()
    epoch, policy = books.endpoints.epoch, books.policy
    counts = Counts(books.in_flight, books.in_flight_by_model)
    verdict = books.verdicts.known(live.question, epoch, policy, counts, now_ms)
    if verdict is None:
        fleet = snapshot() if snapshot is not None else books.snapshot(now_ms)
        managed = bool(books.hosts)
        verdict = books.verdicts.decide(call, live.question, fleet, policy, epoch=epoch, managed=managed)
    return verdict, max(0, books.clock.stopwatch_us() - started_us)


def _settled(turn: Turn, live: Live, verdict: Verdict, decided_us: int) -> bool:
    """Let the call run or deny it, if the verdict says either; else it waits."""
    turn.books.parts.found_too_little(verdict.short, turn.now_ms)
    if isinstance(verdict, Route):
        if verdict.decision.selected_endpoint is None:
            wait = Wait(code=WaitCode.NO_ROUTE, since_ms=live.call.offered_ms, detail="it needs no model")
            _deny(turn, live, wait, verdict.decision)
            return True
        _run(turn, live, verdict.decision, decided_us)
        return True
    code = verdict.wait.code
    if _waits_for_part(live, verdict) and turn.now_ms - live.call.offered_ms < PART_WAIT_MS:
        return False
    if code in _AT_ONCE or (live.call.excluded and code in _LOST):
        retry_ms = PART_RETRY_MS if _waits_for_part(live, verdict) else None
        _deny(turn, live, verdict.wait, verdict.decision, retry_ms)
        return True
    return False


def _waits_for_part(live: Live, verdict: Hold) -> bool:
    """Whether all that a call lacks is money that other pools keep."""
    return verdict.wait.code is WaitCode.BUDGET and bool(verdict.short) and not live.call.excluded


def _enqueue(turn: Turn, live: Live, key: Hashable) -> None:
    books, call = turn.books, live.call
    books.calls.waiting[live.name] = live
    books.queue.push(live.name, key, int(call.priority), live.place, is_shown=False)
    books.timers.set(TimerKind.CALL, call.id, call.deadline_ms)


def _hold(turn: Turn, key: Hashable, live: Live, verdict: Verdict) -> None:
    if isinstance(verdict, Hold):
        books, check_ms = turn.books, verdict.wait.next_check_ms
        books.queue.hold(key, verdict, (*verdict.blocked_on, BUDGET) if verdict.short else verdict.blocked_on)
        if _waits_for_part(live, verdict):
            check_ms = live.call.offered_ms + PART_WAIT_MS
        if check_ms is not None:
            books.timers.set(TimerKind.CLASS, key, check_ms)


def _run(turn: Turn, live: Live, decision: Decision, decided_us: int) -> None:
    books, call, now_ms = turn.books, live.call, turn.now_ms
    _leave_queue(books, live)
    endpoint, model = decision.selected_endpoint or "", decision.selected_model or ""
    view, need_tokens = books.endpoints.views[endpoint], call.facts.context_tokens
    context_tokens, keep_alive_s = live_terms(books, view, model, need_tokens)
    live.dispatch = Dispatch(
        call_id=call.id,
        attempt=call.attempt,
        endpoint=endpoint,
        model=model,
        tier=decision.effective_tier,
        decision=decision,
        decided_us=decided_us,
        wait_ms=max(0, now_ms - call.offered_ms),
        context_tokens=context_tokens,
        keep_alive_s=keep_alive_s,
    )
    books.take_slot(endpoint, model)
    cost = decision.estimate
    call_ms = 0 if cost is None else cost.prefill_ms + cost.decode_ms
    books.hosts.call_began(ModelAt(endpoint, model), live.name, call_ms, now_ms)
    books.endpoints.mark_resident(endpoint, model, context_tokens)
    held = purse.call_reservation(books, call, decision, now_ms)
    if held is not None:
        live.held = held.attempt
        purse.told(turn, held)
    turn.effects.append(RunCall(dispatch=live.dispatch, money=held))


def _deny(turn: Turn, live: Live, wait: Wait, decision: Decision | None, retry_after_ms: int | None = None) -> None:
    call = live.call
    _leave_queue(turn.books, live)
    del turn.books.calls.known[call.id]
    if retry_after_ms is None and wait.next_check_ms is not None:
        retry_after_ms = max(RETRY_AFTER_MIN_MS, wait.next_check_ms - turn.now_ms)
    denial = Denial(
        call_id=call.id,
        attempt=call.attempt,
        wait=wait,
        decision=decision,
        retry_after_ms=retry_after_ms,
        wait_ms=max(0, turn.now_ms - call.offered_ms),
    )
    turn.effects.append(DenyCall(denial=denial))


def deny_due(turn: Turn) -> bool:
    """Deny the calls that were to have begun by now and still wait; whether there were any. To be asked after a round:
    then every one of them has a reason, and none is denied beside a place that is free.
    """
    books = turn.books
    due, books.calls.due = books.calls.due, []
    lines: dict[Hashable, tuple[Wait, dict[str, int]]] = {}  # worked out once for all that leave a class together
    found = []
    for call_id in due:
        live = books.calls.known.get(call_id)
        task_class = None if live is None else books.queue.class_of(live.name)
        if live is None or task_class is None:
            continue
        if task_class.key not in lines:
            wait = _wait_of(books, live)
            lines[task_class.key] = wait, _free_in_ms(turn, task_class) if wait.code is WaitCode.CAPACITY else {}
        wait, guesses = lines[task_class.key]
        wait = replace(wait, since_ms=live.call.offered_ms)
        decision = task_class.hold.decision if task_class.hold is not None else None
        found.append((live, wait, decision, guesses.get(live.name)))
    for live, wait, decision, retry_ms in found:
        _deny(turn, live, wait, decision, retry_ms)
    return bool(found)


def _free_in_ms(turn: Turn, task_class: TaskClass) -> dict[str, int]:
    """When each call of a class should have a slot: the work in flight where they could go ends as expected, and each
    end frees a slot for the next in line. O(work in flight + n log n of the class).
    """
    books, now_ms = turn.books, turn.now_ms
    names = frozenset(task_class.hold.blocked_on if task_class.hold is not None else ())
    running = [one.name for one in books.calls.known.values() if one.dispatch and one.dispatch.endpoint in names]
    running += [name for name, attempt in books.attempts.items() if attempt.endpoint in names]
    left = sorted(max(0, books.hosts.due_ms.get(name, now_ms) - now_ms) for name in running) or [0]
    found = {}
    for ahead, name in enumerate(books.queue.order(task_class.key)):
        turns, rest = divmod(ahead, len(left))
        found[name] = max(RETRY_AFTER_MIN_MS, left[rest] + turns * left[-1])
    return found


def _wait_of(books: Books, live: Live) -> Wait:
    wait = books.queue.wait_of(live.name)
    if wait is None:
        return Wait(code=WaitCode.READY, since_ms=live.call.offered_ms)
    if wait.code is WaitCode.MODEL_SWAP:
        wait = swap_wait(books, live.name, wait)
    return replace(wait, since_ms=live.call.offered_ms)


def ended(turn: Turn, end: LiveEnded) -> None:
    """An attempt ended. What is late, or said twice, changes nothing."""
    books, now_ms = turn.books, turn.now_ms
    live = books.calls.known.get(end.call_id)
    if live is None or live.dispatch is None or live.call.attempt != end.attempt:
        return
    endpoint, model = live.dispatch.endpoint, live.dispatch.model
    if live.held:
        purse.pay(turn, purse.call_settlement(books, live.held, live.dispatch, end, now_ms))
        live.held = ""
        if end.failure is None:
            purse.answered(books, live.call.facts, endpoint, model, end.usage)
    if end.allowances:
        allowances.told(turn, books.endpoints.views[endpoint].spec.provider, end.allowances)
    if end.wants_tool:
        books.hosts.hold(ModelAt(endpoint, model), now_ms + books.policy.residency.tool_hold_ms)
    if end.failure is None:
        books.hosts.call_took(model, live.name, now_ms)
        if end.usage is not None:
            call_measured(turn, endpoint, model, end.usage, save_every_ms=SAVE_EVERY_MS)
    _forget(turn, live)
    if end.failure is None:
        touched(turn, endpoint, books.endpoints.call_ok(endpoint, now_ms))
    elif end.failure.kind is not FailureClass.CANCELLED:
        blame(turn, endpoint, end.failure)


def withdrawn(turn: Turn, call_id: str) -> None:
    """Nobody waits for it any more: what it holds is free, and nobody is told."""
    live = turn.books.calls.known.get(call_id)
    if live is not None:
        _forget(turn, live)


def policy_changed(turn: Turn) -> None:
    """Other rules are in force: every waiting call is looked at anew under them."""
    books = turn.books
    for live in list(books.calls.waiting.values()):
        books.queue.remove(live.name)
        key = class_key(books, live)
        books.queue.push(live.name, key, int(live.call.priority), live.place, is_shown=False)


def standing(books: Books, call_id: str) -> Standing | None:
    """Where a waiting call stands; `None` when it does not wait."""
    live = books.calls.known.get(call_id)
    if live is None or live.dispatch is not None:
        return None
    return Standing(wait=_wait_of(books, live), ahead=books.queue.ahead_of(live.name))


def _leave_queue(books: Books, live: Live) -> None:
    if books.calls.waiting.pop(live.name, None) is not None:
        books.queue.remove(live.name)
        books.timers.cancel(TimerKind.CALL, live.call.id)


def _forget(turn: Turn, live: Live) -> None:
    """Take a call out of all books; a slot it has is freed, and who waits for one is looked at again."""
    books, dispatch = turn.books, live.dispatch
    _leave_queue(books, live)
    del books.calls.known[live.call.id]
    if live.held:  # withdrawn before it was sent
        purse.pay(turn, taken_back(live.held, turn.now_ms, may_have_run=False))
        live.held = ""
    if dispatch is not None:
        live.dispatch = None
        books.free_slot(dispatch.endpoint, dispatch.model)
        books.hosts.call_ended(ModelAt(dispatch.endpoint, dispatch.model), live.name, turn.now_ms)
