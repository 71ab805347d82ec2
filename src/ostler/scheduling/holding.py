"""Why a class waits, and for what: the hold of its head, in the queue and on its row.

A task that is to run at a place with a model waits for a pair: a slot there, and a free worker who reaches it. Either
is a reason to look again only with the other one (`offering`).
"""

import msgspec

from ostler.domain.decision import Decision, Hold, Route
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Task, TaskKind
from ostler.scheduling import purse
from ostler.scheduling.batches import limits_key, resource
from ostler.scheduling.books import Turn
from ostler.scheduling.intake import wait_for_money
from ostler.scheduling.lines import ClassKey
from ostler.scheduling.queue import BUDGET, WORKERS, PendingFallback, slot_of
from ostler.scheduling.residency import wishes_of
from ostler.scheduling.sight import Sight
from ostler.scheduling.timers import TimerKind

MAX_PARKED = 64
"""Tasks of one class that wait for their fallback instant at once; the others come after them anyway."""

STORED_CODES = frozenset(
    {
        WaitCode.FALLBACK_WAIT,
        WaitCode.ENDPOINT_DOWN,
        WaitCode.QUOTA_UNTIL,
        WaitCode.NO_ROUTE,
        WaitCode.NO_WORKER,
        WaitCode.BUDGET,
    }
)
"""Reasons worth an event on the head of a class. Waiting for a slot is normal and changes too often."""


def waits_on(turn: Turn, sight: Sight, key: ClassKey, task: Task) -> bool:
    """Whether a class that waited for a place and a worker, and was served, waits on: nothing of what became free is of
    use to its next one, so it is held as before. Where hosts are managed it is decided anew, for what it wishes for.
    """
    books, waited = turn.books, turn.books.queue.classes[key].waited
    if waited is None or books.hosts:
        return False
    before, line = waited
    if before.wait.code is not WaitCode.CAPACITY or before.limited or slot_of(task.facts.kind) not in line.all_names:
        return False
    if sight.offers.help(task.facts, line.places):
        return False
    if not books.workers.any_suits(task.facts):
        detail = f"every worker slot for {task.facts.kind.value} work is taken"
        before = msgspec.structs.replace(before, wait=msgspec.structs.replace(before.wait, detail=detail))
    _hold_as(turn, key, task, before, line.names)
    return True


def waits_alike(turn: Turn, sight: Sight, key: ClassKey, task: Task) -> bool:
    """Whether it was found in this round that all of its kin wait: then for the same, without another decision."""
    found = sight.of_kin(key)
    if found is None:
        return False
    _hold_as(turn, key, task, *found)
    return True


def _hold_as(turn: Turn, key: ClassKey, task: Task, hold: Hold, names: tuple[str, ...]) -> None:
    """Have a class wait as it did, or as another one of its kin does, with its own head in the record."""
    wait = msgspec.structs.replace(hold.wait, since_ms=_since(turn, task, hold.wait.code))
    decision = msgspec.structs.replace(hold.decision, task_id=task.id, generation=task.generation + 1)
    _note(turn, task, wait)
    turn.books.queue.hold(key, msgspec.structs.replace(hold, wait=wait, decision=decision), names)


def plan_hold(turn: Turn, task: Task, decision: Decision, later_ms: int) -> Hold:
    """Its plan has something else first: looked at again when its host is, at the latest when it was to start."""
    place = decision.selected_host or "a worker"
    detail = f"its plan has it start later on {place}, after what is to start there first"
    since_ms = _since(turn, task, WaitCode.CAPACITY)
    wait = Wait(code=WaitCode.CAPACITY, since_ms=since_ms, detail=detail, next_check_ms=later_ms)
    return Hold(wait=wait, decision=decision, blocked_on=(decision.selected_endpoint or slot_of(task.facts.kind),))


def worker_hold(turn: Turn, task: Task, verdict: Route) -> Hold:
    """It is routed, and no worker takes it there now."""
    books, facts, decision = turn.books, task.facts, verdict.decision
    views = books.endpoints.views
    selected = (decision.selected_endpoint,) if decision.selected_endpoint is not None else ()
    places = verdict.places if facts.kind is not TaskKind.AGENT else ()  # its calls go to the gateway, from anywhere
    tied = [books.endpoints.tied[name] for name in places if name in books.endpoints.tied]
    unreached = books.workers.unreached(facts, tied)
    if unreached and len(unreached) < len(tied):
        code, detail = WaitCode.CAPACITY, "no model that a free worker reaches has a free slot"
    elif books.workers.could_match(facts, *(views[name].spec for name in places or selected if name in views)):
        code, detail = WaitCode.CAPACITY, f"every worker slot for {facts.kind.value} work is taken"
    else:
        code, detail = WaitCode.NO_WORKER, _missing_worker(turn, task)
    return Hold(
        wait=Wait(code=code, since_ms=_since(turn, task, code), detail=detail),
        decision=decision,
        # A slot that becomes free where a model runs helps as well, if somebody who is free already is there.
        blocked_on=places or selected,
        # The model it would use is wanted, although no worker is free to use it now.
        wishes=wishes_of(turn, Route(decision=decision)),
        places=places,
    )


def pair_hold(task: Task, hold: Hold) -> Hold:
    """All that could run it is taken: what becomes free there helps with a worker who reaches it."""
    if hold.wait.code is not WaitCode.CAPACITY or task.facts.kind is TaskKind.AGENT:
        return hold
    return msgspec.structs.replace(hold, places=hold.blocked_on)


def batch_hold(turn: Turn, task: Task, decision: Decision) -> Hold:
    """It could run, but as many tasks of its batch run as may."""
    detail = f"{task.facts.batch_limit} tasks of {task.batch} run, as many as may at once"
    wait = Wait(code=WaitCode.CAPACITY, since_ms=_since(turn, task, WaitCode.CAPACITY), detail=detail)
    # What its batch uses now it will use again: the model is not to go for others in between.
    return Hold(wait=wait, decision=decision, wishes=wishes_of(turn, Route(decision=decision)))


def _missing_worker(turn: Turn, task: Task) -> str:
    workers, facts = turn.books.workers, task.facts
    if not len(workers):
        return "no worker has joined; 'ostler worker --hub URL' starts one"
    if facts.worker is not None:
        return f"no joined worker named {facts.worker} takes it"
    offers = workers.offers(facts.kind)
    if not offers and facts.kind is TaskKind.AGENT:
        return "no joined worker allows agents; 'worker.allow' in its profile, or 'ostler up --allow agent'"
    if not offers:
        allow = f"'worker.allow' in its profile, or 'ostler up --allow {facts.kind.value}'"
        return f"no joined worker allows {facts.kind.value} work; {allow}"
    able = [offer for offer in offers if facts.requires <= offer.capabilities]
    if not able:
        return f"no joined worker has {', '.join(sorted(facts.requires))}"
    bound = facts.kind is TaskKind.AGENT
    if facts.repo is not None and not any(facts.repo in offer.repos or not (bound or offer.repos) for offer in able):
        return f"no joined worker for {facts.kind.value} work has repo {facts.repo}"
    return f"no joined worker for {facts.kind.value} work can reach it"


def _since(turn: Turn, task: Task, code: WaitCode) -> int:
    known = turn.books.queue.wait_of(task.id) or task.wait
    if known is not None and known.code is code:
        return known.since_ms
    return task.queued_ms if task.queued_ms is not None else turn.now_ms


def hold_class(turn: Turn, sight: Sight, key: ClassKey, task: Task, hold: Hold, *, for_worker: bool = False) -> bool:
    """Have a class wait, or its head alone (steps 4 and 5); whether the next one of the class should be tried.

    `for_worker`: it is routed, and waits for who runs it there.
    """
    books = turn.books
    wait = hold.wait
    _note(turn, task, wait)
    parked = len(books.queue.classes[key].parked)
    if wait.code is WaitCode.FALLBACK_WAIT and wait.next_check_ms is not None and parked < MAX_PARKED:
        pending = PendingFallback(
            task_id=task.id,
            original_tier=hold.decision.effective_tier,
            fallback_tier=hold.fallback_tier or "",
            original_model=task.facts.model if hold.fallback_model else None,
            fallback_model=hold.fallback_model,
            queued_ms=task.queued_ms if task.queued_ms is not None else task.created_ms,
            due_ms=wait.next_check_ms,
            wait=wait,
            head=books.queue.place(task.id),
        )
        books.queue.park(pending, key)
        books.timers.set(TimerKind.FALLBACK, task.id, pending.due_ms)
        # The class stays watchful: recovery of the tier unparks everyone (see `WaitingQueue.watch`).
        books.queue.watch(key, hold.blocked_on)
        return True
    if wait.code is WaitCode.BUDGET and hold.alone:
        if hold.short:
            books.parts.set_aside(task.id)
        _set_aside(turn, task, wait)
        return True
    money = (BUDGET,) if hold.limited else ()
    batch = (resource(task.batch),) if task.batch is not None and limits_key(task.facts) is not None else ()
    workers = (slot_of(task.facts.kind),) if for_worker or hold.places else ()
    joins = (WORKERS,) if wait.code is WaitCode.NO_WORKER else ()
    names = (*workers, *joins, *hold.blocked_on, *batch, *money)
    books.queue.hold(key, hold, names)
    sight.found(key, hold, names)
    if wait.next_check_ms is not None:
        books.timers.set(TimerKind.CLASS, key, wait.next_check_ms)
    return False


def _set_aside(turn: Turn, task: Task, wait: Wait) -> None:
    """Its own estimate is too large for what is left below a limit: it waits by itself, others of its class go on."""
    due_ms = min(turn.now_ms + purse.RETRY_MS, wait.next_check_ms or turn.now_ms + purse.RETRY_MS)
    wait_for_money(turn, task, wait, due_ms)


def _note(turn: Turn, task: Task, wait: Wait) -> None:
    """Store the reason on the row of the task that shows it, when it is worth an event and is new."""
    if wait.code not in STORED_CODES or (task.wait is not None and task.wait.code is wait.code):
        return
    after = turn.moved(task, TaskState.QUEUED, wait=wait)
    event = turn.task_event("task.queued", after, wait=wait.code.value, reason=turn.wait(wait))
    turn.apply(turn.store(task, after, event))
