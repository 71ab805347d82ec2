"""The three bands of the start page, read off the scheduler's books: what needs a person, what runs, what waits.

One pass over the open tasks (`status` is another), and what is shown of them is bounded, so that a page costs the same
with a hundred thousand waiting tasks but for that pass. O(open tasks + endpoints + limits).
"""

import heapq
from collections.abc import Iterable, Sequence

from ostler.budget.limits import Level, standing
from ostler.budget.windows import EARLIEST_MS, LATEST_MS
from ostler.domain.fleet import Health
from ostler.domain.ledger import Span
from ostler.domain.limits import ScopeKind, Unit
from ostler.domain.managed import ModelQueue
from ostler.domain.states import LEASED_STATES, TaskState, WaitCode
from ostler.domain.tasks import Attempt, Task
from ostler.hub.board_views import Home, Need, NeedKind, RunningRow, WaitingRow
from ostler.hub.people_views import asked_of, urgency
from ostler.hub.views import HubStatus, WaitGroup
from ostler.scheduling.books import Books
from ostler.scheduling.host_views import HostView, host_views, model_queues

ROWS_MAX = 60
"""Running tasks and needs that are shown; the counts are of all."""
GIVEN_UP_MS = 24 * 3_600_000
"""Tasks that were given up are brought up for so long."""


def home(books: Books, status: HubStatus, given_up: Sequence[Task], now_ms: int) -> Home:
    """The bands of this moment. `given_up`: the newest tasks that ended badly."""
    leased = list(books.tasks.in_any(sorted(LEASED_STATES)))
    stuck = list(books.tasks.in_state(TaskState.NEEDS_HUMAN).values())
    shown = heapq.nsmallest(ROWS_MAX, leased, key=lambda task: (task.started_ms or task.updated_ms, task.id))
    hosts, queues = host_views(books, now_ms), model_queues(books, now_ms)
    needs = [*_asking(stuck), *_fleet_needs(books, status, hosts), *_budget_needs(books, now_ms)]
    needs += _unroutable(status.waiting)
    needs += _ended_badly(given_up, now_ms)
    return Home(
        status=status,
        needs=tuple(needs),
        running=tuple(_running(books, task) for task in shown),
        waiting=tuple(_waiting(hosts, queues, group) for group in status.waiting),
        running_count=len(leased),
        waiting_count=sum(group.count for group in status.waiting),
        paused_count=len(books.tasks.paused),
        now_ms=now_ms,
    )


def _asking(stuck: list[Task]) -> Iterable[Need]:
    """Tasks that a person must decide about, the most urgent first."""
    for task in heapq.nsmallest(ROWS_MAX, stuck, key=lambda task: urgency(asked_of(task))):
        yield Need(
            kind=NeedKind.TASK,
            name=task.id,
            title=task.title or task.id,
            detail=task.failure.message if task.failure is not None else "",
            since_ms=task.updated_ms,
            question=task.failure.question if task.failure is not None else None,
        )


def _fleet_needs(books: Books, status: HubStatus, hosts: Iterable[HostView]) -> Iterable[Need]:
    views = books.endpoints.views
    for name, view in sorted(views.items()):
        if view.health is Health.KEY_INVALID:
            since_ms = view.unusable_since_ms
            yield Need(kind=NeedKind.KEY, name=name, title=name, detail=view.message, since_ms=since_ms)
    for tier in status.tiers:
        if tier.down_since_ms is not None:
            down = sorted(
                name
                for name, view in views.items()
                if view.health is Health.DOWN and any(view.serves(model) for model in tier.models)
            )
            detail = "; ".join(f"{name}: {views[name].message}" for name in down if views[name].message)
            yield Need(
                kind=NeedKind.TIER,
                name=tier.name,
                title=tier.name,
                detail=detail,
                since_ms=tier.down_since_ms,
                where=down[0] if down else "",
            )
    for host in hosts:
        for model, message in sorted(host.failed.items()):
            yield Need(kind=NeedKind.LOAD, name=model, title=f"{model} on {host.name}", detail=message, where=host.name)


def _budget_needs(books: Books, now_ms: int) -> Iterable[Need]:
    """Limits of one scope that are at their soft or hard value."""
    for limit in books.policy.budget.limits:
        if not limit.of and limit.scope is not ScopeKind.ALL:
            continue
        one = standing(limit, limit.of, now_ms, books.money.spent, parts=books.parts.of)
        if one is not None and one.level is not Level.OK:
            yield Need(kind=NeedKind.BUDGET, name=limit.name, title=limit.name, detail=one.level.value)


def _unroutable(waiting: Sequence[WaitGroup]) -> Iterable[Need]:
    """Work that waits for a change of the profile, or for a worker that nobody is."""
    for group in waiting:
        if group.wait.code in {WaitCode.NO_ROUTE, WaitCode.NO_WORKER}:
            yield Need(
                kind=NeedKind.NO_ROUTE,
                name=group.example,
                title=group.wait.code.value,
                detail=group.wait.detail,
                since_ms=group.wait.since_ms,
                count=group.count,
            )


def _ended_badly(given_up: Sequence[Task], now_ms: int) -> Iterable[Need]:
    for task in given_up:
        if task.finished_ms is not None and now_ms - task.finished_ms < GIVEN_UP_MS:
            yield Need(
                kind=NeedKind.GIVEN_UP,
                name=task.id,
                title=task.title or task.id,
                detail=task.failure.message if task.failure is not None else task.state.value,
                since_ms=task.finished_ms,
            )


def _running(books: Books, task: Task) -> RunningRow:
    attempt: Attempt | None = books.attempts.get(task.id)
    view = books.endpoints.views.get(task.endpoint or "")
    cost, tokens, basis = _so_far(books, task, local=view is None or view.spec.local)
    return RunningRow(
        id=task.id,
        title=task.title,
        kind=task.facts.kind,
        state=task.state,
        tier=task.tier or "",
        model=task.model,
        endpoint=task.endpoint,
        host=view.spec.host if view is not None else "",
        worker=task.worker or "",
        batch=task.batch,
        generation=task.generation,
        assigned_ms=attempt.assigned_ms if attempt is not None else task.updated_ms,
        started_ms=attempt.started_ms if attempt is not None else None,
        fallback_used=task.fallback_used,
        stopping=task.id in books.cancelling,
        tokens=tokens,
        cost_micro_usd=cost,
        basis=basis,
    )


def _so_far(books: Books, task: Task, *, local: bool) -> tuple[int | None, int | None, str]:
    """Micro-dollars, tokens and how they are known, of all that was charged to a task."""
    sums = books.money.spent(Span(scope=ScopeKind.TASK, value=task.id, start_ms=EARLIEST_MS, end_ms=LATEST_MS))
    cost, tokens = sums.total(Unit.USD), sums.used.tokens or None
    if sums.held.requests:
        return cost, tokens, "held"
    if sums.used.requests:
        return cost, tokens, "charged"
    return (0, None, "local") if local else (None, None, "unknown")


def _waiting(hosts: Iterable[HostView], queues: Iterable[ModelQueue], group: WaitGroup) -> WaitingRow:
    due_ms, due = _due(hosts, queues, group)
    return WaitingRow(
        wait=group.wait,
        count=group.count,
        tier=group.tier,
        example=group.example,
        due_ms=due_ms,
        due=due,
        oldest_ms=group.wait.since_ms,
    )


def _due(hosts: Iterable[HostView], queues: Iterable[ModelQueue], group: WaitGroup) -> tuple[int | None, str]:
    """When the reason is expected to be over: by its own word; when the load it waits for is expected to end; else
    when the patience of those who wait for the model ends.
    """
    if group.wait.next_check_ms is not None:
        return group.wait.next_check_ms, "at"
    if group.wait.code is not WaitCode.MODEL_SWAP:
        return None, ""
    wanted = group.wait.detail.partition(" ")[0]
    swaps = [host.swap for host in hosts if host.swap is not None]
    ready = [swap.ready_ms for swap in swaps if swap.kind == "load" and swap.model == wanted]
    if ready:
        return min(ready), "about"
    ends = [queue.patience_ends_ms for queue in queues if queue.model == wanted and queue.patience_ends_ms is not None]
    return (min(ends), "latest") if ends else (None, "")
