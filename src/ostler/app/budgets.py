"""What `ostler budget` does: reads the hub's ledger beside it, and writes to it while no hub runs.

A read is one snapshot of the ledger. While a hub has its file, `record` has the hub write, and always where the ledger
is in a database server.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import msgspec

from ostler.app.ledgers import ledger_of, parts_beside
from ostler.app.prices import book_of, current_table
from ostler.budget.burn import Burn, burn
from ostler.budget.limits import Gate, Level, SpentOf, Standing, gate, spans, standing, worst
from ostler.budget.prices import PriceBook, basis_of, cost_micro_usd
from ostler.budget.subscriptions import SubscriptionStanding, subscription_of, subscription_standing
from ostler.budget.windows import DAY_MS, extent
from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.config.load import load_source
from ostler.config.settings import BillingType, LoadedProfile
from ostler.config.sources import Source, find_profile
from ostler.domain.allowances import Reported
from ostler.domain.commands import Refused
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, nearest
from ostler.domain.fleet import ProbeStatus
from ostler.domain.ledger import NOTHING, Amount, Basis, EntryKind, LedgerEntry, LedgerQuery, Scopes, Span, Spent
from ostler.domain.limits import Limit, PartOf, ScopeKind, Subscription, Unit, Window, WindowKind
from ostler.fleet.cache import ProbeCache
from ostler.hub.spending_views import Spending
from ostler.routing.gatekeeping import payable, plan_words
from ostler.store.ledger_file import LedgerFile

WEEK_DAYS = 7
PAGE = 10_000
NEWEST_ENTRIES = 100_000


class RecommendRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could serve, the best one first."""

    provider: str
    billing: str
    level: Level
    reason: str
    healthy: bool | None = None
    """As last checked; `None` = not checked lately."""


class DriftRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls by the tier that was asked for."""

    asked: str
    ran: str
    calls: int


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Budgets:
    """One look at the budget of a profile."""

    def __init__(self, profile: str | None) -> None:
        self.source: Source = find_profile(profile, os.environ, Path.cwd())
        self.profile: LoadedProfile = load_source(self.source, os.environ, Path.cwd())
        self.policy = self.profile.policy.budget
        self.catalog = self.profile.policy.catalog
        self.ledger = ledger_of(self.profile.hub, patience_s=0.5)
        self.now_ms = _now_ms()

    @property
    def book(self) -> PriceBook:
        """The prices to reckon with."""
        return book_of(current_table(self.profile), self.policy)

    def providers(self) -> list[str]:
        """All providers of the profile, by name."""
        return sorted({spec.provider for spec in self.catalog.endpoints.values()} | set(self.policy.provider_priority))

    def provider(self, name: str) -> str:
        """A provider of the profile. Raises `NotFoundError` with the nearest name."""
        if name not in self.providers():
            raise NotFoundError(f"the profile has no provider {name}", remedy=nearest(name, self.providers()))
        return name

    def gate(self, scopes: Scopes, *, estimate: Amount = NOTHING, critical: bool = False) -> Gate:
        """What the limits say about work of these scopes."""
        plan = subscription_of(self.policy.subscriptions, scopes.provider)
        limits = payable(self.policy.limits, covered=plan is not None)
        sums = self._sums(spans(limits, scopes, self.now_ms))
        found = gate(limits, scopes, self.now_ms, sums, estimate=estimate, critical=critical, parts=self.parts)
        return found if plan is None else self._covered(found, plan, critical=critical)

    def _covered(self, found: Gate, plan: Subscription, *, critical: bool) -> Gate:
        """The same where a subscription pays: exhausted when nothing is left of it, degraded near its end."""
        one = self.subscription(plan, critical=critical)
        level = Level.EXHAUSTED if not one.usable else Level.DEGRADED if one.near_end else Level.OK
        if list(Level).index(level) <= list(Level).index(found.level):
            return found
        return Gate(level=level, standings=found.standings, note=plan_words(one), until_ms=one.resets_ms)

    def standings(self) -> list[Standing]:
        """Every limit, for each provider, session, ... that it counts and that was ever charged."""
        found: list[Standing] = []
        for limit in self.policy.limits:
            values = [limit.of] if limit.of or limit.scope is ScopeKind.ALL else self.ledger.charged(limit.scope)
            rows = (standing(limit, value, self.now_ms, self.spent, parts=self.parts) for value in values)
            found += [row for row in rows if row is not None]
        return found

    def subscriptions(self) -> list[SubscriptionStanding]:
        """Every subscription now."""
        return [self.subscription(one) for one in self.policy.subscriptions]

    def subscription(self, plan: Subscription, *, critical: bool = False) -> SubscriptionStanding:
        """One of them."""
        return subscription_standing(plan, self.now_ms, self.spent, reports=self.reports, critical=critical)

    @cached_property
    def parts(self) -> PartOf | None:
        """What other pools of the database say of limits that they have together with this one."""
        return parts_beside(self.ledger, self.policy)

    @cached_property
    def reports(self) -> list[Reported]:
        """What providers last reported of their windows."""
        return self.ledger.reported()

    @cached_property
    def newest(self) -> list[LedgerEntry]:
        """The newest entries of the ledger, the newest first."""
        return self.ledger.entries(LedgerQuery(newest_first=True, limit=NEWEST_ENTRIES))

    def unsure(self) -> list[LedgerEntry]:
        """Of each attempt of which nobody knows how it ended, the entry that takes it to have cost what it held."""
        last: dict[str, LedgerEntry] = {}
        for entry in self.newest:
            last.setdefault(entry.attempt, entry)
        return [entry for entry in last.values() if entry.ambiguous]

    def spent(self, span: Span) -> Spent:
        """One sum."""
        return self.ledger.spent([span])[0]

    def today(self, provider: str) -> int:
        """Micro-dollars of today, held ones included."""
        return self.spent(self._day(provider, self.now_ms)).total(Unit.USD)

    def burn(self, provider: str) -> Burn:
        """How fast money goes today; an empty provider = all together."""
        day = self._day(provider, self.now_ms)
        limit = next(
            (one for one in self.policy.limits if one.of == provider and one.scope is ScopeKind.PROVIDER), None
        )
        one = standing(limit, provider, self.now_ms, self.spent, parts=self.parts) if limit is not None else None
        found = extent(Window(kind=WindowKind.DAY, zone=self.profile.budget.time_zone), self.now_ms)
        days, start_ms = [], day.start_ms
        for _ in range(WEEK_DAYS):
            days.append(self._day(provider, start_ms - 1))
            start_ms = days[-1].start_ms
        return burn(
            self.spent(day).total(Unit.USD),
            start_ms=day.start_ms,
            now_ms=self.now_ms,
            ceiling=max(0, one.ceiling - one.elsewhere) if one is not None and one.ceiling is not None else None,
            resets_ms=found.resets_ms if found is not None else None,
            days=[one.total(Unit.USD) for one in self.ledger.spent(days)],
        )

    def spending(
        self, scopes: Scopes, amount: Amount, *, cost: bool, attempt: str = "", asked_tier: str = ""
    ) -> Spending:
        """Work that was done elsewhere, with its price. Raises `InvalidInputError` when it has none."""
        basis = Basis.REPORTED
        if not cost:
            quote = self.book.quote(scopes.provider, scopes.model)
            if quote is None:
                remedy = "say --cost, or give the model a price under `models`"
                raise InvalidInputError(f"no price is known of {scopes.provider}/{scopes.model}", remedy=remedy)
            amount = msgspec.structs.replace(amount, micro_usd=cost_micro_usd(quote.price, amount))
            basis = basis_of(quote)
        if subscription_of(self.policy.subscriptions, scopes.provider) is not None:
            # It costs nothing more; what it is worth counts for the allowances.
            amount = msgspec.structs.replace(amount, micro_usd=0, covered_micro_usd=amount.micro_usd)
            basis = Basis.SUBSCRIPTION
        name = attempt or f"record/{uuid4().hex}"
        return Spending(attempt=name, amount=amount, basis=basis, scopes=scopes, asked_tier=asked_tier)

    def record(self, spending: Spending) -> int:
        """Charge it; micro-dollars, 0 when it was charged before. The hub that has the ledger does, where one runs;
        else it is written here. Raises `ConflictError` when somebody else has the ledger.
        """
        if not isinstance(self.ledger, LedgerFile):
            hub = self._hub()
            if hub is None:
                remedy = "start a hub here, or name one that runs in OSTLER_HUB"
                raise ConflictError("only a hub writes to a ledger in a database server", remedy=remedy)
            return hub.record_spending(spending).charged_micro_usd
        known = self.ledger.entries(LedgerQuery(attempt=spending.attempt, limit=1))
        try:
            (answer,) = self.ledger.apply([spending.settled(self.now_ms)])
        except ConflictError:
            hub = self._hub()
            if hub is None:
                raise
            return hub.record_spending(spending).charged_micro_usd
        if isinstance(answer, Refused):
            raise ConflictError(answer.message)
        return 0 if known else spending.amount.micro_usd

    def _hub(self) -> HubClient | None:
        """The hub that runs in the folder of the profile, or the one that `OSTLER_HUB` names."""
        try:
            url = json.loads((Path(self.profile.hub.data_dir) / "hub.json").read_bytes())["url"]
        except (OSError, ValueError, KeyError, TypeError):
            url = os.environ.get("OSTLER_HUB")
        return HubClient(Transport(str(url), os.environ.get("OSTLER_TOKEN") or None)) if url else None

    def recommend(self, tier: str = "") -> list[RecommendRow]:
        """Providers that serve a tier (any, when empty), the best first: subscriptions with allowance in time of their
        pace, then those within budget by priority, then degraded ones; what is exhausted or known to be down is last.
        """
        standing_of = {one.subscription.provider: one for one in self.subscriptions()}
        health = self._health()
        rows = []
        for place, name in enumerate(self._ranked()):
            if not self._serves(name, tier):
                continue
            level = self.gate(Scopes(provider=name, tier=tier)).level
            subscription = standing_of.get(name)
            billing = BillingType.TOKEN if subscription is None else BillingType.SUBSCRIPTION
            reason = "within budget" if level is Level.OK else str(level.value)
            if subscription is not None:
                reason = "allowance is left" if subscription.preferred else subscription.reason or "not preferred"
            preferred = subscription is not None and subscription.preferred
            row = RecommendRow(
                provider=name, billing=billing.value, level=level, reason=reason, healthy=health.get(name)
            )
            rows.append(((row.healthy is False, list(Level).index(level), not preferred, place), row))
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    def drift(self, days: int) -> list[DriftRow]:
        """Calls whose tier was asked for, by where they ran."""
        counts: dict[tuple[str, str], int] = {}
        for entry in self._entries(self.now_ms - days * DAY_MS):
            if entry.asked_tier and entry.kind is EntryKind.SETTLE:
                key = entry.asked_tier, entry.scopes.tier
                counts[key] = counts.get(key, 0) + 1
        return [DriftRow(asked=asked, ran=ran, calls=counts[asked, ran]) for asked, ran in sorted(counts)]

    def daily(self, provider: str) -> Limit | None:
        """The limit of a provider's day."""
        return next((one for one in self.policy.limits if one.name == f"{provider}-day"), None)

    def worst(self) -> Gate:
        """All limits together."""
        return worst(self.standings())

    def _entries(self, since_ms: int) -> Iterable[LedgerEntry]:
        after = 0
        while page := self.ledger.entries(LedgerQuery(after_seq=after, since_ms=since_ms, limit=PAGE)):
            yield from page
            after = page[-1].seq

    def _sums(self, asked: Sequence[Span]) -> SpentOf:
        return dict(zip(asked, self.ledger.spent(asked), strict=True)).__getitem__

    def _day(self, provider: str, at_ms: int) -> Span:
        found = extent(Window(kind=WindowKind.DAY, zone=self.profile.budget.time_zone), at_ms)
        assert found is not None  # noqa: S101 - a day is never outside of itself
        scope = ScopeKind.PROVIDER if provider else ScopeKind.ALL
        return Span(scope=scope, value=provider, start_ms=found.start_ms, end_ms=found.end_ms)

    def _ranked(self) -> list[str]:
        first = [name for name in self.policy.provider_priority if name in self.providers()]
        return [*first, *(name for name in self.providers() if name not in first)]

    def _serves(self, provider: str, tier: str) -> bool:
        specs = [spec for spec in self.catalog.endpoints.values() if spec.provider == provider and spec.enabled]
        tiers = [one for one in self.catalog.tiers if one.enabled and (not tier or one.name == tier)]
        return any(
            (not one.providers or provider in one.providers) and (not spec.models or model in spec.models)
            for spec in specs
            for one in tiers
            for model in one.models
        )

    def _health(self) -> dict[str, bool]:
        specs = sorted(self.catalog.endpoints.values(), key=lambda spec: spec.name)
        cache = ProbeCache(Path(self.profile.hub.data_dir), os.environ)
        fresh = cache.fresh(specs, self.now_ms)
        health: dict[str, bool] = {}
        for spec in specs:
            if spec.name in fresh:
                health[spec.provider] = (
                    health.get(spec.provider, False) or fresh[spec.name].status is ProbeStatus.AVAILABLE
                )
        return health
