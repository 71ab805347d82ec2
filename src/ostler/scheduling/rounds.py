"""The scheduling round: give waiting work to free places, best head first.

    1. Take the open classes, and those that wait for a place that became free; serve them in the order of their heads
       (priority, then arrival). Tasks that calls of the gateway have passed too often go first, once (`turns`).
       A class that is only offered a place stays held, undecided, when those before it have taken the place.
    2. Decide for the head: route, or hold.
    3. Routed: match a worker. None free or suitable: hold the class for workers.
    4. Held for its fallback: park this task until its instant, go on with the next of the class.
    5. Held for a limit that its own estimate alone would pass: set this task aside, go on with the next of the class.
       Held otherwise: close the class; what it is blocked on opens it again.
    6. Matched: assign, take the slots, go on with the next of the class.

Step 1 leaves nobody out: such a class was held while all that it waits for was taken, and all of it is taken now. Where
hosts are managed every class is decided anew, because what they wish for there changes with each call.

Cost: one decision for each assignment, for each class that stays behind of those that were opened, and for each one
that was offered a place and could not use it: independent of how many tasks wait, or how many classes wait for a place.
"""

import heapq

import msgspec

from ostler.domain.decision import Decision, Hold, Route, Verdict
from ostler.domain.event import Event, Scalar
from ostler.domain.fleet import FleetSnapshot, ModelAt
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.domain.work import ModelRoute
from ostler.routing.decide import decide
from ostler.scheduling import live, purse, turns
from ostler.scheduling.batches import limits_key, resource
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Assign
from ostler.scheduling.engine_terms import engine_terms
from ostler.scheduling.guiding import not_before_ms
from ostler.scheduling.intake import forget, route_request, wait_for_money
from ostler.scheduling.offering import Offers
from ostler.scheduling.queue import BUDGET, WORKERS, ClassKey, PendingFallback, slot_of
from ostler.scheduling.residency import about_to_run, wishes_of
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


def run_round(turn: Turn) -> None:
    """Serve all open classes until nothing more can start."""
    queue = turn.books.queue
    opened, offers = queue.take_open(), Offers(turn.books)
    if not (opened or offers.keys):
        return
    fleet = _Fleet(turn, offers)
    order = [(head, key) for key in opened | offers.keys if (head := queue.head(key)) is not None]
    through = turns.give(turn.books, order, lambda key, head: _serve(turn, fleet, key, head[2]))
    order = [(head, key) for _, key in order if key != through and (head := queue.head(key)) is not None]
    heap = [(head, index) for index, (head, _) in enumerate(order)]
    heapq.heapify(heap)
    while heap:
        head, index = heapq.heappop(heap)
        key = order[index][1]
        if _serve_noted(turn, fleet, key, head[2], order):
            following = queue.head(key)
            if following is not None:
                heapq.heappush(heap, (following, index))


def _serve_noted(turn: Turn, fleet: "_Fleet", key: ClassKey, name: str, order: turns.Order) -> bool:
    """Try one head, and write down who went before whom."""
    books = turn.books
    call = books.calls.waiting.get(name)
    goes_on = _serve(turn, fleet, key, name)
    if call is None:
        if name not in books.queue:
            turns.note_task(books, key)
    elif call.dispatch is not None:
        waiting = books.calls.waiting
        turns.note_call(books, [other for head, other in order if other != key and head[2] not in waiting])
    return goes_on


class _Fleet:
    """The fleet as it is in one round, looked at when the first decision needs it."""

    def __init__(self, turn: Turn, offers: Offers) -> None:
        self._turn = turn
        self._seen: FleetSnapshot | None = None
        self.offers = offers

    def snapshot(self) -> FleetSnapshot:
        """The same in the whole round."""
        if self._seen is None:
            self._seen = self._turn.books.snapshot(self._turn.now_ms)
        return self._seen


def _serve(turn: Turn, fleet: _Fleet, key: ClassKey, task_id: str) -> bool:
    """Try one head; whether the next of its class should be tried."""
    books = turn.books
    if not fleet.offers.taken_up(key):
        return False
    if task_id in books.calls.waiting:
        return live.serve(turn, fleet.snapshot, key, task_id)
    task = books.tasks[task_id]
    if _waits_on(turn, key, task):
        return False
    started_us = books.clock.stopwatch_us()
    verdict = _decided(turn, fleet, task)
    decided_us = max(0, books.clock.stopwatch_us() - started_us)
    books.parts.found_too_little(verdict.short, turn.now_ms)
    if isinstance(verdict, Hold):
        return _hold(turn, key, task, verdict)
    if books.batches.is_full(task.facts):
        return _hold(turn, key, task, _batch_hold(turn, task, verdict.decision))
    later_ms = not_before_ms(books, task, verdict.decision, turn.now_ms)
    if later_ms is not None:
        return _hold(turn, key, task, _plan_hold(turn, task, verdict.decision, later_ms))
    session_id = _match(turn, task, verdict)
    if session_id is None:
        hold = _worker_hold(turn, task, verdict)
        _note(turn, task, hold.wait)
        # A worker may free up, or the route may move to an endpoint whose host has one.
        joins = (WORKERS,) if hold.wait.code is WaitCode.NO_WORKER else ()
        books.queue.hold(key, hold, (slot_of(task.facts.kind), *joins, *hold.blocked_on))
        return False
    _assign(turn, task, verdict.decision, session_id, decided_us)
    return True


def _waits_on(turn: Turn, key: ClassKey, task: Task) -> bool:
    """Whether a class that waited for a worker, and was served, waits for one again: nobody who suits is free any more,
    so it is held as before. Where hosts are managed it is decided anew, for what it wishes for.
    """
    books, waited = turn.books, turn.books.queue.classes[key].waited
    if waited is None or books.hosts or not waited[0].places or books.workers.any_suits(task.facts):
        return False
    before, blocked_on = waited
    detail = f"every worker slot for {task.facts.kind.value} work is taken"
    wait = Wait(code=WaitCode.CAPACITY, since_ms=_since(turn, task, WaitCode.CAPACITY), detail=detail)
    decision = msgspec.structs.replace(before.decision, task_id=task.id, generation=task.generation + 1)
    _note(turn, task, wait)
    books.queue.hold(key, msgspec.structs.replace(before, wait=wait, decision=decision), blocked_on)
    return True


def _decided(turn: Turn, fleet: _Fleet, task: Task) -> Verdict:
    """Where it runs: best where somebody who is free reaches the model; while nobody does, where it would be best."""
    books = turn.books
    request = route_request(books, task, turn.now_ms, generation=task.generation + 1)
    unreached = books.workers.unreached(task.facts, books.endpoints.tied.values())
    if unreached:
        at_hand = msgspec.structs.replace(request, unreached=unreached)
        verdict = decide(at_hand, fleet.snapshot(), books.policy)
        if isinstance(verdict, Route):
            return verdict
        if verdict.wait.code is WaitCode.CAPACITY and any(
            name in books.endpoints.tied and name not in unreached for name in verdict.blocked_on
        ):  # only slots are missing where somebody is free, and free workers where slots are
            slot = slot_of(task.facts.kind)
            return msgspec.structs.replace(verdict, blocked_on=(slot, *verdict.blocked_on), places=verdict.blocked_on)
    return decide(request, fleet.snapshot(), books.policy)


def _plan_hold(turn: Turn, task: Task, decision: Decision, later_ms: int) -> Hold:
    """Its plan has something else first: looked at again when its host is, at the latest when it was to start."""
    place = decision.selected_host or "a worker"
    detail = f"its plan has it start later on {place}, after what is to start there first"
    since_ms = _since(turn, task, WaitCode.CAPACITY)
    wait = Wait(code=WaitCode.CAPACITY, since_ms=since_ms, detail=detail, next_check_ms=later_ms)
    return Hold(wait=wait, decision=decision, blocked_on=(decision.selected_endpoint or slot_of(task.facts.kind),))


def _match(turn: Turn, task: Task, verdict: Route) -> str | None:
    books, name = turn.books, verdict.decision.selected_endpoint
    spec = books.endpoints.views[name].spec if name is not None else None
    repo_host = books.repo_hosts.get(task.facts.repo) if task.facts.repo is not None else None
    return books.workers.match(task.facts, spec, repo_host)


def _worker_hold(turn: Turn, task: Task, verdict: Route) -> Hold:
    books, facts, decision = turn.books, task.facts, verdict.decision
    spec = books.endpoints.views[decision.selected_endpoint].spec if decision.selected_endpoint else None
    places = verdict.places if facts.kind is not TaskKind.AGENT else ()  # its calls go to the gateway, from anywhere
    tied = [books.endpoints.tied[name] for name in places if name in books.endpoints.tied]
    unreached = books.workers.unreached(facts, tied)
    if unreached and len(unreached) < len(tied):
        code, detail = WaitCode.CAPACITY, "no model that a free worker reaches has a free slot"
    elif books.workers.could_match(facts, spec):
        code, detail = WaitCode.CAPACITY, f"every worker slot for {facts.kind.value} work is taken"
    else:
        code, detail = WaitCode.NO_WORKER, _missing_worker(turn, task)
    wait = Wait(code=code, since_ms=_since(turn, task, code), detail=detail)
    # A slot that becomes free where a model runs helps as well, if somebody who is free already is there.
    selected = (decision.selected_endpoint,) if decision.selected_endpoint is not None else ()
    return Hold(
        wait=wait,
        decision=decision,
        blocked_on=tuple(dict.fromkeys((*selected, *(spec.name for spec in tied)))),
        # The model it would use is wanted, although no worker is free to use it now.
        wishes=wishes_of(turn, Route(decision=decision)),
        places=places,
    )


def _batch_hold(turn: Turn, task: Task, decision: Decision) -> Hold:
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


def _hold(turn: Turn, key: ClassKey, task: Task, hold: Hold) -> bool:
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
            books.parts.aside[task.id] = None
        _set_aside(turn, task, wait)
        return True
    money = (BUDGET,) if hold.limited else ()
    batch = (resource(task.batch),) if task.batch is not None and limits_key(task.facts) is not None else ()
    books.queue.hold(key, hold, (*hold.blocked_on, *batch, *money))
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


def _assign(turn: Turn, task: Task, decision: Decision, session_id: str, decided_us: int) -> None:
    books, now_ms = turn.books, turn.now_ms
    announced = task.id in books.fallback_emitted
    task = books.tasks[task.id]
    forget(turn, task)
    worker = books.workers.states[session_id].session.offer
    endpoint, model = decision.selected_endpoint, decision.selected_model
    after = turn.moved(
        task,
        TaskState.ASSIGNED,
        generation=task.generation + 1,
        session=session_id,
        worker=worker.name,
        endpoint=endpoint,
        model=model,
        tier=decision.effective_tier,
        fallback_used=decision.fallback_used,
        started_ms=None,
    )
    attempt = _attempt(after, decision, now_ms)
    waited = {"wait_ms": now_ms - (task.queued_ms if task.queued_ms is not None else task.created_ms)}
    meta = turn.route_meta(after) | {"fallback_used": decision.fallback_used, "session": session_id}
    events = [turn.task_event("task.assigned", after, waited, **meta), _route_event(turn, decision, decided_us)]
    if decision.fallback_used and decision.fallback_from_tier and not announced:
        tiers = (decision.fallback_from_tier, decision.effective_tier)
        models = (decision.fallback_from_model, model if decision.fallback_from_model else None)
        events.append(fallback_event(turn, task.id, tiers, models, waited))
    command = turn.store(task, after, *events, attempt=attempt, decision=decision)
    held = purse.reservation(books, after, decision, now_ms)
    purse.told(turn, held)
    if attempt.explored and held is not None:
        books.exploration.began(purse.name_of(task.id, after.generation), held.amount.micro_usd)
    books.attempts[task.id] = attempt
    calls_itself = task.facts.kind is not TaskKind.AGENT
    if not calls_itself:
        books.agent_paid[task.id] = purse.paid_by(books, task.id)
    else:
        # An agent's calls take their slots one by one, at the gateway: one that held a slot would wait for itself.
        books.take_slot(endpoint, model)
    books.batches.take(after)
    if calls_itself and endpoint is not None and model is not None:
        cost = decision.estimate
        call_ms = 0 if cost is None else cost.prefill_ms + cost.decode_ms
        books.hosts.call_began(ModelAt(endpoint, model), task.id, call_ms, now_ms)
    about_to_run(turn, task.id)
    books.workers.take(session_id, task.facts.kind, task.id, after.generation)
    if endpoint is not None and model is not None:
        books.endpoints.mark_resident(endpoint, model)
    if task.facts.repo is not None:
        books.repo_hosts[task.facts.repo] = decision.selected_host or worker.host
    books.timers.set(TimerKind.ASSIGN, task.id, now_ms + books.policy.scheduler.assign_timeout_ms)
    command = msgspec.structs.replace(command, want_spec=True, money=held)
    turn.effects.append(
        Assign(command=command, session_id=session_id, tier=decision.effective_tier, route=_model_route(turn, decision))
    )


def _attempt(task: Task, decision: Decision, now_ms: int) -> Attempt:
    """The attempt of a task that was just assigned."""
    weighed = decision.weighing
    return Attempt(
        task_id=task.id,
        generation=task.generation,
        session=task.session or "",
        worker=task.worker or "",
        tier=decision.effective_tier,
        endpoint=decision.selected_endpoint,
        model=decision.selected_model,
        assigned_ms=now_ms,
        propensity=weighed.propensity if weighed is not None else 1.0,
        explored=weighed is not None and weighed.explored,
    )


def _model_route(turn: Turn, decision: Decision) -> ModelRoute | None:
    name, model = decision.selected_endpoint, decision.selected_model
    if name is None or model is None:
        return None
    tiers = turn.books.policy.catalog.tiers
    limit = next((tier.max_output_tokens for tier in tiers if tier.name == decision.effective_tier), 2048)
    spec = turn.books.endpoints.views[name].spec
    context_tokens, keep_alive_s = engine_terms(turn.books, spec, model)
    return ModelRoute(
        endpoint=spec, model=model, max_output_tokens=limit, context_tokens=context_tokens, keep_alive_s=keep_alive_s
    )


def _route_event(turn: Turn, decision: Decision, decided_us: int) -> Event:
    return Event(
        name="scheduler.route",
        at_ms=turn.now_ms,
        task_id=decision.task_id,
        measurements={"candidate_count": decision.candidate_count, "scoring_duration_us": decided_us},
        metadata={
            "task_id": decision.task_id,
            "effective_tier": decision.effective_tier,
            "target_type": decision.target_type.value,
            "selected_endpoint": decision.selected_endpoint,
            "selected_model": decision.selected_model,
            "fallback_used": decision.fallback_used,
            "fallback_reason": decision.fallback_reason,
            "classification_reason": decision.classification_reason,
            "estimated_cost_tier": decision.estimated_cost_tier.value,
        },
    )


def fallback_event(
    turn: Turn,
    task_id: str,
    tiers: tuple[str, str],
    models: tuple[str | None, str | None],
    measurements: dict[str, int],
) -> Event:
    """The event of a fallback, once for each stay in the queue; tiers and models before and after."""
    meta: dict[str, Scalar] = {"task_id": task_id, "original_tier": tiers[0], "fallback_tier": tiers[1]}
    name = "scheduler.fallback"
    if models[1] is not None:
        name = "scheduler.model_fallback"
        meta = {"task_id": task_id, "tier": tiers[1], "original_model": models[0], "fallback_model": models[1]}
    return Event(name=name, at_ms=turn.now_ms, task_id=task_id, measurements=measurements, metadata=meta)
