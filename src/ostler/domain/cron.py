"""Cron expressions: five fields to the next instant that they name, on the clock of a time zone.

    minute 0-59   hour 0-23   day 1-31   month 1-12 or jan-dec   weekday 0-7 or sun-sat, 0 and 7 are Sunday

A field is `*`, a number, a range `a-b`, any of these with a step `/n`, or a list of them. Where day and weekday are
both given, either is enough; `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are names for expressions.

When clocks change, an expression with `*` for its hours follows the time that passes. Another one names instants on the
clock: one in an hour that does not exist comes as if clocks had not changed yet, and one in an hour that exists twice
comes the first time only.

O(days until the next instant); `SEARCH_DAYS` bounds it.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from ostler.domain.errors import InvalidInputError

SEARCH_DAYS = 366 * 8 + 2
"""29 February comes within eight years."""
_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: place for place, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 7, {name: place for place, name in enumerate(_DAYS)}),
)


class Cron(msgspec.Struct, frozen=True):
    """An expression, read. Sets are sorted; weekdays are 0 (Sunday) to 6."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_hour: bool
    any_day: bool
    any_weekday: bool

    def names(self, day: date) -> bool:
        """Whether it names instants of a day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def parsed(text: str) -> Cron:
    """Read an expression. Raises `InvalidInputError` that names the field."""
    fields = _NAMES.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        remedy = "write minute, hour, day, month and weekday, such as '0 9 * * mon-fri'"
        raise InvalidInputError(f"'{text}' has {len(fields)} fields, not 5", where="cron", remedy=remedy)
    minutes, hours, days, months, weekdays = (
        _values(written, *field) for written, field in zip(fields, _FIELDS, strict=True)
    )
    cron = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        any_hour=fields[1].startswith("*"),
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
    )
    if not any(cron.names(date(2000, 1, 1) + timedelta(days=day)) for day in range(SEARCH_DAYS)):
        raise InvalidInputError(f"'{text}' names no day that exists", where="cron", remedy="look at day and month")
    return cron


def following(cron: Cron, after_ms: int, zone: tzinfo) -> int:
    """The first instant after one, in ms since 1970."""
    after = datetime.fromtimestamp(after_ms // 1000, UTC)
    day = after.astimezone(zone).date() - timedelta(
        days=1
    )  # a change of clocks may have moved an instant over midnight
    for ahead in range(SEARCH_DAYS + 2):
        if cron.names(day + timedelta(days=ahead)):
            later = [instant for instant in _instants(cron, day + timedelta(days=ahead), zone) if instant > after]
            if later:
                return int(min(later).timestamp()) * 1000
    raise InvalidInputError("no instant was found", where="cron")  # pragma: no cover -- `parsed` has looked


def _instants(cron: Cron, day: date, zone: tzinfo) -> Iterator[datetime]:
    """The instants of a day, which may be any number of hours long."""
    for hour in cron.hours:
        for minute in cron.minutes:
            clock = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            first = clock.astimezone(UTC)
            exists = first.astimezone(zone).replace(tzinfo=None) == clock.replace(tzinfo=None)
            if exists or not cron.any_hour:
                yield first
            if cron.any_hour and exists:
                yield clock.replace(fold=1).astimezone(UTC)


def _values(written: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in written.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(first, name, low, high, names)
        if span == "*":
            end = high if name != "weekday" else high - 1
        elif dash:
            end = _number(last, name, low, high, names)
        else:
            end = high if step else begin
        if "/" in part and not (step.isascii() and step.isdigit() and int(step) > 0):
            raise InvalidInputError(f"'{part}' has no step", where=f"cron, {name}", remedy="write */n with n above 0")
        if end < begin:
            raise InvalidInputError(f"'{span}' ends before it begins", where=f"cron, {name}", remedy="turn it round")
        found.update(range(begin, end + 1, int(step) if step else 1))
    return found


def _number(written: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    if written in names:
        return names[written]
    if written.isascii() and written.isdigit() and low <= int(written) <= high:
        return int(written)
    words = f" or {', '.join(names)}" if names else ""
    remedy = f"a {name} is {low} to {high}{words}"
    raise InvalidInputError(f"'{written}' is no {name}", where=f"cron, {name}", remedy=remedy)
