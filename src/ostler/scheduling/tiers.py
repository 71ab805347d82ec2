"""Alerts about tiers: one after a tier has been down for the threshold, one when it is back. Blips stay silent.

A tier is down when it has registered endpoints and not one of them can be used. Endpoints nobody has checked yet are
not down; a tier without registered endpoints raises nothing.
"""

from ostler.domain.event import Event
from ostler.routing.availability import available_tiers
from ostler.scheduling.books import Turn
from ostler.scheduling.timers import TimerKind


def watch_tiers(turn: Turn) -> None:
    """Compare the tiers with what was known; call it whenever an endpoint may have changed."""
    books = turn.books
    tiers = available_tiers(books.snapshot(turn.now_ms), books.policy, turn.now_ms)
    for tier, available in tiers.items():
        if available:
            _back(turn, tier)
        elif tier not in books.tier_down_since:
            books.tier_down_since[tier] = turn.now_ms
            books.timers.set(TimerKind.TIER_ALERT, tier, turn.now_ms + books.policy.scheduler.tier_alert_ms)
    for tier in set(books.tier_down_since) - set(tiers):
        _back(turn, tier)


def _back(turn: Turn, tier: str) -> None:
    books = turn.books
    since_ms = books.tier_down_since.pop(tier, None)
    if since_ms is None:
        return
    books.timers.cancel(TimerKind.TIER_ALERT, tier)
    alerted_ms = books.tier_alerted.get(tier)
    if alerted_ms is not None and alerted_ms >= since_ms:
        turn.emit(_alert("alert.tier_up", tier, turn.now_ms, since_ms))


def alert_due(turn: Turn, tier: str) -> None:
    """The threshold has passed while the tier stayed down."""
    books = turn.books
    since_ms = books.tier_down_since.get(tier)
    if since_ms is None:
        return
    last_ms = books.tier_alerted.get(tier)
    cooldown_ms = books.policy.scheduler.tier_alert_cooldown_ms
    if last_ms is not None and turn.now_ms - last_ms < cooldown_ms:
        books.timers.set(TimerKind.TIER_ALERT, tier, last_ms + cooldown_ms)
        return
    books.tier_alerted[tier] = turn.now_ms
    turn.emit(_alert("alert.tier_down", tier, turn.now_ms, since_ms))


def _alert(name: str, tier: str, now_ms: int, since_ms: int) -> Event:
    return Event(name=name, at_ms=now_ms, measurements={"down_ms": now_ms - since_ms}, metadata={"tier": tier})
