"""Sums by scope and time in three grains, so that any window is added up from few rows.

Each charge is counted three times: in its quarter-hour, in its day (UTC), and in the sum of all time. A span of months
is a few quarters at its ends and whole days between: at most 190 quarters and a row for each day, whatever was charged.
A span over all time is one row. `pieces` says which rows those are; nothing is approximated, as spans begin and end at
quarter-hours.
"""

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from ostler.budget.windows import DAY_MS, EARLIEST_MS, LATEST_MS, QUARTER_MS
from ostler.domain.ledger import Scopes, Span
from ostler.domain.limits import ScopeKind


class Grain(IntEnum):
    """How much time a row sums up."""

    ALL = 0
    QUARTER = 1
    DAY = 2


class Piece(NamedTuple):
    """Rows of one grain that start from `low_ms` on and before `high_ms`."""

    grain: Grain
    low_ms: int
    high_ms: int


class BucketKey(NamedTuple):
    """The name of a row."""

    scope: str
    value: str
    grain: int
    start_ms: int


TIMELESS = frozenset({ScopeKind.TASK, ScopeKind.TICK})
"""Scopes that are over soon and are never counted by the hour or the day: they have one row."""


def pieces(span: Span) -> list[Piece]:
    """The rows that add up to a span.

    >>> [tuple(map(int, piece)) for piece in pieces(Span(scope=ScopeKind.ALL, start_ms=0, end_ms=86_400_000))]
    [(2, 0, 86400000)]
    """
    if span.start_ms <= EARLIEST_MS and span.end_ms >= LATEST_MS:
        return [Piece(Grain.ALL, 0, 1)]
    first_day = -(-span.start_ms // DAY_MS) * DAY_MS
    last_day = span.end_ms - span.end_ms % DAY_MS
    if first_day >= last_day:
        return [Piece(Grain.QUARTER, span.start_ms, span.end_ms)]
    found = [
        Piece(Grain.QUARTER, span.start_ms, first_day),
        Piece(Grain.DAY, first_day, last_day),
        Piece(Grain.QUARTER, last_day, span.end_ms),
    ]
    return [piece for piece in found if piece.low_ms < piece.high_ms]


_KINDS = tuple((kind.value, kind.value if kind is not ScopeKind.ALL else "", kind in TIMELESS) for kind in ScopeKind)
"""(name of the scope, field of `Scopes` that names whose it is, whether it has one row)."""


class Place(NamedTuple):
    """A scope and whose: what has rows of its own."""

    scope: str
    value: str
    timeless: bool


@lru_cache(maxsize=1_024)
def places(scopes: Scopes) -> tuple[Place, ...]:
    """Every scope that a charge is counted in."""
    found = []
    for scope, field, timeless in _KINDS:
        value = getattr(scopes, field) if field else ""
        if value or not field:
            found.append(Place(scope, value, timeless))
    return tuple(found)


def rows_of(place: Place, charged_ms: int) -> tuple[BucketKey, ...]:
    """The rows of one scope that a charge is counted in: of all time, and mostly of its quarter-hour and day."""
    ever = BucketKey(place.scope, place.value, _ALL, 0)
    if place.timeless:
        return (ever,)
    quarter = BucketKey(place.scope, place.value, _QUARTER, charged_ms - charged_ms % QUARTER_MS)
    return ever, quarter, BucketKey(place.scope, place.value, _DAY, charged_ms - charged_ms % DAY_MS)


def buckets(scopes: Scopes, charged_ms: int) -> Iterator[BucketKey]:
    """Every row that a charge is counted in."""
    for place in places(scopes):
        yield from rows_of(place, charged_ms)


_ALL, _QUARTER, _DAY = int(Grain.ALL), int(Grain.QUARTER), int(Grain.DAY)
