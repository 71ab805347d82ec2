"""A pool's parts of limits that pools of one database have together, and what tells how large they should be.

While parts are counted, a limit of which nothing was told lets nothing through: what was never written down where the
other pools see it is nobody's. For each limit the largest reservation is noted, and the smallest amount that found too
little; whoever asks for parts reads them (`app.purses`). A note of what found too little is over after `SHORT_MS`, or
when something of it was reserved; who still waits is looked at again when a part grows, and says so again.
"""

from collections.abc import Iterable, Mapping

from ostler.budget.limits import ceiling_of
from ostler.domain.commands import Reserve
from ostler.domain.decision import Short
from ostler.domain.limits import OVER_POOLS, Limit, PartKey, PoolPart, WindowKind

SHORT_MS = 40_000
"""Longer than who waits for money by itself is looked at (`purse.RETRY_MS`)."""
ASIDE_KEPT = 200
"""So many tasks that wait by themselves are looked at when a part has grown; the others when their time comes."""
_NOTHING = PoolPart(most=0)
Whose = tuple[str, str]
"""A limit and the provider, tier, ... it counts."""


def over_pools(limit: Limit) -> bool:
    """Whether pools that state it alike have it together."""
    return limit.scope in OVER_POOLS


def key_of(limit: Limit, value: str, start_ms: int, *, critical: bool) -> PartKey:
    """The name of a part."""
    apart = critical and ceiling_of(limit, critical=True) != limit.hard
    return PartKey(limit.name, value, 0 if limit.window.kind is WindowKind.ROLLING else start_ms, apart)


class Parts:
    """What was told, and what was noted since."""

    def __init__(self) -> None:
        self.told: Mapping[PartKey, PoolPart] | None = None
        """`None` = nothing is counted over pools."""
        self._largest: dict[Whose, tuple[int, int]] = {}
        """The largest reservation of late, and when."""
        self._short: dict[Whose, tuple[int, int]] = {}
        """The smallest amount that found too little, and when."""
        self._aside: dict[str, None] = {}
        """Tasks that wait by themselves because of a part, the newest of them."""

    def of(self, limit: Limit, value: str, start_ms: int, critical: bool) -> PoolPart | None:  # noqa: FBT001 - a `PartOf`
        """The part of this pool; `None` where it has the limit for itself."""
        if self.told is None or not over_pools(limit):
            return None
        return self.told.get(key_of(limit, value, start_ms, critical=critical), _NOTHING)

    def tell(self, parts: Mapping[PartKey, PoolPart] | None) -> bool:
        """Take parts in; whether one lets more through, or others have begun or ceased to have some to give."""
        before, self.told = self.told, parts
        if parts is None or before is None:
            return parts is None and before is not None
        return any(_is_news(before.get(key, _NOTHING), part) for key, part in parts.items())

    def reserved(self, command: Reserve) -> None:
        """Something was held below limits: whoever waits for one of them will say so again."""
        if self.told is None:
            return
        for bound in command.bounds:
            whose, amount = (bound.limit, bound.span.value), command.amount.in_unit(bound.unit)
            if amount >= self.largest(*whose, command.at_ms):
                self._largest[whose] = amount, command.at_ms
            self._short.pop(whose, None)

    def found_too_little(self, shorts: Iterable[Short], now_ms: int) -> None:
        """A part did not suffice."""
        for one in shorts:
            whose = one.limit, one.value
            amount, at_ms = self._short.get(whose, (one.asked, 0))
            least = min(amount, one.asked) if now_ms - at_ms < SHORT_MS else one.asked
            self._short[whose] = max(1, least), now_ms

    def short_of(self, limit: str, value: str, now_ms: int, *, somebody_waits: bool = False) -> int:
        """The smallest amount that waits for more of a limit; 0 where nothing does. `somebody_waits`: work is held for
        want of money, and says so again only when it is looked at.
        """
        amount, at_ms = self._short.get((limit, value), (0, 0))
        return amount if somebody_waits or now_ms - at_ms < SHORT_MS else 0

    def set_aside(self, task_id: str) -> None:
        """A task waits by itself because of a part."""
        self._aside[task_id] = None
        if len(self._aside) > ASIDE_KEPT:
            del self._aside[next(iter(self._aside))]

    def is_aside(self, task_id: str) -> bool:
        """Whether a task waits by itself because of a part."""
        return task_id in self._aside

    def take_aside(self) -> tuple[str, ...]:
        """The tasks that may be looked at again, each once."""
        found, self._aside = tuple(self._aside), {}
        return found

    def largest(self, limit: str, value: str, now_ms: int) -> int:
        """The largest reservation of late."""
        amount, at_ms = self._largest.get((limit, value), (0, 0))
        return amount if now_ms - at_ms < SHORT_MS else 0


def _is_news(before: PoolPart, part: PoolPart) -> bool:
    grew = part.most is None or (before.most is not None and part.most > before.most)
    return grew or (before.kept > before.asleep) != (part.kept > part.asleep)
