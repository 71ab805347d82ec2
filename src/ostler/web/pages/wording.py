"""Figures and names as the pages write them. Pure.

Durations and instants are milliseconds, money micro-dollars, memory bytes; `None` is a dash, never a nought.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from ostler.domain.money import MICRO_USD_PER_USD, usd_text
from ostler.domain.states import TaskState, WaitCode

DASH = "—"
HUES = 8
"""Colours that models have."""
_CENT = MICRO_USD_PER_USD // 100
_STEPS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
_SIZES = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"))
_COUNTS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))

STATES: Mapping[TaskState, tuple[str, str]] = {
    TaskState.SCHEDULED: ("scheduled", "idle"),
    TaskState.QUEUED: ("waiting", "idle"),
    TaskState.ASSIGNED: ("starting", "busy"),
    TaskState.RUNNING: ("running", "busy"),
    TaskState.EVALUATING: ("checking", "busy"),
    TaskState.RETRY_WAIT: ("retrying", "warn"),
    TaskState.NEEDS_HUMAN: ("needs you", "warn"),
    TaskState.SUCCEEDED: ("succeeded", "good"),
    TaskState.FAILED: ("failed", "bad"),
    TaskState.EXPIRED: ("expired", "bad"),
    TaskState.CANCELLED: ("cancelled", "off"),
    TaskState.DEAD_LETTER: ("given up", "bad"),
}
"""State -> what people call it, and the tone of its mark."""

WAITS: Mapping[WaitCode, str] = {
    WaitCode.READY: "next in line",
    WaitCode.DEPS: "for tasks before it",
    WaitCode.CAPACITY: "for a free slot",
    WaitCode.NO_WORKER: "for a worker",
    WaitCode.FALLBACK_WAIT: "before falling back",
    WaitCode.ENDPOINT_DOWN: "for an endpoint that is down",
    WaitCode.QUOTA_UNTIL: "for a provider's quota",
    WaitCode.MODEL_SWAP: "for a model to be loaded",
    WaitCode.BUDGET: "for the budget",
    WaitCode.APPROVAL: "for an approval",
    WaitCode.PAUSED: "paused",
    WaitCode.NO_ROUTE: "no model can take it",
    WaitCode.SCHEDULED: "for its time",
    WaitCode.RETRY: "before the next try",
}


def span(duration_ms: float | None) -> str:
    """A duration in at most two units.

    >>> span(450), span(12_400), span(247_000), span(3_900_000), span(None)
    ('0.5 s', '12 s', '4 min 7 s', '1 h 5 min', '—')
    """
    if duration_ms is None:
        return DASH
    seconds = max(0.0, duration_ms / 1000)
    if seconds < 10:  # noqa: PLR2004 - below it tenths matter
        return f"{seconds:.1f} s"
    for size, unit, rest_size, rest_unit in _STEPS:
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            return f"{whole} {unit}" + (f" {rest // rest_size} {rest_unit}" if rest // rest_size else "")
    return f"{int(seconds)} s"


def money(micro_usd: int | None) -> str:
    """Money with as many digits as mean something: cents, below a cent two significant ones.

    >>> money(1_500_000), money(0), money(1_284), money(-20_000), money(None)
    ('$1.50', '$0', '$0.0013', '-$0.02', '—')
    """
    if micro_usd is None:
        return DASH
    if micro_usd == 0:
        return "$0"
    if micro_usd < 0:
        return "-" + money(-micro_usd)
    if micro_usd >= _CENT:
        return usd_text(micro_usd)
    digits = next(digits for floor, digits in ((1_000, 4), (100, 5), (0, 6)) if micro_usd >= floor)
    return f"${micro_usd / MICRO_USD_PER_USD:.{digits}f}"


def size(count: int | None) -> str:
    """Bytes in the largest unit of which there is one.

    >>> size(22 * 1024**3), size(1024**3 * 3 // 2), size(None)
    ('22 GiB', '1.5 GiB', '—')
    """
    if count is None:
        return DASH
    for whole, unit in _SIZES:
        if count >= whole:
            return f"{count / whole:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} B"


def count(number: float | None) -> str:
    """A large number in three digits.

    >>> count(950), count(12_400), count(3_100_000), count(None)
    ('950', '12.4k', '3.1M', '—')
    """
    if number is None:
        return DASH
    for whole, unit in _COUNTS:
        if number >= whole:
            return f"{number / whole:.1f}".removesuffix(".0") + unit
    return f"{number:g}"


def share(rate: float | None) -> str:
    """A rate from 0 to 1 in percent.

    >>> share(0.947), share(None)
    ('95 %', '—')
    """
    return DASH if rate is None else f"{rate * 100:.0f} %"


def instant(at_ms: int) -> str:
    """An instant as machines read it; pages show it in the zone of whoever looks.

    >>> instant(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at_ms: int) -> str:
    """An instant for people without a script: in UTC.

    >>> clock(0)
    '1 Jan 00:00 UTC'
    """
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.day} {at:%b %H:%M} UTC"


def day(at_ms: int) -> str:
    """The day of an instant (UTC).

    >>> day(86_400_000)
    '2 Jan'
    """
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.day} {at:%b}"


def plural(number: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "task"), plural(3, "task")
    ('1 task', '3 tasks')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
