"""What an answer says of the windows of a subscription, from its headers. Pure.

Two families are known. Anthropic's answers to subscribers say, of each window, the share that is used and when it is
new: `anthropic-ratelimit-unified-5h-utilization` (0 to 1) and `-5h-reset` (seconds since 1970, or an instant); windows
are named by their length, and by a model's family where they are about one (`7d_opus`). Answers to subscribers of
ChatGPT do so with `x-codex-primary-used-percent`, `-window-minutes` and `-reset-at` or `-reset-after-seconds`, and the
same for `secondary`.

Limits by the minute (`x-ratelimit-remaining-requests` and the like) are no allowances: they are over in a minute, and
who meets one is told to come back.
"""

import re
from collections.abc import Iterator, Mapping

from ostler.domain.allowances import Reported
from ostler.wire.retry_after import instant_ms

_UNIFIED = "anthropic-ratelimit-unified-"
_CODEX = "x-codex-"
_WINDOW = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[hd])(?:_(?P<family>[a-z0-9.-]+))?")
_HOURS = {"h": 1, "d": 24}
_MOST_PERCENT = 1_000.0
_MOST = 1e9
_MINUTES_PER_HOUR = 60


def reported(headers: Mapping[str, str], now_ms: int) -> tuple[Reported, ...]:
    """Every window that an answer tells of, by name; what cannot be read is left out. Header names in lower case.

    >>> [one.window for one in reported({"anthropic-ratelimit-unified-5h-utilization": "0.42"}, 0)]
    ['5h']
    """
    found = [*_unified(headers, now_ms), *_codex(headers, now_ms)]
    return tuple(sorted(found, key=lambda one: one.window))


def window_named(name: str) -> tuple[float | None, str]:
    """Hours and model family of a window by its short name.

    >>> window_named("5h"), window_named("7d_opus"), window_named("overage")
    ((5, ''), (168, 'opus'), (None, ''))
    """
    match = _WINDOW.fullmatch(name)
    if match is None:
        return None, ""
    return int(match["count"]) * _HOURS[match["unit"]], match["family"] or ""


def _unified(headers: Mapping[str, str], now_ms: int) -> Iterator[Reported]:
    for name, value in headers.items():
        if not name.startswith(_UNIFIED) or not name.endswith("-utilization"):
            continue
        window = name.removeprefix(_UNIFIED).removesuffix("-utilization")
        hours, family = window_named(window)
        share = _number(value)
        if share is None or hours is None:
            continue  # what is beyond the subscription is paid apart, and no window of it
        yield Reported(
            window=window,
            used_percent=min(_MOST_PERCENT, share * 100),
            at_ms=now_ms,
            resets_ms=instant_ms(headers.get(f"{_UNIFIED}{window}-reset"), now_ms),
            hours=hours,
            family=family,
        )


def _codex(headers: Mapping[str, str], now_ms: int) -> Iterator[Reported]:
    for part in ("primary", "secondary"):
        used = _number(headers.get(f"{_CODEX}{part}-used-percent"))
        if used is None:
            continue
        minutes = _number(headers.get(f"{_CODEX}{part}-window-minutes"))
        after_s = _number(headers.get(f"{_CODEX}{part}-reset-after-seconds"))
        at_ms = instant_ms(headers.get(f"{_CODEX}{part}-reset-at"), now_ms)
        hours = minutes / _MINUTES_PER_HOUR if minutes else None
        yield Reported(
            window=window_name(hours) or part,
            used_percent=min(_MOST_PERCENT, used),
            at_ms=now_ms,
            resets_ms=at_ms if at_ms is not None or after_s is None else now_ms + int(after_s * 1_000),
            hours=hours,
        )


def window_name(hours: float | None) -> str:
    """The short name of a window by its length; empty where that is no number of whole hours.

    >>> window_name(5), window_name(168), window_name(0.5)
    ('5h', '7d', '')
    """
    if hours is None or hours != int(hours) or hours <= 0:
        return ""
    return f"{int(hours) // 24}d" if hours % 24 == 0 else f"{int(hours)}h"


def _number(text: str | None) -> float | None:
    """A number that is not below 0, nor beyond all sense."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value <= _MOST else None
