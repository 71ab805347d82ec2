"""What the rules look at, and the two things that must be remembered between looks: events of the last hour, and how
the queue went.
"""

from collections import Counter
from collections.abc import Mapping

import msgspec

MINUTE_MS = 60_000
HOUR_MINUTES = 60


class LimitFact(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of the budget that has reached its soft or hard value."""

    limit: str
    of: str = ""
    """Whose: a provider, a session, ...; empty for all work."""
    exhausted: bool
    said: str
    used_percent: float = 0.0


class AllowanceFact(msgspec.Struct, frozen=True, kw_only=True):
    """An allowance of a subscription."""

    provider: str
    allowance: str
    used_percent: float
    warn_percent: float
    resets_ms: int | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A hub at one instant. Counts of the last hour hold up to a minute more."""

    now_ms: int
    queued: int = 0
    workers: int = 0
    worker_needed: bool = False
    """Work is open, or a worker was here before."""
    needs_human: int = 0
    needs_human_example: str = ""
    unanswered: Mapping[str, str] = {}
    """Tasks that nobody answered in time and that name no default -> who was to answer; empty = anybody."""
    stuck: Mapping[str, int] = {}
    """Tasks that run or are judged -> how long without any sign of life."""
    tiers_down: Mapping[str, int] = {}
    """Tiers without a usable endpoint -> since when."""
    succeeded: int = 0
    """Attempts and calls of the last hour that ended well."""
    failed: int = 0
    """... and that failed."""
    calls: int = 0
    """Calls to models of the last hour: live calls, and attempts that a model ran."""
    records_lost: int = 0
    limits: tuple[LimitFact, ...] = ()
    allowances: tuple[AllowanceFact, ...] = ()


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How the queue went over the last samples: grew so often in a row, or did not grow so often in a row."""

    depth: int | None = None
    """At the last sample; `None` = there was none."""
    grew: int = 0
    stable: int = 0

    def sampled(self, depth: int) -> "Trend":
        """After one more sample.

        >>> Trend(depth=1, grew=2).sampled(4)
        Trend(depth=4, grew=3, stable=0)
        """
        if self.depth is not None and depth > self.depth:
            return Trend(depth=depth, grew=self.grew + 1)
        return Trend(depth=depth, stable=self.stable + 1)


class LastHour:
    """How often things happened in the last hour, in whole minutes. O(60 x names), whatever happens."""

    def __init__(self) -> None:
        self._minutes: dict[int, Counter[str]] = {}

    def add(self, name: str, at_ms: int, count: int = 1) -> None:
        """It happened."""
        minute = at_ms // MINUTE_MS
        counted = self._minutes.get(minute)
        if counted is None:
            self._forget(minute)
            counted = self._minutes[minute] = Counter()
        counted[name] += count

    def total(self, now_ms: int) -> Counter[str]:
        """What happened in the last hour."""
        oldest = now_ms // MINUTE_MS - HOUR_MINUTES
        found: Counter[str] = Counter()
        for minute, counted in self._minutes.items():
            if minute >= oldest:
                found.update(counted)
        return found

    def _forget(self, minute: int) -> None:
        newest = max(self._minutes, default=minute)
        for old in [one for one in self._minutes if one < max(newest, minute) - HOUR_MINUTES]:
            del self._minutes[old]
