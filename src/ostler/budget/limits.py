"""Levels: what the limits say about an attempt, which one binds, and how much of it is left.

Reached means at or above. Three levels, the worst of all limits that count the attempt:

* ok: nothing is reached, and the estimate fits below every hard value
* degraded: a soft value is reached; critical work does not see soft values
* exhausted: a hard value (for critical work its own ceiling) is reached, or the estimate would pass it; exactly to it
  passes

The binding limit is the one of the worst level with the smallest share left, ties by name and scope. Soft and hard
values are whole numbers of their unit: nothing is cut to percents.

O(limits) for each question; sums come in through a function, so that a store asks its rows and a snapshot its copy.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from ostler.budget.buckets import TIMELESS
from ostler.budget.windows import Extent, extent
from ostler.domain.ledger import NOTHING, Amount, Bound, Scopes, Span, Spent
from ostler.domain.limits import Limit, ScopeKind, Unit, Window, WindowKind
from ostler.domain.money import usd_text

SpentOf = Callable[[Span], Spent]
ALL_TIME = Window(kind=WindowKind.NONE)


class Level(StrEnum):
    """How much may still be spent."""

    OK = "ok"
    DEGRADED = "degraded"
    EXHAUSTED = "exhausted"


_BADNESS = {Level.OK: 0, Level.DEGRADED: 1, Level.EXHAUSTED: 2}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One limit for one scope at one instant. Amounts are in the limit's unit."""

    limit: Limit
    value: str
    """The provider, session, ... it was asked for; empty for all work."""
    level: Level
    used: int
    held: int
    ceiling: int | None
    """What holds here: the hard value, or the ceiling of critical work."""
    start_ms: int
    resets_ms: int | None = None

    @property
    def total(self) -> int:
        """Used and held together."""
        return self.used + self.held

    @property
    def left(self) -> int | None:
        """Up to the ceiling; `None` = there is none."""
        return None if self.ceiling is None else max(0, self.ceiling - self.total)

    @property
    def left_share(self) -> float:
        """Of the ceiling, else of the soft value; 0 to 1."""
        whole = self.ceiling if self.ceiling is not None else self.limit.soft
        if whole is None:
            return 1.0
        return max(0.0, 1 - self.total / whole) if whole > 0 else 0.0


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What all limits together say about an attempt."""

    level: Level
    binding: Standing | None = None
    """The limit that matters most; `None` where no limit counts it."""
    standings: tuple[Standing, ...] = ()
    note: str = ""
    """What keeps work away where it is no limit: a subscription that is used up, a price that nobody knows."""
    until_ms: int | None = None
    """When that is over, where it is known."""

    @property
    def resets_ms(self) -> int | None:
        """When it moves by itself, as far as is known."""
        return self.binding.resets_ms if self.binding is not None else self.until_ms

    @property
    def admits(self) -> bool:
        """Whether it may run where it was asked for: degraded work may where nothing cheaper can take it."""
        return self.level is not Level.EXHAUSTED


def scope_value(limit: Limit, scopes: Scopes) -> str | None:
    """Whose sum counts for an attempt (empty = everybody's); `None` when the limit is not about it."""
    if limit.scope is ScopeKind.ALL:
        return ""
    value = scopes.of(limit.scope)
    return value if value and limit.of in {"", value} else None


def span_of(limit: Limit, value: str, now_ms: int) -> Span | None:
    """The sum a limit is about now; `None` outside of its period."""
    found = _extent(limit, now_ms)
    if found is None:
        return None
    return Span(scope=limit.scope, value=value, start_ms=found.start_ms, end_ms=found.end_ms)


def _extent(limit: Limit, now_ms: int) -> Extent | None:
    return extent(ALL_TIME if limit.scope in TIMELESS else limit.window, now_ms)


def ceiling_of(limit: Limit, *, critical: bool) -> int | None:
    """The value that nothing passes."""
    return limit.critical if critical and limit.critical is not None else limit.hard


def bounds(limits: Iterable[Limit], scopes: Scopes, now_ms: int, *, critical: bool = False) -> tuple[Bound, ...]:
    """Everything that holds for an attempt, to be checked where it reserves; in the order of the limits."""
    found = []
    for limit in limits:
        value, ceiling = scope_value(limit, scopes), ceiling_of(limit, critical=critical)
        span = span_of(limit, value, now_ms) if value is not None else None
        if span is not None and ceiling is not None:
            found.append(Bound(limit=limit.name, span=span, unit=limit.unit, ceiling=ceiling))
    return tuple(found)


def spans(limits: Iterable[Limit], scopes: Scopes, now_ms: int) -> list[Span]:
    """The sums that `gate` will ask for."""
    values = ((limit, scope_value(limit, scopes)) for limit in limits)
    found = (span_of(limit, value, now_ms) for limit, value in values if value is not None)
    return list(dict.fromkeys(span for span in found if span is not None))


def standing(
    limit: Limit, value: str, now_ms: int, spent: SpentOf, *, estimate: Amount = NOTHING, critical: bool = False
) -> Standing | None:
    """What one limit says of one scope; `None` outside of its period."""
    found = _extent(limit, now_ms)
    span = span_of(limit, value, now_ms)
    if found is None or span is None:
        return None
    sums = spent(span)
    total, asked = sums.total(limit.unit), estimate.in_unit(limit.unit)
    ceiling = ceiling_of(limit, critical=critical)
    level = Level.OK
    if limit.soft is not None and not critical and total >= limit.soft:
        level = Level.DEGRADED
    if ceiling is not None and (total >= ceiling or total + asked > ceiling):
        level = Level.EXHAUSTED
    return Standing(
        limit=limit,
        value=value,
        level=level,
        used=sums.used.in_unit(limit.unit),
        held=sums.held.in_unit(limit.unit),
        ceiling=ceiling,
        start_ms=found.start_ms,
        resets_ms=found.resets_ms,
    )


def worst(standings: Iterable[Standing]) -> Gate:
    """The level of all of them, and the one that binds."""
    found = tuple(standings)
    if not found:
        return Gate(level=Level.OK)
    binding = min(found, key=lambda one: (-_BADNESS[one.level], one.left_share, one.limit.name, one.value))
    return Gate(level=binding.level, binding=binding, standings=found)


def gate(
    limits: Iterable[Limit],
    scopes: Scopes,
    now_ms: int,
    spent: SpentOf,
    *,
    estimate: Amount = NOTHING,
    critical: bool = False,
) -> Gate:
    """What the limits say about an attempt in these scopes with this estimate."""
    values = ((limit, scope_value(limit, scopes)) for limit in limits)
    found = (
        standing(limit, value, now_ms, spent, estimate=estimate, critical=critical)
        for limit, value in values
        if value is not None
    )
    return worst(one for one in found if one is not None)


def amount_text(amount: int, unit: Unit) -> str:
    """An amount for a person.

    >>> amount_text(16_000_000, Unit.USD), amount_text(12_000, Unit.TOKENS), amount_text(1, Unit.REQUESTS)
    ('$16.00', '12,000 tokens', '1 request')
    """
    if unit in {Unit.USD, Unit.WORTH}:
        return usd_text(amount)
    noun = unit.value if amount != 1 else unit.value.removesuffix("s")
    return f"{amount:,} {noun}"
