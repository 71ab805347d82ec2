"""What old events add up to: when they are pruned, their numbers stay, by day, name and what the catalogue keeps apart.

Adding up totals in parts gives the same as all at once, so that a janitor may take small steps. Their number is bounded
by days x names x the values of `EventKind.kept_by`, which are names of a profile or of the code, never of tasks.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from ostler.domain.event import CATALOGUE, Event

DAY_MS = 86_400_000


class TotalKey(NamedTuple):
    """What events are counted together. `measure`: empty = how many; else a measurement that is added up."""

    day_ms: int
    name: str
    part: str
    measure: str


class EventTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one day that were counted together. Without a measure `total` and `highest` are 0."""

    day_ms: int
    name: str
    part: str = ""
    """Such as `tier=standard,failure=timeout`."""
    measure: str = ""
    events: int
    total: float = 0.0
    highest: float = 0.0


def key_of(total: EventTotal) -> TotalKey:
    """What a total is kept under."""
    return TotalKey(total.day_ms, total.name, total.part, total.measure)


def totals_of(events: Iterable[Event]) -> list[EventTotal]:
    """What events add up to, by key. O(events)."""
    found: dict[TotalKey, EventTotal] = {}
    for event in events:
        for one in _of(event):
            key = key_of(one)
            known = found.get(key)
            found[key] = one if known is None else added(known, one)
    return [found[key] for key in sorted(found)]


def added(one: EventTotal, other: EventTotal) -> EventTotal:
    """Two totals of one key together."""
    return msgspec.structs.replace(
        one,
        events=one.events + other.events,
        total=one.total + other.total,
        highest=max(one.highest, other.highest),
    )


def part_of(event: Event) -> str:
    """What the catalogue keeps apart of an event.

    >>> part_of(Event(name="task.succeeded", at_ms=0, metadata={"tier": "low", "outcome": "verified", "model": "m"}))
    'tier=low,outcome=verified'
    """
    kind = CATALOGUE.get(event.name)
    fields = kind.kept_by if kind is not None else ()
    return ",".join(f"{field}={_text(event.metadata, field)}" for field in fields)


def _of(event: Event) -> Iterable[EventTotal]:
    day_ms, part = event.at_ms - event.at_ms % DAY_MS, part_of(event)
    yield EventTotal(day_ms=day_ms, name=event.name, part=part, events=1)
    for measure, value in event.measurements.items():
        number = float(value)
        yield EventTotal(
            day_ms=day_ms, name=event.name, part=part, measure=measure, events=1, total=number, highest=number
        )


def _text(metadata: Mapping[str, object], field: str) -> str:
    value = metadata.get(field)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
