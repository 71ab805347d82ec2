"""The page of money: sums from the mirror of the ledger, and what only its newest entries tell.

Sums are asked of the mirror, which has them added up by the day. Unknown prices and fallbacks are read off the newest
`ENTRIES_MAX` entries. O(limits + providers + tiers + models + entries).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from ostler.budget.burn import burn
from ostler.budget.limits import Level, Standing, standing
from ostler.budget.mirror import Mirror
from ostler.budget.subscriptions import subscription_standing
from ostler.budget.windows import DAY_MS, extent
from ostler.domain.allowances import Reported
from ostler.domain.ledger import Basis, EntryKind, LedgerEntry, Span, Spent
from ostler.domain.limits import BudgetPolicy, Limit, PartOf, ScopeKind, Unit, Window, WindowKind
from ostler.hub.board_views import DaySpent, Money, SpentRow, UnknownRow

ENTRIES_MAX = 5_000
SCOPES_MAX = 20
"""Scopes of one limit (providers, sessions, ...) that are shown, those with the least left first."""
DAYS = 14
WEEK_DAYS = 7
_ENDS = frozenset({EntryKind.SETTLE, EntryKind.ADJUST})
_BADNESS = {Level.EXHAUSTED: 0, Level.DEGRADED: 1, Level.OK: 2}


def money(
    mirror: Mirror,
    budget: BudgetPolicy,
    charged: Mapping[ScopeKind, Sequence[str]],
    entries: Sequence[LedgerEntry],
    fell_back: Collection[str],
    now_ms: int,
    reports: Iterable[Reported] = (),
    parts: PartOf | None = None,
) -> Money:
    """The state of this moment. `charged`: every scope the ledger has an entry of; `entries`: the newest of it;
    `fell_back`: tasks that ran somewhere else than they should have; `reports`: what providers say of subscriptions;
    `parts`: of limits that other pools have too.
    """
    said = tuple(reports)
    standings, left_out = _standings(mirror, budget.limits, charged, now_ms, parts)
    today, month = _span(WindowKind.DAY, now_ms), _span(WindowKind.MONTH, now_ms)
    first_ms = today.start_ms - (DAYS - 1) * DAY_MS
    by_day = _fallbacks(entries, fell_back, first_ms)
    days = tuple(
        DaySpent(
            start_ms=start_ms,
            micro_usd=_used(mirror, start_ms, start_ms + DAY_MS),
            fallback_micro_usd=by_day.get(start_ms, 0),
        )
        for start_ms in range(first_ms, today.end_ms, DAY_MS)
    )
    week = [day.micro_usd for day in days[-WEEK_DAYS - 1 : -1]]
    left = (max(0, one.ceiling - one.elsewhere) for one in standings if _is_the_day(one) and one.ceiling is not None)
    ceiling = min(left, default=None)
    spent = mirror.spent(today)
    return Money(
        now_ms=now_ms,
        today=burn(
            spent.total(Unit.USD),
            start_ms=today.start_ms,
            now_ms=now_ms,
            ceiling=ceiling,
            resets_ms=today.end_ms,
            days=week,
        ),
        month_micro_usd=mirror.spent(month).used.micro_usd,
        held_micro_usd=spent.held.micro_usd,
        limits=standings,
        limits_left_out=left_out,
        subscriptions=tuple(
            subscription_standing(one, now_ms, mirror.spent, reports=said) for one in budget.subscriptions
        ),
        providers=_rows(mirror, ScopeKind.PROVIDER, charged, today, month),
        tiers=_rows(mirror, ScopeKind.TIER, charged, today, month),
        models=_rows(mirror, ScopeKind.MODEL, charged, today, month),
        days=days,
        unknown=_unknown(entries),
        entries=len(entries),
    )


def _span(kind: WindowKind, now_ms: int) -> Span:
    """The day or the month (UTC) of this moment, of all work."""
    found = extent(Window(kind=kind), now_ms)
    assert found is not None  # noqa: S101 - a day is never outside of itself
    return Span(scope=ScopeKind.ALL, start_ms=found.start_ms, end_ms=found.end_ms)


def _used(mirror: Mirror, start_ms: int, end_ms: int) -> int:
    return mirror.spent(Span(scope=ScopeKind.ALL, start_ms=start_ms, end_ms=end_ms)).used.micro_usd


def _is_the_day(one: Standing) -> bool:
    limit = one.limit
    return limit.scope is ScopeKind.ALL and limit.window.kind is WindowKind.DAY and limit.unit is Unit.USD


def _standings(
    mirror: Mirror,
    limits: Iterable[Limit],
    charged: Mapping[ScopeKind, Sequence[str]],
    now_ms: int,
    parts: PartOf | None,
) -> tuple[tuple[Standing, ...], int]:
    """Every limit for whom it counts, the worst first, and how many scopes are left out."""
    shown: list[Standing] = []
    left_out = 0
    for limit in limits:
        one_scope = limit.of or limit.scope is ScopeKind.ALL
        values = [limit.of] if one_scope else charged.get(limit.scope, ())
        rows = (standing(limit, value, now_ms, mirror.spent, parts=parts) for value in values)
        found = [one for one in rows if one is not None]
        found.sort(key=lambda one: (_BADNESS[one.level], one.left_share, one.value))
        shown += found[:SCOPES_MAX]
        left_out += len(found[SCOPES_MAX:])
    return tuple(
        sorted(shown, key=lambda one: (_BADNESS[one.level], one.left_share, one.limit.name, one.value))
    ), left_out


def _rows(
    mirror: Mirror, kind: ScopeKind, charged: Mapping[ScopeKind, Sequence[str]], today: Span, month: Span
) -> tuple[SpentRow, ...]:
    """What each scope of a kind came to, the dearest of this month first."""

    def of(value: str, whole: Span) -> Spent:
        return mirror.spent(Span(scope=kind, value=value, start_ms=whole.start_ms, end_ms=whole.end_ms))

    rows = []
    for name in charged.get(kind, ()):
        in_month = of(name, month)
        rows.append(
            SpentRow(
                name=name,
                today_micro_usd=of(name, today).used.micro_usd,
                month_micro_usd=in_month.used.micro_usd,
                held_micro_usd=in_month.held.micro_usd,
                tokens=in_month.used.tokens,
                requests=in_month.used.requests,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.month_micro_usd, row.name)))


def _fallbacks(entries: Iterable[LedgerEntry], fell_back: Collection[str], since_ms: int) -> dict[int, int]:
    """Micro-dollars of work that left its preferred place, by the day it is charged to."""
    found: dict[int, int] = {}
    for entry in entries:
        strayed = entry.asked_tier not in {"", entry.scopes.tier} or entry.scopes.task in fell_back
        if entry.kind in _ENDS and strayed and entry.charged_ms >= since_ms:
            day_ms = entry.charged_ms - entry.charged_ms % DAY_MS
            found[day_ms] = found.get(day_ms, 0) + entry.amount.micro_usd
    return found


def _unknown(entries: Iterable[LedgerEntry]) -> tuple[UnknownRow, ...]:
    """Ended calls without a known price."""
    found: dict[tuple[str, str], list[int]] = {}
    for entry in entries:
        if entry.kind in _ENDS and entry.basis is Basis.UNKNOWN:
            found.setdefault((entry.scopes.provider, entry.scopes.model), []).append(entry.amount.micro_usd)
    return tuple(
        UnknownRow(provider=provider, model=model, calls=len(costs), micro_usd=sum(costs))
        for (provider, model), costs in sorted(found.items())
    )
