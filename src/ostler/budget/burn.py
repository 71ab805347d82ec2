"""How fast money goes: the rate of the present window, when it will be used up at that rate, and the mean of days."""

from collections.abc import Sequence

import msgspec

from ostler.budget.windows import HOUR_MS

_SHORTEST_MS = HOUR_MS // 60
"""A window that has just begun has no rate yet; it is taken to be a minute old."""


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in the unit of what was asked about (micro-dollars for money)."""

    used: int
    elapsed_ms: int
    per_hour: float
    left: int | None = None
    exhausted_in_hours: float | None = None
    """`None` = never at this rate, or there is no ceiling; 0 = it is."""
    outlasts_window: bool = True
    """The window is over before it is used up."""
    mean_per_day: float = 0.0
    """Over the whole days before."""
    days: int = 0


def burn(
    used: int,
    *,
    start_ms: int,
    now_ms: int,
    ceiling: int | None = None,
    resets_ms: int | None = None,
    days: Sequence[int] = (),
) -> Burn:
    """The rate since `start_ms`. `days`: what each of the days before today came to.

    >>> burn(10_000_000, start_ms=0, now_ms=2 * HOUR_MS, ceiling=50_000_000).exhausted_in_hours
    8.0
    """
    elapsed_ms = max(_SHORTEST_MS, now_ms - start_ms)
    per_hour = used * HOUR_MS / elapsed_ms
    left = None if ceiling is None else max(0, ceiling - used)
    hours = None
    if left is not None:
        hours = 0.0 if left == 0 else left / per_hour if per_hour > 0 else None
    outlasts = hours is None or (resets_ms is not None and now_ms + hours * HOUR_MS >= resets_ms)
    return Burn(
        used=used,
        elapsed_ms=elapsed_ms,
        per_hour=per_hour,
        left=left,
        exhausted_in_hours=hours,
        outlasts_window=outlasts,
        mean_per_day=sum(days) / len(days) if days else 0.0,
        days=len(days),
    )
