"""How long an endpoint asks us to stay away, from its headers and its error body. Pure; `now_ms` is passed in.

Sources in order of trust: `retry-after-ms`, `Retry-After` (seconds or HTTP date), a delay in the error body, and the
reset headers of rate limits. The last say when a limit is full again, which is later than when the next call fits, so
they are used only where nothing better was said, and only the limits that are used up if the headers tell which.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_MS = 7 * 24 * 3_600_000
"""Longer waits are cut to this: an endpoint that is gone for weeks is asked again after one."""

MAX_INSTANT_MS = 100 * 365 * 24 * 3_600_000
"""An instant that is farther away is none."""

_EPOCH_MS_FROM = 100_000_000_000
_EPOCH_S_FROM = 1_000_000_000
_UNIT_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:reset(?:-[a-z0-9_-]+)?|[a-z0-9_-]+-reset)")


def retry_after_ms(headers: Mapping[str, str], now_ms: int, *, body_delay: str | None = None) -> int | None:
    """The wait an endpoint asked for, or `None`. Header names in lower case.

    >>> retry_after_ms({"retry-after": "2.5"}, 0), retry_after_ms({"x-ratelimit-reset-tokens": "6m0s"}, 0)
    (2500, 360000)
    """
    direct = _number(headers.get("retry-after-ms"))
    if direct is not None:
        return _bounded(direct)
    said = headers.get("retry-after")
    for text in (said, body_delay):
        if text is not None and (wait := _wait_ms(text, now_ms)) is not None:
            return _bounded(wait)
    return _from_resets(headers, now_ms)


def _from_resets(headers: Mapping[str, str], now_ms: int) -> int | None:
    every: list[float] = []
    used_up: list[float] = []
    for name, value in headers.items():
        wait = _wait_ms(value, now_ms) if _RESET.fullmatch(name) else None
        if wait is None:
            continue
        every.append(wait)
        if _number(headers.get(name.replace("reset", "remaining"))) == 0:
            used_up.append(wait)
    waits = used_up or every
    return _bounded(max(waits)) if waits else None


def _wait_ms(text: str, now_ms: int) -> float | None:
    """A number of seconds, an epoch, a duration such as `1m30s`, an HTTP date or an RFC 3339 instant."""
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_MS_FROM:
            return number - now_ms
        return number * 1_000 - now_ms if number >= _EPOCH_S_FROM else number * 1_000
    compact = text.strip().lower()
    if _DURATION.fullmatch(compact):
        return sum(float(amount) * _UNIT_MS[unit] for amount, unit in _DURATION_PART.findall(compact))
    instant = _instant(text.strip())
    return None if instant is None else instant.timestamp() * 1_000 - now_ms


def instant_ms(text: str | None, now_ms: int) -> int | None:
    """When something is over that is told as seconds since 1970, an instant, or a duration from now.

    >>> instant_ms("1900000000", 0), instant_ms("2030-03-17T17:46:40Z", 0), instant_ms("90s", 1), instant_ms(None, 0)
    (1900000000000, 1900000000000, 90001, None)
    """
    wait = _wait_ms(text, now_ms) if text is not None else None
    return None if wait is None or abs(wait) > MAX_INSTANT_MS else now_ms + math.ceil(wait)


def _instant(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            instant = parse(text)
        except (ValueError, TypeError, OverflowError):
            continue
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _bounded(wait_ms: float) -> int:
    return math.ceil(min(max(wait_ms, 0), MAX_RETRY_AFTER_MS))
