"""`BudgetTracker`: spending limits for a program of one's own, with its state in a file that several may share.

A month with a soft and a hard cap, a session, a tick. Reached means at or above: at the hard cap no cloud tier may be
called, at the soft cap none above the cheap cloud; a session stops at its cap, a tick at what it has spent and is about
to. Money is reserved before a call and settled after it, so that programs and threads that share the file cannot
overspend together; a call whose end nobody tells keeps what it reserved. A new month needs nothing: the same question
has another answer. State that is torn or was edited is an error, never an empty budget.

Amounts are US dollars as given by people; inside they are micro-dollars.
"""

import time
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from ostler.budget.limits import Gate, Level, bounds, gate, spans
from ostler.budget.presets import month_limit, session_limit, tick_limit
from ostler.budget.windows import EARLIEST_MS, LATEST_MS, zone_named
from ostler.domain.commands import Refused, Release, Reserve, Settle
from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.domain.four_tiers import Tier
from ostler.domain.ledger import Amount, Basis, Scopes, Span, Spent, tick_name
from ostler.domain.limits import Limit, ScopeKind
from ostler.domain.money import MICRO_USD_PER_USD, micro_usd
from ostler.store.ledger_file import LedgerFile

SOFT_SHARE_PERCENT = 80


class BudgetExceededError(ConflictError):
    """A reservation would pass a cap; `limit` is its name: `month`, `session` or `tick`."""

    code = "budget_exceeded"

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class Reservation:
    """Money held for one call. End it once; a second end changes nothing."""

    def __init__(self, ledger: LedgerFile, attempt: str, now_ms: Callable[[], int]) -> None:
        self.attempt = attempt
        self._ledger = ledger
        self._now_ms = now_ms

    def settle(self, cost: float, *, tokens: int = 0) -> None:
        """Charge what the call came to."""
        amount = Amount(micro_usd=_micro(cost, "cost"), input_tokens=tokens)
        self._ledger.apply([Settle(attempt=self.attempt, at_ms=self._now_ms(), amount=amount)])

    def release(self) -> None:
        """Give it back: the call was never sent."""
        self._ledger.apply([Release(attempt=self.attempt, at_ms=self._now_ms())])


class BudgetTracker:
    """Enforces a month's, a session's and a tick's cap. `None` = no such cap, 0 = nothing may be spent.

    A soft cap that is not given is 80 % of the hard one. `session` names this run; another name has its own cap.
    Raises `InvalidInputError` for caps that cannot be, `StoreError` for state that cannot be trusted.
    """

    def __init__(
        self,
        path: str | Path = "data/shared/budget_state.db",
        *,
        monthly_hard_cap: float | None = 20.0,
        monthly_soft_cap: float | None = None,
        per_session_cap: float | None = 2.0,
        per_tick_cap: float | None = 0.10,
        session: str | None = None,
        time_zone: str = "UTC",
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self.session = session if session is not None else uuid4().hex
        self._ledger = LedgerFile(path)
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        hard, soft = _cap(monthly_hard_cap, "monthly_hard_cap"), _cap(monthly_soft_cap, "monthly_soft_cap")
        if monthly_soft_cap is None and hard is not None:
            soft = hard * SOFT_SHARE_PERCENT // 100
        if hard is not None and soft is not None and soft > hard:
            raise InvalidInputError("the soft cap is above the hard one", where="monthly_soft_cap", remedy="lower it")
        try:
            zone_named(time_zone)
        except ValueError as error:
            raise InvalidInputError(str(error), where="time_zone") from None
        found = (
            month_limit(hard, soft, zone=time_zone),
            session_limit(_cap(per_session_cap, "per_session_cap")),
            tick_limit(_cap(per_tick_cap, "per_tick_cap")),
        )
        self.limits: tuple[Limit, ...] = tuple(limit for limit in found if limit is not None)

    def check(self, estimate: float = 0.0, *, tick: str = "") -> Gate:
        """What the caps say about a call that is expected to cost this much: level, and the cap that binds."""
        scopes, now_ms = self._scopes("", tick), self._now_ms()
        asked = spans(self.limits, scopes, now_ms)
        sums = dict(zip(asked, self._ledger.spent(asked), strict=True))
        amount = Amount(micro_usd=_micro(estimate, "estimate"))
        return gate(self.limits, scopes, now_ms, sums.__getitem__, estimate=amount)

    def can_spend(self, estimate: float = 0.0, *, tick: str = "") -> bool:
        """Whether a paid call may be made: exactly up to a cap may, above it may not."""
        return self.check(estimate, tick=tick).admits

    def highest_tier(self, estimate: float = 0.0, *, tick: str = "") -> Tier:
        """The dearest tier that may be called: local ones alone at a hard cap, the cheap cloud at the soft one."""
        level = self.check(estimate, tick=tick).level
        if level is Level.EXHAUSTED:
            return Tier.LOCAL_STRONG
        return Tier.CHEAP_CLOUD if level is Level.DEGRADED else Tier.EXPENSIVE_CLOUD

    def reserve(self, estimate: float, *, tier: str = "", tick: str = "", attempt: str | None = None) -> Reservation:
        """Hold money before a call. Raises `BudgetExceededError`. The same `attempt` again holds nothing more."""
        scopes, now_ms, name = self._scopes(tier, tick), self._now_ms(), attempt or uuid4().hex
        command = Reserve(
            attempt=name,
            at_ms=now_ms,
            amount=Amount(micro_usd=_micro(estimate, "estimate")),
            basis=Basis.ESTIMATED,
            scopes=scopes,
            bounds=bounds(self.limits, scopes, now_ms),
        )
        (answer,) = self._ledger.apply([command])
        if isinstance(answer, Refused):
            raise BudgetExceededError(answer.message, answer.limit)
        return Reservation(self._ledger, name, self._now_ms)

    def record(self, cost: float, *, tier: str = "", tick: str = "", tokens: int = 0) -> None:
        """Charge a call that was made without a reservation: what is spent is spent, also beyond a cap."""
        amount = Amount(micro_usd=_micro(cost, "cost"), input_tokens=tokens)
        command = Settle(
            attempt=uuid4().hex, at_ms=self._now_ms(), amount=amount, basis=Basis.REPORTED,
            scopes=self._scopes(tier, tick),
        )  # fmt: skip
        self._ledger.apply([command])

    def status(self) -> Mapping[str, Any]:
        """Level, what is left of each cap, all that was ever spent, and by tier; dollars."""
        found = self.check()
        tiers = self._ledger.charged(ScopeKind.TIER)
        asked = [_ever(ScopeKind.ALL, ""), *(_ever(ScopeKind.TIER, tier) for tier in tiers)]
        total, *by_tier = self._ledger.spent(asked)
        return {
            "level": found.level.value,
            "binding": found.binding.limit.name if found.binding is not None else None,
            "remaining": {one.limit.name: _usd(one.left) for one in found.standings if one.left is not None},
            "total_spent": _spent_usd(total),
            "by_tier": {tier: _spent_usd(spent) for tier, spent in zip(tiers, by_tier, strict=True)},
        }

    def _scopes(self, tier: str, tick: str) -> Scopes:
        return Scopes(tier=tier, session=self.session, tick=tick_name(self.session, tick))


def _ever(kind: ScopeKind, value: str) -> Span:
    return Span(scope=kind, value=value, start_ms=EARLIEST_MS, end_ms=LATEST_MS)


def _cap(dollars: float | None, name: str) -> int | None:
    if dollars is not None:
        _micro(dollars, name)
    return None if dollars is None else micro_usd(dollars)


def _micro(dollars: float, name: str) -> int:
    """Rounded up: a call is never charged less than it cost."""
    if not 0 <= dollars < float("inf"):
        raise InvalidInputError(f"{dollars} is no amount of money", where=name, remedy="0 or more US dollars")
    return int((Decimal(str(dollars)) * MICRO_USD_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def _usd(amount: int) -> float:
    return amount / MICRO_USD_PER_USD


def _spent_usd(spent: Spent) -> float:
    return _usd(spent.used.micro_usd + spent.held.micro_usd)
