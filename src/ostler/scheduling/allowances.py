"""What providers report of their subscriptions: kept by window, stored when it has moved, told of near the end.

The newest report of a window is the one that counts. It is stored when it moved by a percent or its window is a new
one, and else once in a while, so that a busy gateway does not write with every answer.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec.structs import replace

from ostler.budget.subscriptions import AllowanceStanding, subscription_of, subscription_standing
from ostler.domain.allowances import Reported
from ostler.domain.commands import PutAllowances
from ostler.domain.event import Event
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.effects import Apply
from ostler.scheduling.queue import BUDGET

SAVE_EVERY_MS = 60_000
MOVED_PERCENT = 1.0


def told(turn: Turn, provider: str, reports: Iterable[Reported]) -> None:
    """A provider, or an agent program that was paid by it, has told of its windows."""
    books, fresh, makes_room = turn.books, [], False
    for report in reports:
        one = replace(report, provider=report.provider or provider)
        key = one.provider, one.window
        known = books.allowances.known.get(key)
        if known is not None and known.at_ms > one.at_ms:
            continue
        books.allowances.known[key] = one
        makes_room = makes_room or known is None or one.used_percent < known.used_percent
        if known is None or _moved(books.allowances.saved.get(key), one):
            books.allowances.saved[key] = one
            fresh.append(one)
    if fresh:
        turn.effects.append(Apply(command=PutAllowances(reports=tuple(fresh))))
    if makes_room:
        books.queue.open_blocked_on(BUDGET)
    for name in sorted({report.provider or provider for report in reports}):
        looked_at(turn, name)


def restored(books: Books, reports: Iterable[Reported], now_ms: int) -> None:
    """Take up what is stored. What was near its end then was told of then."""
    for one in reports:
        books.allowances.known[one.provider, one.window] = books.allowances.saved[one.provider, one.window] = one
    for plan in books.policy.budget.subscriptions:
        for near, level in _levels(books, plan.provider, now_ms):
            books.allowances.alerted[plan.provider, near.allowance.name] = level


def looked_at(turn: Turn, provider: str) -> None:
    """Tell of the windows of a subscription that are near their end or used up, each once until it has room again."""
    books = turn.books
    if subscription_of(books.policy.budget.subscriptions, provider) is None:
        return
    found = {one.allowance.name: (one, level) for one, level in _levels(books, provider, turn.now_ms)}
    for name in [name for owner, name in books.allowances.alerted if owner == provider and name not in found]:
        del books.allowances.alerted[provider, name]
    for name, (one, level) in found.items():
        known = books.allowances.alerted.get((provider, name))
        books.allowances.alerted[provider, name] = level if known != "used_up" else known
        if known is None or (known, level) == ("near_end", "used_up"):
            turn.emit(_alert(provider, one, level, turn.now_ms))


def _levels(books: Books, provider: str, now_ms: int) -> list[tuple[AllowanceStanding, str]]:
    plan = subscription_of(books.policy.budget.subscriptions, provider)
    if plan is None:
        return []
    standing = subscription_standing(plan, now_ms, books.money.spent, reports=books.allowances.known.values())
    return [
        (one, "used_up" if one.used_up else "near_end")
        for one in standing.allowances
        if one.used_up or one.used_percent >= plan.warn_percent
    ]


def _alert(provider: str, one: AllowanceStanding, level: str, now_ms: int) -> Event:
    at = None if one.resets_ms is None else datetime.fromtimestamp(one.resets_ms / 1000, UTC)
    meta = {
        "provider": provider,
        "allowance": one.allowance.name,
        "level": level,
        "resets": at.strftime("%Y-%m-%d %H:%M UTC") if at is not None else None,
    }
    return Event(
        name="alert.allowance", at_ms=now_ms, measurements={"used_percent": round(one.used_percent, 1)}, metadata=meta
    )


def _moved(saved: Reported | None, one: Reported) -> bool:
    if saved is None or saved.resets_ms != one.resets_ms:
        return True
    moved = abs(saved.used_percent - one.used_percent) >= MOVED_PERCENT
    return moved or one.at_ms - saved.at_ms >= SAVE_EVERY_MS
