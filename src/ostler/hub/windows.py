"""The windows that a limit counts in: a day or a month of UTC, or all time."""

from datetime import UTC, datetime
from typing import NamedTuple

WINDOWS = ("day", "month", "total")
DAY_MS = 86_400_000
_DECEMBER = 12


class Window(NamedTuple):
    """A stretch of time: from `since_ms` until before `ends_ms`, or for ever."""

    since_ms: int
    ends_ms: int | None


def window_of(name: str, now_ms: int) -> Window:
    """The window of a kind that an instant lies in.

    >>> window_of("day", 1_700_000_000_000), window_of("total", 5)
    (Window(since_ms=1699920000000, ends_ms=1700006400000), Window(since_ms=0, ends_ms=None))
    """
    if name == "day":
        since_ms = now_ms - now_ms % DAY_MS
        return Window(since_ms, since_ms + DAY_MS)
    if name == "month":
        today = datetime.fromtimestamp(now_ms / 1000, UTC)
        year, month = (today.year + 1, 1) if today.month == _DECEMBER else (today.year, today.month + 1)
        return Window(_ms(today.year, today.month), _ms(year, month))
    return Window(0, None)


def instant_text(at_ms: int) -> str:
    """An instant for a person.

    >>> instant_text(1_700_000_000_000)
    '2023-11-14 22:13 UTC'
    """
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
