"""The hub at a glance: counts, what waits for what, the ladder, and why nothing runs when nothing runs.

What waits is counted by the scheduler as it comes and goes, so a glance costs what reasons there are, not what tasks.
"""

from collections import Counter

from ostler.domain.fleet import Health
from ostler.domain.hubs import Leader
from ostler.domain.states import LEASED_STATES
from ostler.hub.gateway_views import CallTotals
from ostler.hub.idle import why_idle
from ostler.hub.pump import Pump
from ostler.hub.service_info import HubInfo
from ostler.hub.views import HubStatus, TierRow
from ostler.hub.waiting import every_group
from ostler.routing.availability import available_tiers
from ostler.scheduling.books import Books


def status(pump: Pump, info: HubInfo, calls: CallTotals, leader: Leader | None = None) -> HubStatus:
    """The state of this moment. As `every_group`; where nothing runs, as `why_idle`."""
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
        leader=leader,
    )


def _idle(books: Books, running: int) -> str:
    """Why nothing runs, while something is open."""
    return "" if running or not books.tasks else why_idle(books).sentence


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
