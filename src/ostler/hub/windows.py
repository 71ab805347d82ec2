"""The windows that a limit counts in: a day or a month of UTC, or all time."""

from datetime import UTC, datetime
from typing import NamedTuple

from ostler.budget.windows import extent
from ostler.domain import limits
from ostler.domain.limits import WindowKind

WINDOWS = ("day", "month", "total")
DAY_MS = 86_400_000


class Window(NamedTuple):
    """A stretch of time: from `since_ms` until before `ends_ms`, or for ever."""

    since_ms: int
    ends_ms: int | None


def window_of(name: str, now_ms: int) -> Window:
    """The window of a kind that an instant lies in.

    >>> window_of("day", 1_700_000_000_000), window_of("total", 5)
    (Window(since_ms=1699920000000, ends_ms=1700006400000), Window(since_ms=0, ends_ms=None))
    """
    found = None if name == "total" else extent(limits.Window(kind=WindowKind(name), zone="UTC"), now_ms)
    return Window(0, None) if found is None else Window(found.start_ms, found.end_ms)


def instant_text(at_ms: int) -> str:
    """An instant for a person.

    >>> instant_text(1_700_000_000_000)
    '2023-11-14 22:13 UTC'
    """
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
