"""Numbers in the words of people: instants, durations, money, sizes. Pure."""

from ostler.domain.money import exact_usd_text, usd_text
from ostler.domain.states import Question

NONE = "-"
"""What stands where nothing is known."""

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))


def duration(ms: int) -> str:
    """A duration in its two largest units.

    >>> duration(950), duration(2_500), duration(12_400), duration(75_000), duration(7_200_000), duration(90_000_000)
    ('950 ms', '2.5 s', '12 s', '1 min 15 s', '2 h', '1 d 1 h')
    """
    if ms < 1_000:  # noqa: PLR2004 -- below a second
        return f"{max(ms, 0)} ms" if ms > 0 else "0 s"
    if ms < _UNITS[2][1]:
        tenths = ms // 100
        return f"{tenths / 10:.1f} s" if tenths % 10 and tenths < 100 else f"{tenths // 10} s"  # noqa: PLR2004
    parts: list[str] = []
    rest = ms
    for name, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:  # noqa: PLR2004 -- the two largest
            break
    return " ".join(part for part in parts if part)


def ago(at_ms: int | None, now_ms: int) -> str:
    """An instant relative to now.

    >>> ago(88_000, 100_000), ago(103_000, 100_000), ago(100_000, 100_000), ago(None, 5)
    ('12 s ago', 'in 3 s', 'now', '-')
    """
    if at_ms is None:
        return NONE
    if abs(now_ms - at_ms) < 1_000:  # noqa: PLR2004 -- below a second
        return "now"
    if at_ms > now_ms:
        return f"in {duration((at_ms - now_ms) // 1000 * 1000)}"
    return f"{duration((now_ms - at_ms) // 1000 * 1000)} ago"


def question_text(question: Question | None, now_ms: int) -> str:
    """What can be answered, who is to answer, until when, and what becomes of it without an answer.

    >>> question_text(Question(choices=("left", "right"), owner="ada", default="left", deadline_ms=60_000), 0)
    "left | right, for ada, within 1 min, else 'left'"
    """
    if question is None:
        return ""
    parts = (
        " | ".join(question.choices),
        f"for {question.owner}" if question.owner else "",
        deadline_text(question.default, question.deadline_ms, now_ms),
    )
    return ", ".join(part for part in parts if part)


def deadline_text(default: str | None, deadline_ms: int | None, now_ms: int) -> str:
    """Until when an answer is waited for, and what is taken else.

    >>> deadline_text("left", 60_000, 0), deadline_text("left", None, 0), deadline_text(None, 60_000, 61_000)
    ("within 1 min, else 'left'", "default 'left'", 'overdue')
    """
    if deadline_ms is None:
        return f"default '{default}'" if default is not None else ""
    left_ms = deadline_ms - now_ms
    within = f"within {duration(left_ms)}" if left_ms > 0 else "overdue"
    return within if default is None else f"{within}, else '{default}'"


def money(micro_usd: int | None) -> str:
    """An amount; unknown is never shown as free.

    >>> money(1_500_000), money(0), money(None)
    ('$1.50', '$0.00', 'unknown')
    """
    return "unknown" if micro_usd is None else usd_text(micro_usd)


def exact_money(micro_usd: int | None) -> str:
    """An amount to the last micro-dollar; unknown is never shown as free.

    >>> exact_money(10_484), exact_money(0), exact_money(None)
    ('$0.010484', '$0.00', 'unknown')
    """
    return "unknown" if micro_usd is None else exact_usd_text(micro_usd)


def size(amount_bytes: int | None) -> str:
    """A size of memory.

    >>> size(5 * 1024**3), size(512 * 1024**2), size(None)
    ('5.0 GiB', '512 MiB', '-')
    """
    if amount_bytes is None:
        return NONE
    gib = 1024**3
    return f"{amount_bytes / gib:.1f} GiB" if amount_bytes >= gib else f"{amount_bytes // 1024**2} MiB"


def share(used: int | None, total: int | None) -> str:
    """A part of a whole in percent.

    >>> share(8, 32), share(None, 32), share(1, 0)
    ('25 %', '-', '-')
    """
    return f"{100 * used // total} %" if used is not None and total else NONE


def count(number: int, noun: str, plural: str = "") -> str:
    """A counted noun.

    >>> count(1, "task"), count(3, "task"), count(0, "retry", "retries")
    ('1 task', '3 tasks', '0 retries')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def words(items: tuple[str, ...] | list[str] | frozenset[str], limit: int = 4) -> str:
    """A short list; sets are sorted.

    >>> words(("a", "b")), words(()), words(tuple("abcdef"))
    ('a, b', '-', 'a, b, c, d, ... (6)')
    """
    listed = sorted(items) if isinstance(items, frozenset) else list(items)
    if not listed:
        return NONE
    return ", ".join(listed[:limit]) + (f", ... ({len(listed)})" if len(listed) > limit else "")
