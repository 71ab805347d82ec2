"""Money of attempts: held in the transaction that assigns, charged at the end, taken back by rule.

Only attempts on endpoints that are not the user's own cost anything. What is held is an estimate: the prompt and the
expected answer at the model's price, the conservative one where none is known. The decision has asked the limits
before, on the mirror of the ledger that is kept here; the store asks them again where it reserves, and its word stands.
A limit that would be passed there refuses the assignment as a whole; the task waits for the limit then, and is looked
at again when the window is over, at the latest every `RETRY_MS`.

Classes that wait for a limit are looked at when room is made: an attempt ended below what it held, or a window is over.
A task whose own estimate is too large for what is left waits by itself, so that cheaper ones behind it go on.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from ostler.budget.alerts import crossed
from ostler.budget.limits import Standing, amount_text, bounds, scope_value, standing
from ostler.budget.recovery import taken_back
from ostler.budget.subscriptions import allowance_bounds, subscription_of
from ostler.budget.windows import EARLIEST_MS, LATEST_MS, extent
from ostler.domain.commands import LedgerCommand, Release, Reserve, Settle
from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.ledger import NOTHING, Amount, Basis, Bound, Scopes, Span
from ostler.domain.limits import Limit, PartKey, PoolPart, ScopeKind
from ostler.domain.live import Dispatch, LiveCall, LiveEnded
from ostler.domain.states import FailureClass, WaitCode
from ostler.domain.tasks import Attempt, Task, TaskFacts, TaskKind, Usage
from ostler.domain.work import Finished
from ostler.routing.gatekeeping import at_place, charge, charged_to, expected, payable
from ostler.scheduling import allowances
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.effects import Apply
from ostler.scheduling.queue import BUDGET
from ostler.scheduling.timers import TimerKind

RETRY_MS = 30_000
LATE = "told by a late report"
_UNSENT = frozenset(
    {
        FailureClass.RATE_LIMIT,
        FailureClass.QUOTA,
        FailureClass.OVERLOADED,
        FailureClass.ENDPOINT_DOWN,
        FailureClass.MODEL_MISSING,
        FailureClass.CONTEXT_TOO_LONG,
        FailureClass.AUTH,
        FailureClass.NO_ENDPOINT,
    }
)
"""Failures of calls that a provider turned away: nobody charges for them."""
_UNSENT_CALL = _UNSENT | {FailureClass.SERVER, FailureClass.CAPABILITY}
"""Those of live calls, of which it is known that no answer had begun."""


def name_of(task_id: str, generation: int) -> str:
    """The name of an attempt in the ledger.

    >>> name_of("t-1", 2)
    't-1/2'
    """
    return f"{task_id}/{generation}"


def reservation(books: Books, task: Task, decision: Decision, now_ms: int) -> Reserve | None:
    """What an attempt has to hold before it is sent; `None` when it costs nothing. `task` is the row it will have."""
    if not _is_paid(books, decision.selected_endpoint) or decision.selected_model is None:
        return None
    policy, facts = books.policy, task.facts
    if facts.kind is TaskKind.AGENT:
        return None  # each of its calls holds and pays its own, under the task
    place = (decision.provider or "", decision.selected_model)
    amount, basis = expected(facts, task.handed_tokens, place, policy, books.answers.expected)
    scopes = _scopes(charged_to(facts), decision)
    return Reserve(
        attempt=name_of(task.id, task.generation),
        at_ms=now_ms,
        amount=amount,
        basis=basis,
        scopes=scopes,
        bounds=_bounds(books, policy.budget.limits, scopes, now_ms, critical=facts.critical),
        task_type=facts.classification.task_type,
    )


def _bounds(books: Books, limits: Iterable[Limit], scopes: Scopes, now_ms: int, *, critical: bool) -> tuple[Bound, ...]:
    """All that the store is to check: limits, and the allowances of the subscription that pays."""
    plan = subscription_of(books.policy.budget.subscriptions, scopes.provider)
    counted = payable(limits, covered=plan is not None)
    held = bounds(counted, scopes, now_ms, critical=critical, parts=books.parts.of)
    return held if plan is None else (*held, *allowance_bounds(plan, scopes, now_ms, critical=critical))


def _scopes(charged: Scopes, decision: Decision) -> Scopes:
    return at_place(
        charged,
        provider=decision.provider or "",
        tier=decision.effective_tier,
        model=decision.selected_model or "",
        endpoint=decision.selected_endpoint or "",
    )


def told(turn: Turn, command: LedgerCommand | None) -> None:
    """A command goes to the ledger: the mirror knows it from now on, and who waits for room is looked at."""
    if command is None:
        return
    books = turn.books
    scopes = books.money.scopes_of(command.attempt) or getattr(command, "scopes", None)
    if isinstance(command, Reserve):
        books.parts.reserved(command)
    if books.money.take(command):
        books.queue.open_blocked_on(BUDGET)
    if scopes is not None and books.policy.budget.limits:
        _alert(turn, scopes)
    if scopes is not None and books.policy.budget.subscriptions:
        allowances.looked_at(turn, scopes.provider)


def _alert(turn: Turn, scopes: Scopes) -> None:
    """Tell of limits that an attempt has brought to a value, once for each crossing. O(limits)."""
    for limit in turn.books.policy.budget.limits:
        value = scope_value(limit, scopes)
        if value is not None:
            _crossed(turn, limit, value)


def _crossed(turn: Turn, limit: Limit, value: str) -> None:
    books, now_ms = turn.books, turn.now_ms
    now = standing(limit, value, now_ms, books.money.spent, parts=books.parts.of)
    if now is None:
        return
    fresh, kept = crossed([now], books.crossed.get((limit.name, now.value), frozenset()))
    if kept:
        books.crossed[limit.name, now.value] = kept
    else:
        books.crossed.pop((limit.name, now.value), None)
    turn.emit(*(_crossing(one, now_ms) for one in fresh))


def divided(turn: Turn, parts: Mapping[PartKey, PoolPart] | None) -> None:
    """Other parts hold from now on: who waits for room is looked at when there is more of it, and limits
    that other pools brought to a value are told of.
    """
    books, first = turn.books, not turn.books.parts.told
    if books.parts.tell(parts):
        books.queue.open_blocked_on(BUDGET)
        for task_id in books.parts.take_aside():
            task = books.tasks.get(task_id)
            if task is not None and task.wait is not None and task.wait.code is WaitCode.BUDGET:
                books.timers.set(TimerKind.NOT_BEFORE, task_id, turn.now_ms)
    if first:
        recall_told(books, turn.now_ms)
    for limit in books.policy.budget.limits if parts else ():
        for value in sorted({key.value for key in parts or () if key.limit == limit.name}):
            _crossed(turn, limit, value)


def waits_for_part(books: Books, task_id: str) -> bool:
    """Whether all that a task lacks is money that other pools keep and give back when they are asked."""
    task_class = books.queue.class_of(task_id)
    if task_class is not None:
        return task_class.hold is not None and bool(task_class.hold.short)
    return books.parts.is_aside(task_id)


def recall_told(books: Books, now_ms: int) -> None:
    """After a restart: what is reached by now was told of when it was."""
    for limit in books.policy.budget.limits:
        values = [limit.of] if limit.of or limit.scope is ScopeKind.ALL else books.money.values(limit.scope)
        for value in values:
            now = standing(limit, value, now_ms, books.money.spent, parts=books.parts.of)
            if now is not None and (kept := crossed([now], frozenset())[1]):
                books.crossed[limit.name, value] = kept


def _crossing(one: Standing, now_ms: int) -> Event:
    ceiling = one.ceiling if one.ceiling is not None else one.limit.soft
    amounts = {"used": one.used + one.elsewhere, "held": one.held, "ceiling": ceiling or 0}
    meta = {name: amount_text(amount, one.limit.unit) for name, amount in amounts.items()}
    meta |= {"limit": one.limit.name, "of": one.value, "level": one.level.value}
    return Event(name="alert.budget", at_ms=now_ms, metadata=meta)


def undone(turn: Turn, attempt: str) -> None:
    """The store did not take a reservation: nothing is held."""
    told(turn, Release(attempt=attempt, at_ms=turn.now_ms))


def pay(turn: Turn, command: Settle | Release | None) -> None:
    """What an end says about money is stored with it; the ledger takes it whatever it says."""
    if command is not None:
        told(turn, command)
        turn.effects.append(Apply(command=command))


def owned(books: Books, call: LiveCall) -> LiveCall:
    """A live call with whose it is. One that its key charges to a task under way is of the task's batch, session and
    tick too, and critical where the task is: the calls of an agent spend what its task may.
    """
    task = books.tasks.get(call.task) if call.task else None
    if task is None:
        return replace(call, charged=Scopes(task=call.task, key=call.key)) if call.task or call.key else call
    facts = replace(call.facts, critical=True) if task.facts.critical else call.facts
    return replace(call, facts=facts, charged=replace(charged_to(task.facts), key=call.key))


def call_reservation(books: Books, call: LiveCall, decision: Decision, now_ms: int) -> Reserve | None:
    """What a live call has to hold before it is sent; `None` when it costs nothing."""
    endpoint, model = decision.selected_endpoint, decision.selected_model
    if not _is_paid(books, endpoint) or model is None:
        return None
    policy, facts = books.policy, call.facts
    amount, basis = expected(facts, 0, (decision.provider or "", model), policy, books.answers.expected)
    scopes = _scopes(call.charged, decision)
    limits = (*policy.budget.limits, *call.limits)
    return Reserve(
        attempt=name_of(call.id, call.attempt),
        at_ms=now_ms,
        amount=amount,
        basis=basis,
        scopes=scopes,
        bounds=_bounds(books, limits, scopes, now_ms, critical=facts.critical),
        task_type=facts.classification.task_type,
    )


def answered(books: Books, facts: TaskFacts, endpoint: str | None, model: str | None, usage: Usage | None) -> None:
    """A paid attempt ended well: the length of its answer says what the next one should hold. An
    agent's is the sum of many.
    """
    counted = usage is not None and not usage.estimated and facts.kind is not TaskKind.AGENT
    if counted and usage is not None and model is not None and _is_paid(books, endpoint):
        books.answers.add(facts.classification.task_type, model, usage.output_tokens, books.policy)


def call_settlement(books: Books, attempt: str, dispatch: Dispatch, end: LiveEnded, now_ms: int) -> Settle | Release:
    """What the end of a live call says about its money: the tokens that passed, also of one whose client hung up."""
    if end.usage is None:
        turned_away = end.unworked or (end.failure is not None and end.failure.kind in _UNSENT_CALL)
        return taken_back(attempt, now_ms, may_have_run=not turned_away)
    amount = charged(end.usage)
    written = min(end.cache_write_tokens, amount.input_tokens)
    amount = replace(amount, input_tokens=amount.input_tokens - written, cache_write_tokens=written)
    place = (provider_of(books, dispatch.endpoint), dispatch.model)
    return _settled(books, attempt, place, amount, now_ms, estimated=end.usage.estimated)


def settlement(books: Books, attempt: Attempt, report: Finished, now_ms: int) -> Settle | Release | None:
    """What the end of an attempt says about its money; `None` when it held none.

    Counted tokens are charged. Without a count: a call that was turned away cost nothing, of any other nobody knows,
    and it is taken to have cost what it held.
    """
    if not _is_paid(books, attempt.endpoint) or attempt.model is None or _pays_by_call(books, attempt):
        return None
    name = name_of(attempt.task_id, attempt.generation)
    if report.usage is None:
        turned_away = report.failure is not None and report.failure.kind in _UNSENT
        return taken_back(name, now_ms, may_have_run=not turned_away)
    amount = charged(report.usage)
    place = (provider_of(books, attempt.endpoint), attempt.model)
    return _settled(books, name, place, amount, now_ms, estimated=report.usage.estimated)


def _settled(
    books: Books, attempt: str, place: tuple[str, str], amount: Amount, now_ms: int, *, estimated: bool
) -> Settle:
    amount, basis = charge(books.policy.budget, *place, amount)
    if estimated and basis is Basis.PRICED:
        basis = Basis.ESTIMATED
    return Settle(attempt=attempt, at_ms=now_ms, amount=amount, basis=basis)


def cost_of(books: Books, attempt: Attempt) -> int | None:
    """Micro-dollars of an attempt: by its own count, of an agent what its calls paid; `None` = nobody knows."""
    if _pays_by_call(books, attempt):
        before = books.agent_paid.get(attempt.task_id)
        return None if before is None or attempt.endpoint is None else paid_by(books, attempt.task_id) - before
    if attempt.model is None or attempt.usage is None:
        return None
    if not _is_paid(books, attempt.endpoint):
        return 0
    provider = provider_of(books, attempt.endpoint)
    amount, basis = charge(books.policy.budget, provider, attempt.model, charged(attempt.usage))
    return None if basis is Basis.UNKNOWN else amount.micro_usd


def paid_by(books: Books, task_id: str) -> int:
    """What the calls of a task have cost so far, in micro-dollars."""
    span = Span(scope=ScopeKind.TASK, value=task_id, start_ms=EARLIEST_MS, end_ms=LATEST_MS)
    return books.money.spent(span).used.micro_usd


def abandoned(books: Books, attempt: Attempt, now_ms: int) -> Settle | Release | None:
    """An attempt was taken back from its worker. That no start was heard of is no proof that there was none: it is
    taken to have cost what it held.
    """
    if not _is_paid(books, attempt.endpoint) or _pays_by_call(books, attempt):
        return None
    return taken_back(name_of(attempt.task_id, attempt.generation), now_ms, may_have_run=True)


def told_late(books: Books, report: Finished, now_ms: int) -> Settle | None:
    """What a report that comes too late says about money that was taken to be spent, or given back: the attempt is
    charged what it counted, once; nothing when it was turned away. `None` where there is nothing to correct.
    """
    name = name_of(report.task_id, report.generation)
    scopes = books.money.unsure(name)
    if scopes is None:
        return None
    if report.usage is None:
        turned_away = report.failure is not None and report.failure.kind in _UNSENT
        return Settle(attempt=name, at_ms=now_ms, amount=NOTHING, note=LATE) if turned_away else None
    amount, place = charged(report.usage), (scopes.provider, scopes.model)
    settled = _settled(books, name, place, amount, now_ms, estimated=report.usage.estimated)
    return replace(settled, note=LATE)


def look_again_ms(books: Books, limit_name: str, now_ms: int) -> int:
    """When a task that a limit refused is looked at again."""
    limit = next((one for one in books.policy.budget.limits if one.name == limit_name), None)
    found = extent(limit.window, now_ms) if limit is not None else None
    resets_ms = found.resets_ms if found is not None else None
    return now_ms + RETRY_MS if resets_ms is None else min(now_ms + RETRY_MS, max(now_ms + 1, resets_ms))


def charged(usage: Usage) -> Amount:
    """Tokens of an attempt as the ledger counts them: its total of input holds what was cached."""
    return Amount(
        input_tokens=max(0, usage.input_tokens - usage.cached_tokens),
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _pays_by_call(books: Books, attempt: Attempt) -> bool:
    task = books.tasks.get(attempt.task_id)
    return task is not None and task.facts.kind is TaskKind.AGENT


def provider_of(books: Books, endpoint: str | None) -> str:
    """Who is paid for a place; empty where nobody knows."""
    view = books.endpoints.views.get(endpoint) if endpoint is not None else None
    return view.spec.provider if view is not None else ""


def _is_paid(books: Books, endpoint: str | None) -> bool:
    view = books.endpoints.views.get(endpoint) if endpoint is not None else None
    return view is not None and not view.spec.local
