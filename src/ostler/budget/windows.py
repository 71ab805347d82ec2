"""Windows of time as pure functions of an instant: which span a limit counts now, and when that changes.

Hours, days and months are those of a named time zone. A day begins at the first instant with its date, so it has 23 or
25 hours where clocks are changed, and successive windows always touch: the end of one is the start of the next. Nothing
is stored for a rollover; asking at a later instant gives a later span.

Invariants: `start_ms <= now_ms < end_ms`; for calendar windows `span(end_ms).start_ms == end_ms`. Spans start at
quarter-hours wherever the zone's offset is one, which holds for every zone in use today; a start that is none is moved
down, never up: a limit may count a few minutes too much, none too few. The one exception to touching is the hour in the
zone whose clocks move by half an hour (Lord Howe Island): there two hours overlap by that half, twice a year.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ostler.domain.limits import Window, WindowKind

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
QUARTER_MS = HOUR_MS // 4
EARLIEST_MS = 0
LATEST_MS = 253_370_764_800_000
"""The year 9999: later than anything is charged."""


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """A window at an instant. `resets_ms`: when what it counts begins to fall away; `None` = never."""

    start_ms: int
    end_ms: int
    resets_ms: int | None = None


def zone_named(name: str) -> ZoneInfo:
    """A time zone by its name in the zone database. Raises `ValueError`.

    >>> zone_named("Europe/Berlin").key
    'Europe/Berlin'
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"there is no time zone '{name}'"
        raise ValueError(message) from None


def extent(window: Window, now_ms: int) -> Extent | None:
    """The span of a window that an instant lies in; `None` outside of a period. Of a rolling window the end is open:
    it ends now, and what is charged now is in it.

    >>> extent(Window(kind=WindowKind.DAY), 90_000_000).start_ms
    86400000
    """
    if window.kind is WindowKind.NONE:
        return Extent(start_ms=EARLIEST_MS, end_ms=LATEST_MS)
    if window.kind is WindowKind.PERIOD:
        inside = window.start_ms <= now_ms < window.end_ms
        start_ms = _quarter(window.start_ms)
        return Extent(start_ms=start_ms, end_ms=window.end_ms, resets_ms=window.end_ms) if inside else None
    if window.kind is WindowKind.ROLLING:
        # Whole quarters are counted, so the oldest one falls away when it has left the window whole.
        start_ms = max(EARLIEST_MS, _quarter(now_ms - window.hours * HOUR_MS))
        return Extent(start_ms=start_ms, end_ms=LATEST_MS, resets_ms=start_ms + QUARTER_MS + window.hours * HOUR_MS)
    return _calendar(window.kind, window.zone, now_ms)


def _calendar(kind: WindowKind, zone_name: str, now_ms: int) -> Extent:
    zone = _zone(zone_name)
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    if kind is WindowKind.HOUR:
        # By subtraction, not by the clock's face: in the hour that is told twice, each has an instant of its own.
        into_ms = ((now.minute * 60 + now.second) * 1000 + now_ms % 1000) % HOUR_MS
        start_ms = _quarter(now_ms - into_ms)
        return Extent(start_ms=start_ms, end_ms=start_ms + HOUR_MS, resets_ms=start_ms + HOUR_MS)
    today = now.date()
    if kind is WindowKind.DAY:
        first, last = today, today + timedelta(days=1)
    else:
        first = today.replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1)
    end_ms = midnight_ms(last, zone)
    return Extent(start_ms=midnight_ms(first, zone), end_ms=end_ms, resets_ms=end_ms)


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The first instant with this date in a zone, also where clocks skip or repeat midnight.

    >>> midnight_ms(date(2026, 3, 29), zone_named("Europe/Berlin"))
    1774738800000
    """
    # fold=0 takes the first of two midnights; of one that is skipped, the offset before the gap leads to its end.
    moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return _quarter(int(moment.timestamp()) * 1000)


def _quarter(at_ms: int) -> int:
    return at_ms - at_ms % QUARTER_MS


@lru_cache(maxsize=32)
def _zone(name: str) -> ZoneInfo:
    return zone_named(name)
