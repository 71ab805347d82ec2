"""The limits that short settings stand for: monthly, per session, per tick, and a day of a provider."""

from ostler.budget.limits import ALL_TIME
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind

_PERCENT = 100

MONTH, SESSION, TICK = "month", "session", "tick"
"""Names of the preset limits."""


def month_limit(hard_micro_usd: int | None, soft_micro_usd: int | None, *, zone: str = "UTC") -> Limit | None:
    """All spending of a calendar month; `None` when neither value is set."""
    if hard_micro_usd is None and soft_micro_usd is None:
        return None
    window = Window(kind=WindowKind.MONTH, zone=zone)
    return Limit(name=MONTH, window=window, soft=soft_micro_usd, hard=hard_micro_usd)


def session_limit(hard_micro_usd: int | None) -> Limit | None:
    """Each session for as long as it lasts."""
    if hard_micro_usd is None:
        return None
    return Limit(name=SESSION, scope=ScopeKind.SESSION, window=ALL_TIME, hard=hard_micro_usd)


def tick_limit(hard_micro_usd: int | None) -> Limit | None:
    """Each tick of an autonomous agent: what it has spent and what it is about to, together."""
    if hard_micro_usd is None:
        return None
    return Limit(name=TICK, scope=ScopeKind.TICK, window=ALL_TIME, hard=hard_micro_usd)


def daily_limit(
    provider: str, micro_usd: int, *, degrade_percent: int = 80, exhaust_percent: int = 95, zone: str = "UTC"
) -> Limit:
    """A day of a provider, degraded and exhausted at shares of a sum. Shares of micro-dollars are exact: 79.9 % of
    50 dollars is not 79 %.

    >>> limit = daily_limit("anthropic", 50_000_000)
    >>> limit.soft, limit.hard
    (40000000, 47500000)
    """
    return Limit(
        name=f"{provider}-day",
        scope=ScopeKind.PROVIDER,
        of=provider,
        window=Window(kind=WindowKind.DAY, zone=zone),
        soft=micro_usd * degrade_percent // _PERCENT,
        hard=micro_usd * exhaust_percent // _PERCENT,
    )
