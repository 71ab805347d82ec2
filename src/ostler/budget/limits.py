"""Levels: what the limits say about an attempt, which one binds, and how much of it is left.

Reached means at or above. Three levels, the worst of all limits that count the attempt:

* ok: nothing is reached, and the estimate fits below every hard value
* degraded: a soft value is reached; critical work does not see soft values
* exhausted: a hard value (for critical work its own ceiling) is reached, or the estimate would pass it; exactly to it
  passes

A limit that several pools have together is asked about the sum of all of them. Its hard value is divided beforehand
(`PoolPart`): nothing passes the own part either, so that no two pools pass the value between them.

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
from ostler.domain.limits import Limit, PartOf, PoolPart, ScopeKind, Unit, Window, WindowKind
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
    asked: int = 0
    """What it was asked about."""
    part: PoolPart | None = None
    """Of a limit that several pools have together."""

    @property
    def elsewhere(self) -> int:
        """What other pools have spent and hold of it."""
        return self.part.spent if self.part is not None else 0

    @property
    def total(self) -> int:
        """Used and held together, in all pools."""
        return self.used + self.held + self.elsewhere

    @property
    def short(self) -> bool:
        """Whether the own part of it is what does not suffice, whatever is left of the whole."""
        most = self.part.most if self.part is not None else None
        own = self.used + self.held
        return most is not None and (own >= most or own + self.asked > most)

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


def bounds(
    limits: Iterable[Limit], scopes: Scopes, now_ms: int, *, critical: bool = False, parts: PartOf | None = None
) -> tuple[Bound, ...]:
    """Everything that holds for an attempt, to be checked where it reserves; in the order of the limits."""
    found = []
    for limit in limits:
        value, ceiling = scope_value(limit, scopes), ceiling_of(limit, critical=critical)
        span = span_of(limit, value, now_ms) if value is not None else None
        if value is None or span is None or ceiling is None:
            continue
        part = parts(limit, value, span.start_ms, critical) if parts is not None else None
        most = part.most if part is not None else None
        held = ceiling if most is None else min(ceiling, most)
        found.append(Bound(limit=limit.name, span=span, unit=limit.unit, ceiling=held, shared=held < ceiling))
    return tuple(found)


def spans(limits: Iterable[Limit], scopes: Scopes, now_ms: int) -> list[Span]:
    """The sums that `gate` will ask for."""
    values = ((limit, scope_value(limit, scopes)) for limit in limits)
    found = (span_of(limit, value, now_ms) for limit, value in values if value is not None)
    return list(dict.fromkeys(span for span in found if span is not None))


def standing(
    limit: Limit,
    value: str,
    now_ms: int,
    spent: SpentOf,
    *,
    estimate: Amount = NOTHING,
    critical: bool = False,
    parts: PartOf | None = None,
) -> Standing | None:
    """What one limit says of one scope, of all pools together; `None` outside of its period."""
    found = _extent(limit, now_ms)
    span = span_of(limit, value, now_ms)
    if found is None or span is None:
        return None
    sums = spent(span)
    part = parts(limit, value, found.start_ms, critical) if parts is not None else None
    asked, ceiling = estimate.in_unit(limit.unit), ceiling_of(limit, critical=critical)
    if part is not None and part.total is not None and ceiling is not None:
        ceiling = min(ceiling, part.total)
    one = Standing(
        limit=limit,
        value=value,
        level=Level.OK,
        used=sums.used.in_unit(limit.unit),
        held=sums.held.in_unit(limit.unit),
        ceiling=ceiling,
        start_ms=found.start_ms,
        resets_ms=found.resets_ms,
        asked=asked,
        part=part,
    )
    level = _level(one, critical=critical)
    return one if level is Level.OK else msgspec.structs.replace(one, level=level)


def _level(one: Standing, *, critical: bool) -> Level:
    if one.ceiling is not None and (one.total >= one.ceiling or one.total + one.asked > one.ceiling):
        return Level.EXHAUSTED
    soft = one.limit.soft
    return Level.DEGRADED if soft is not None and not critical and one.total >= soft else Level.OK


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
    parts: PartOf | None = None,
) -> Gate:
    """What the limits say about an attempt in these scopes with this estimate."""
    values = ((limit, scope_value(limit, scopes)) for limit in limits)
    found = (
        standing(limit, value, now_ms, spent, estimate=estimate, critical=critical, parts=parts)
        for limit, value in values
        if value is not None
    )
    return worst(_here(one) for one in found if one is not None)


def _here(one: Standing) -> Standing:
    """What a limit says of an attempt of this pool: its part is all that there is for it."""
    return msgspec.structs.replace(one, level=Level.EXHAUSTED) if one.short else one


def amount_text(amount: int, unit: Unit) -> str:
    """An amount for a person.

    >>> amount_text(16_000_000, Unit.USD), amount_text(12_000, Unit.TOKENS), amount_text(1, Unit.REQUESTS)
    ('$16.00', '12,000 tokens', '1 request')
    """
    if unit in {Unit.USD, Unit.WORTH}:
        return usd_text(amount)
    noun = unit.value if amount != 1 else unit.value.removesuffix("s")
    return f"{amount:,} {noun}"
