"""Which load a plan in force asks for next, and what stays loaded for it. Pure: books and demand in, a move out.

On each host the turn of the plan decides (`planning.guide`): its model is loaded when work for it waits or soon will,
and is kept while one of its tasks has not ended; tasks of later turns do not make it longer. The same holds for the
turns after it that the plan has in memory beside it. All else is the rule's, and no plan overrules a guarantee: while a
waiter has lost its patience the rule decides alone, what is busy is drained first, what is pinned or held stays, and so
does what has just come and is waited for, for as long as the rule would keep it.

Cost: O(hosts x plans in force), and one eviction set for a load that is due.
"""

from collections.abc import Iterable

from ostler.domain.decision import Decision
from ostler.domain.fleet import ModelAt
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskKind
from ostler.planning import guide as plans
from ostler.residency.eviction import cheapest_set, victims
from ostler.residency.rule import Load
from ostler.residency.state import READY, HostState, Want
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.demand import Demand
from ostler.scheduling.followed import Followed, host_of

HOLD_MS = 60_000
"""How long what a turn needs is kept before it is looked at again; lost patience ends it at once."""

DUE_MS = 1_000
"""What a plan has happen in one instant is told one after the other: a place is kept that long for what is due."""


def not_before_ms(books: Books, task: Task, decision: Decision, now_ms: int) -> int | None:
    """Until when a task that could start now is kept back for its plan; `None` = it may start.

    1. No plan, its start by the plan has come, or the plan has nothing (more) for the host: it may. Of a command: its
       slot is not needed by those that go before it (`_command_not_before_ms`).
    2. The turn of the host is of another model: it may if that one has room beside, else it would be in the way.
    3. One of the turn is due now and still waits for a need: it waits that moment, for it would take the place.
    4. It belongs to the turn, or the plan has no other turn there after it: it may.
    5. It would end before the turn does: it may (back-fill).
    6. Otherwise it would make the turn longer, for which all that comes after would wait.
    """
    followed = books.following.get(task.batch) if task.batch is not None else None
    if followed is not None and task.facts.kind is TaskKind.COMMAND:
        return _command_not_before_ms(books, followed, task.id, now_ms)
    if followed is None or decision.selected_host is None or decision.estimate is None:
        return None
    starts_ms = followed.starts_ms.get(task.id, 0)
    rest = followed.turn_now(decision.selected_host)
    if starts_ms <= now_ms or not rest:  # 1
        return None
    if rest[0].model != decision.selected_model:  # 2
        return None if _has_room(books, decision.selected_host, rest[0].model) else starts_ms
    kept_until_ms = _kept_for_due_ms(books, followed, rest[0], now_ms)
    if kept_until_ms is not None:  # 3
        return min(starts_ms, kept_until_ms)
    if task.id in rest[0].tasks or len(rest) == 1:  # 4
        return None
    open_tasks = [name for name in rest[0].tasks if name not in followed.finished]
    ends_ms = max(rest[0].until_ms, *(books.hosts.due_ms.get(name, 0) for name in open_tasks))
    call_ms = decision.estimate.prefill_ms + decision.estimate.decode_ms
    return None if now_ms + call_ms <= ends_ms else starts_ms  # 5, 6


def _command_not_before_ms(books: Books, followed: Followed, name: str, now_ms: int) -> int | None:
    """As `not_before_ms`: a command runs ahead of its start by the plan where it leaves a slot to each of those that
    go before it, have not begun, and are to begin before it would have ended.
    """
    starts_ms, length_ms = followed.starts_ms.get(name, 0), followed.commands_ms.get(name)
    if starts_ms <= now_ms or length_ms is None:
        return None
    waiting = sum(
        followed.starts_ms[other] < min(starts_ms, now_ms + length_ms)
        and other not in followed.finished
        and books.tasks[other].state in (TaskState.QUEUED, TaskState.SCHEDULED)
        for other in followed.commands_ms
        if other in books.tasks
    )
    free = sum(state.free(TaskKind.COMMAND) for state in books.workers.states.values() if not state.suspect)
    return None if waiting < free else starts_ms


def _kept_for_due_ms(books: Books, followed: Followed, row: plans.Turn, now_ms: int) -> int | None:
    """Until when places are kept for tasks of a turn whose start by the plan is now, and whose needs are not met yet;
    `None` when there are none.
    """
    starts_ms = followed.starts_ms
    due = [name for name in row.tasks if abs(starts_ms[name] - now_ms) < DUE_MS and books.dependencies.missing(name)]
    return max((starts_ms[name] + DUE_MS for name in due), default=None)


def planned_endpoints(books: Books, task: Task) -> tuple[str, ...]:
    """The endpoints of the host on which a plan in force has a task run; none without a plan, or for a command."""
    host = host_of(books.following, task)
    if host is None:
        return ()
    views = books.endpoints.views
    return tuple(sorted(name for name, view in views.items() if host in (name, view.spec.host)))


def _has_room(books: Books, host: str, model: str) -> bool:
    """Whether a model is in a host's memory, or would fit beside all that is."""
    book = books.hosts.books.get(host)
    if book is None or any(held.at.model == model for held in book.held.values()):
        return True
    limit = book.spec.max_resident_models
    places = [ModelAt(name, model) for name in book.endpoints if books.endpoints.views[name].serves(model)]
    sizes = [books.hosts.memory_bytes(at, books.policy.catalog, book.capacity_bytes) for at in places]
    fits = book.used_bytes() + max(sizes, default=0) <= book.capacity_bytes
    return fits and (limit is None or len(book.held) < limit)


def guided(turn: Turn, demand: Demand) -> Load | None:
    """The next load that a plan asks for, if one is due; has what a turn still needs kept (in `demand` alone).

    Nothing while anybody has lost patience: then the rule alone decides.
    """
    if not turn.books.following or any(want.overdue for want in demand.state.wants):
        return None
    for host in demand.state.hosts:
        for followed in turn.books.following.values():
            rest = [row for row in followed.turn_now(host.name) if not followed.finished.issuperset(row.tasks)]
            move = _next_load(turn, demand, host, rest)
            if move is not None:
                return move
    return None


def _next_load(turn: Turn, demand: Demand, host: HostState, rest: Iterable[plans.Turn]) -> Load | None:
    """The load of the first turn that is due and not in memory; what the turns before it need is kept."""
    over_ms: int | None = None
    for row in rest:
        if over_ms is not None and row.from_ms >= over_ms:
            return None  # it comes after one that has not ended yet
        over_ms = row.until_ms if over_ms is None else min(over_ms, row.until_ms)
        if not _keep(turn, demand, host, row.model):
            move = _load_if_due(turn, demand, host, row.model)
            if move is not None:
                return move
    return None


def _keep(turn: Turn, demand: Demand, host: HostState, model: str) -> bool:
    """Keep a model if it is in memory; whether it is."""
    held = [
        resident for resident in host.residents.values() if demand.held[host.name, resident.model].at.model == model
    ]
    for resident in held:
        if resident.phase <= READY:
            resident.hold_until_ms = max(resident.hold_until_ms, turn.now_ms + HOLD_MS)
    return bool(held)


def _load_if_due(turn: Turn, demand: Demand, host: HostState, model: str) -> Load | None:
    wants = [want for want in demand.state.wants_of.get(model, ()) if want.hosts is None or host.name in want.hosts]
    if not wants or host.swap is not None or host.closed_until_ms > turn.now_ms or model not in host.models:
        return None
    if (host.name, model) in demand.state.excluded or not any(_due(want, turn.now_ms) for want in wants):
        return None
    return _load(turn, demand, host, model)


def _due(want: Want, now_ms: int) -> bool:
    return bool(want.waiting) or any(soon.at_ms <= now_ms + HOLD_MS for soon in want.soon)


def _load(turn: Turn, demand: Demand, host: HostState, model: str) -> Load | None:
    coming = host.models[model]
    short = 0 if host.memory_bytes is None else host.used_bytes + coming.memory_bytes - host.memory_bytes
    surplus = 0 if host.max_resident is None else len(host.residents) + 1 - host.max_resident
    kept = _kept(turn, demand, host)
    gone = cheapest_set(victims(host, kept, demand.state.wants_of, turn.now_ms), short, surplus)
    if gone is None:
        return None
    available_ms = gone.free_ms + coming.load_ms
    return Load(host.name, (model,), gone.models, available_ms, 0.0, (("plan", 1.0),))


def _kept(turn: Turn, demand: Demand, host: HostState) -> list[str]:
    """Models that stay: for an agent between two calls, by the turn of another plan, or because they have just come.

    Those are for somebody who still waits for them, and whose patience begins anew now that they are here.
    """
    least_ms = turn.books.policy.residency.min_residence_ms
    kept = []
    for resident in host.residents.values():
        # At the instant of its coming nobody has been given to it yet.
        is_new = resident.since_ms == turn.now_ms
        is_wanted = is_new or any(want.waiting for want in demand.state.wants_of.get(resident.model, ()))
        stays_ms = max(resident.hold_until_ms, resident.since_ms + least_ms if is_wanted else 0)
        if stays_ms > turn.now_ms:
            kept.append(resident.model)
    return kept
