"""The hub at a glance: counts, what waits for what, the ladder, and why nothing runs when nothing runs."""

from collections import Counter
from collections.abc import Iterable, Iterator

from ostler.domain.fleet import Health
from ostler.domain.states import LEASED_STATES, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from ostler.hub.gateway_views import CallTotals
from ostler.hub.idle import binding
from ostler.hub.pump import Pump
from ostler.hub.service_info import HubInfo
from ostler.hub.views import HubStatus, TierRow, WaitGroup
from ostler.routing.availability import available_tiers
from ostler.scheduling.books import Books


def status(pump: Pump, info: HubInfo, calls: CallTotals) -> HubStatus:
    """The state of this moment. As `every_group`; where nothing runs and something is open, O(open tasks)."""
    books, now_ms = pump.scheduler.books, pump.clock.now_ms()
    counts = Counter({state.value: count for state, count in books.tasks.counts().items()})
    running = sum(counts[state.value] for state in LEASED_STATES)
    counts.update(books.ended)
    waiting = every_group(books)
    views = books.endpoints.views.values()
    return HubStatus(
        version=info.version,
        profile=books.policy.profile,
        profile_path=info.profile_path,
        policy_version=books.policy.version,
        started_ms=info.started_ms,
        now_ms=now_ms,
        counts=dict(counts),
        in_flight=running,
        waiting=waiting,
        tiers=tier_rows(books, now_ms),
        endpoints_up=sum(view.health is Health.UP for view in views),
        endpoints_total=len(books.endpoints.views),
        workers=len(books.workers),
        calls_running=books.calls.running,
        calls_waiting=len(books.calls.waiting),
        last_event_seq=pump.last_seq,
        calls=calls,
        idle_because=pump.committer.failing or _idle(books, running + books.calls.running),
    )


def wait_groups(books: Books, tasks: Iterable[Task]) -> tuple[WaitGroup, ...]:
    """Those of the tasks that are queued, by reason, the largest group first. O(tasks)."""
    return _grouped(_one_by_one(books, tasks))


def every_group(books: Books) -> tuple[WaitGroup, ...]:
    """All queued tasks, likewise. Those of a class wait for the same thing: the class is counted, not its tasks.
    O(classes + parked tasks), and where some wait outside of the queue O(queued tasks).
    """
    return _grouped((*_outside(books), *_inside(books)))


_Waiting = tuple[str, int, Wait, str | None]
"""One of the tasks, how many, why, and the tier."""


def _grouped(rows: Iterable[_Waiting]) -> tuple[WaitGroup, ...]:
    found: dict[tuple[str, str, str | None], list[_Waiting]] = {}
    for row in rows:
        _, _, wait, tier = row
        found.setdefault((wait.code.value, "" if wait.code is WaitCode.DEPS else wait.detail, tier), []).append(row)
    groups = [
        WaitGroup(
            wait=min((wait for _, _, wait, _ in members), key=lambda wait: wait.since_ms),
            count=sum(count for _, count, _, _ in members),
            tier=tier,
            example=members[0][0],
        )
        for (_, _, tier), members in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.wait.code.value, group.wait.detail)))


def _one_by_one(books: Books, tasks: Iterable[Task]) -> Iterator[_Waiting]:
    for task in tasks:
        if task.state is not TaskState.QUEUED:
            continue
        wait = books.queue.wait_of(task.id) or task.wait
        if wait is None:
            continue
        task_class = books.queue.class_of(task.id)
        hold = task_class.hold if task_class is not None else None
        yield task.id, 1, wait, hold.decision.effective_tier if hold is not None else None


def _outside(books: Books) -> Iterator[_Waiting]:
    """Tasks that wait for something else than a place: others, a person, a plan."""
    queue, queued = books.queue, books.tasks.in_state(TaskState.QUEUED)
    if len(queued) == len(queue) - len(books.calls.waiting):
        return  # all of them are in the queue, and nothing else but calls
    for task in queued.values():
        if task.wait is not None and task.id not in queue:
            yield task.id, 1, task.wait, None


def _inside(books: Books) -> Iterator[_Waiting]:
    """Tasks in the queue, by class; those that wait for their own fallback one by one. A class is of tasks or of live
    calls, which are counted elsewhere.
    """
    calls = books.calls.waiting
    for key, task_class in books.queue.classes.items():
        hold = task_class.hold
        tier = hold.decision.effective_tier if hold is not None else None
        for pending in task_class.parked.values():
            if pending.task_id not in calls:
                yield pending.task_id, 1, pending.wait, tier
        count, head = task_class.size - len(task_class.parked), books.queue.head(key)
        if not count or head is None or head[2] in calls:
            continue
        wait = hold.wait if hold is not None else books.tasks[head[2]].wait
        if wait is not None:
            yield head[2], count, wait, tier


def _idle(books: Books, running: int) -> str:
    """Why nothing runs, while something is open."""
    return "" if running or not books.tasks else binding(books, books.tasks.values()).sentence


def tier_rows(books: Books, now_ms: int) -> tuple[TierRow, ...]:
    """The ladder as it stands."""
    available = available_tiers(books.snapshot(now_ms), books.policy, now_ms)
    return tuple(
        TierRow(
            name=tier.name,
            rank=tier.rank,
            aliases=tier.aliases,
            models=tier.models,
            enabled=tier.enabled,
            available=available.get(tier.name),
            down_since_ms=books.tier_down_since.get(tier.name),
        )
        for tier in books.policy.catalog.tiers
    )
