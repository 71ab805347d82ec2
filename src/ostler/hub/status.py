"""The hub at a glance: counts, what waits for what, the ladder, and why nothing runs when nothing runs."""

from collections import Counter
from collections.abc import Iterable

from ostler.domain.fleet import Health
from ostler.domain.states import LEASED_STATES, TaskState, Wait
from ostler.domain.tasks import Task
from ostler.hub.gateway_views import CallTotals
from ostler.hub.pump import Pump
from ostler.hub.service_info import HubInfo
from ostler.hub.views import HubStatus, TierRow, WaitGroup
from ostler.routing.availability import available_tiers
from ostler.scheduling.books import Books


def status(pump: Pump, info: HubInfo, calls: CallTotals) -> HubStatus:
    """The state of this moment. O(open tasks)."""
    books, now_ms = pump.scheduler.books, pump.clock.now_ms()
    counts = Counter(task.state.value for task in books.tasks.values())
    running = sum(counts[state.value] for state in LEASED_STATES)
    counts.update(books.ended)
    waiting = wait_groups(books, books.tasks.values())
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
        tiers=_tiers(books, now_ms),
        endpoints_up=sum(view.health is Health.UP for view in views),
        endpoints_total=len(books.endpoints.views),
        workers=len(books.workers),
        calls_running=books.calls.running,
        calls_waiting=len(books.calls.waiting),
        last_event_seq=pump.last_seq,
        calls=calls,
        idle_because=pump.committer.failing or _idle(waiting, running + books.calls.running),
    )


def wait_groups(books: Books, tasks: Iterable[Task]) -> tuple[WaitGroup, ...]:
    """Those of the tasks that are queued, by reason, the largest group first."""
    found: dict[tuple[str, str, str | None], list[tuple[str, Wait]]] = {}
    for task in tasks:
        if task.state is not TaskState.QUEUED:
            continue
        wait = books.queue.wait_of(task.id) or task.wait
        if wait is None:
            continue
        detail = "" if wait.code.value == "deps" else wait.detail
        task_class = books.queue.class_of(task.id)
        hold = task_class.hold if task_class is not None else None
        tier = hold.decision.effective_tier if hold is not None else None
        found.setdefault((wait.code.value, detail, tier), []).append((task.id, wait))
    groups = [
        WaitGroup(
            wait=min((wait for _, wait in members), key=lambda wait: wait.since_ms),
            count=len(members),
            tier=tier,
            example=members[0][0],
        )
        for (_, _, tier), members in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.wait.code.value, group.wait.detail)))


def _idle(waiting: tuple[WaitGroup, ...], running: int) -> str:
    if running or not waiting:
        return ""
    group = waiting[0]
    return f"{group.count} wait: {group.wait.code.value}" + (f" ({group.wait.detail})" if group.wait.detail else "")


def _tiers(books: Books, now_ms: int) -> tuple[TierRow, ...]:
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
