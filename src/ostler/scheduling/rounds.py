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

Step 1 leaves nobody out: such a class was held while all that it waits for was taken, and all of it is taken now. What
waits alike stands in one line (`lines`): its first class is offered the place, and what is found for it without asking
a limit is found for the others (`sight`). Where hosts are managed every class is decided anew, because what they wish
for there changes with each call.

A round may be made in parts: what is left of one is put back, and the next one goes on best head first.

Cost: one decision for each assignment, and one for each kin of classes that stays behind of those that were opened
(where limits are asked: for each class); independent of how many tasks wait, or how many classes wait for a place.
"""

import heapq

import msgspec

from ostler.domain.decision import Decision, Hold, Route, Verdict
from ostler.domain.event import Event, Scalar
from ostler.domain.fleet import ModelAt
from ostler.domain.states import TaskState, WaitCode
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.domain.work import ModelRoute
from ostler.routing.decide import decide
from ostler.scheduling import live, purse, turns
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Assign
from ostler.scheduling.engine_terms import engine_terms
from ostler.scheduling.guiding import not_before_ms
from ostler.scheduling.holding import (
    batch_hold,
    hold_class,
    pair_hold,
    plan_hold,
    waits_alike,
    waits_on,
    worker_hold,
)
from ostler.scheduling.intake import forget, route_request
from ostler.scheduling.lines import ClassKey, Head
from ostler.scheduling.offering import Offers
from ostler.scheduling.residency import about_to_run
from ostler.scheduling.sight import Sight
from ostler.scheduling.timers import TimerKind


def run_round(turn: Turn, most: int | None = None) -> bool:
    """Serve all open classes until nothing more can start, or about `most` decisions were made; whether it came to its
    end. What is left is looked at in the next round, together with what has changed until then.
    """
    queue = turn.books.queue
    opened, offers = queue.take_open(), Offers(turn.books)
    if not (opened or offers.keys):
        return True
    sight = Sight(turn, offers)
    order = [(head, key) for key in opened | offers.keys.keys() if (head := queue.head(key)) is not None]
    through = turns.give(turn.books, order, lambda key, head: _serve(turn, sight, key, head[2]))
    order = [(head, key) for _, key in order if key != through and (head := queue.head(key)) is not None]
    heap = [(head, index) for index, (head, _) in enumerate(order)]
    heapq.heapify(heap)
    while heap:
        if most is not None and sight.decisions >= most:
            _break_off(turn, sight, heap, order)
            return False
        _try_next(turn, sight, heap, order, heapq.heappop(heap)[1])
    return True


Heap = list[tuple[Head, int]]
"""The heads to try, with the index in the order."""
Order = list[tuple[Head, ClassKey]]


def _break_off(turn: Turn, sight: Sight, heap: Heap, order: Order) -> None:
    """Leave the rest to the next round. First the best head of each kind of work that had no turn in this one is tried:
    what always has something to start would else keep work from being looked at that takes nothing away from it.
    """
    queue = turn.books.queue
    for _, index in sorted(heap):
        kind = _kind(turn, order[index][1])
        if kind is not None and kind not in sight.kinds:
            heap.remove((order[index][0], index))
            _try_next(turn, sight, heap, order, index)
    sight.offers.break_off()
    left = [order[index][1] for _, index in heap]
    queue.put_back([key for key in left if key not in sight.offers.keys], sight.offers.places)


def _kind(turn: Turn, key: ClassKey) -> TaskKind | None:
    """Whose slots of workers the head of a class would take; a live call takes those of none."""
    head = turn.books.queue.head(key)
    task = turn.books.tasks.get(head[2]) if head is not None else None
    return None if task is None else task.facts.kind


def _try_next(turn: Turn, sight: Sight, heap: Heap, order: Order, index: int) -> None:
    """Try the head of a class. Then the next one of the class is tried, when it should be, and the next class of the
    line, when what was found for this one does not hold for all of it.
    """
    queue, offers, key = turn.books.queue, sight.offers, order[index][1]
    head, line, before = queue.head(key), offers.keys.get(key), queue.classes[key].hold
    if head is None:
        return
    goes_on = _serve_noted(turn, sight, key, head[2], order)
    if goes_on and (following := queue.head(key)) is not None:
        heapq.heappush(heap, (following, index))
    if line is None:
        return
    if key in offers.keys or sight.speaks_for(key, line, before):
        offers.keys.pop(key, None)
        line.rest()
        return
    mate = offers.next_of(line)
    first = queue.head(mate) if mate is not None else None
    if mate is not None and first is not None:
        order.append((first, mate))
        heapq.heappush(heap, (first, len(order) - 1))


def _serve_noted(turn: Turn, sight: Sight, key: ClassKey, name: str, order: turns.Order) -> bool:
    """Try one head, and write down who went before whom."""
    books = turn.books
    call = books.calls.waiting.get(name)
    goes_on = _serve(turn, sight, key, name)
    if call is None:
        if name not in books.queue:
            turns.note_task(books, key)
    elif call.dispatch is not None:
        waiting = books.calls.waiting
        turns.note_call(books, [other for head, other in order if other != key and head[2] not in waiting])
    return goes_on


def _serve(turn: Turn, sight: Sight, key: ClassKey, task_id: str) -> bool:
    """Try one head; whether the next of its class should be tried."""
    books = turn.books
    if not sight.offers.taken_up(key):
        return False
    if task_id in books.calls.waiting:
        sight.decisions += 1
        return live.serve(turn, sight.snapshot, key, task_id)
    task = books.tasks[task_id]
    if waits_on(turn, sight, key, task) or waits_alike(turn, sight, key, task):
        return False
    sight.decisions += 1
    sight.kinds.add(task.facts.kind)
    sight.sums.were = False
    started_us = books.clock.stopwatch_us()
    verdict = _decided(turn, sight, task)
    decided_us = max(0, books.clock.stopwatch_us() - started_us)
    books.parts.found_too_little(verdict.short, turn.now_ms)
    if isinstance(verdict, Hold):
        return hold_class(turn, sight, key, task, verdict)
    if books.batches.is_full(task.facts):
        return hold_class(turn, sight, key, task, batch_hold(turn, task, verdict.decision))
    later_ms = not_before_ms(books, task, verdict.decision, turn.now_ms)
    if later_ms is not None:
        return hold_class(turn, sight, key, task, plan_hold(turn, task, verdict.decision, later_ms))
    session_id = _match(turn, task, verdict)
    if session_id is None:
        return hold_class(turn, sight, key, task, worker_hold(turn, task, verdict), for_worker=True)
    _assign(turn, task, verdict.decision, session_id, decided_us)
    sight.taken(session_id, task.facts.kind)
    return True


def _decided(turn: Turn, sight: Sight, task: Task) -> Verdict:
    """Where it runs: best where somebody who is free reaches the model; while nobody does, where it would be best."""
    books = turn.books
    request = route_request(books, task, turn.now_ms, generation=task.generation + 1)
    unreached = sight.unreached(task.facts)
    if unreached:
        at_hand = msgspec.structs.replace(request, unreached=unreached)
        verdict = decide(at_hand, sight.snapshot(), books.policy)
        if isinstance(verdict, Route):
            return verdict
        if verdict.wait.code is WaitCode.CAPACITY and any(
            name in books.endpoints.tied and name not in unreached for name in verdict.blocked_on
        ):  # only slots are missing where somebody is free, and free workers where slots are
            return pair_hold(task, verdict)
    verdict = decide(request, sight.snapshot(), books.policy)
    # Where hosts are managed it is looked at with each place that becomes free, for what it wishes for.
    return verdict if isinstance(verdict, Route) or books.hosts else pair_hold(task, verdict)


def _match(turn: Turn, task: Task, verdict: Route) -> str | None:
    books, name = turn.books, verdict.decision.selected_endpoint
    spec = books.endpoints.views[name].spec if name is not None else None
    repo_host = books.repo_hosts.get(task.facts.repo) if task.facts.repo is not None else None
    return books.workers.match(task.facts, spec, repo_host)


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
