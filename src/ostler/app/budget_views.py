"""What the verbs of `ostler budget` print: limits, rates and workloads in words and as data."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ostler.app.budgets import Budgets, DriftRow, RecommendRow
from ostler.app.offline import declared_fleet
from ostler.app.savings import savings
from ostler.budget.limits import Gate, Level, Standing, amount_text
from ostler.budget.prices import cost_micro_usd
from ostler.budget.subscriptions import SubscriptionStanding
from ostler.budget.windows import EARLIEST_MS, LATEST_MS
from ostler.domain.decision import Route, RouteRequest
from ostler.domain.errors import InvalidInputError
from ostler.domain.ledger import Amount, Scopes, Span, tick_name
from ostler.domain.limits import ScopeKind, Unit
from ostler.domain.money import micro_usd, usd_text
from ostler.domain.tasks import TaskSpec
from ostler.routing.decide import decide
from ostler.routing.facts import describe
from ostler.routing.gatekeeping import elsewhere_words

_PERCENT = 100
NOTED_PERCENT, WARNED_PERCENT = 25, 50
ACTIONS = {Level.OK: "proceed", Level.DEGRADED: "cheaper_tier", Level.EXHAUSTED: "block"}


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether work may run now. Dollars."""

    provider: str
    billing_type: str
    status: str
    recommended_action: str
    binding_limit: str | None
    daily_budget: float | None
    today_spend: float
    pct_used: float | None
    """Of the day's budget; never cut to a whole number."""
    degradation_pct: int
    exhaustion_pct: int
    detail: str


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A limit in words."""

    limit: str
    of: str
    level: str
    used: str
    held: str
    left: str
    resets: str
    elsewhere: str = ""
    """What other pools of the database have spent of it, and hold; empty = it is this pool's alone."""
    used_amount: int
    held_amount: int
    left_amount: int | None
    """Of the whole, for all pools."""
    elsewhere_amount: int = 0
    kept_amount: int = 0
    """What other pools keep for what comes there; they give it back to who needs it."""
    pools: tuple[str, ...] = ()
    """The others that have it too."""
    unit: str


class AllowanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a subscription. `reported`: by the provider's own figure, `used` is our own."""

    allowance: str
    used_percent: float
    open_percent: float
    """What an even pace has opened of it, the reserve left out."""
    reported: bool
    resets: str
    used: str = ""


class SubscriptionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription in words."""

    provider: str
    usable: bool
    preferred: bool
    near_end: bool
    detail: str
    allowances: tuple[AllowanceRow, ...] = ()


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that limits."""

    level: str
    limits: tuple[LimitRow, ...]
    subscriptions: tuple[SubscriptionRow, ...]
    total: str
    total_micro_usd: int
    covered: str
    """What subscriptions covered, at list prices; empty = nothing."""
    covered_micro_usd: int
    unsure: str
    """What attempts were taken to have cost of which nobody knows how they ended; empty = none."""
    unsure_micro_usd: int
    unsure_attempts: int
    saved: str
    """What local work would have cost; empty = nothing was reckoned."""
    saved_micro_usd: int = 0
    saved_of: str = ""
    """On which model: the counterfactual by name."""

    @property
    def total_line(self) -> str:
        """The last line."""
        covered = f"; subscriptions covered {self.covered} at list prices" if self.covered else ""
        many = f"{self.unsure_attempts} attempt{'s' if self.unsure_attempts > 1 else ''} nobody knows the end of"
        unsure = f", of that {self.unsure} for {many}" if self.unsure else ""
        return f"spent in all: {self.total}{unsure}{covered}"


class BurnView(msgspec.Struct, frozen=True, kw_only=True):
    """How fast money goes. Dollars."""

    provider: str
    today_spend: float
    per_hour: float
    left: float | None
    hours_to_exhaustion: float | None
    outlasts_day: bool
    mean_7_days: float

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Line by line."""
        hours = "never at this rate" if self.hours_to_exhaustion is None else f"{self.hours_to_exhaustion:.1f}"
        return (
            ("today", f"${self.today_spend:.2f}"),
            ("an hour", f"${self.per_hour:.2f}"),
            ("left today", "no limit" if self.left is None else f"${self.left:.2f}"),
            ("hours to exhaustion", hours + (" (the day is over before)" if self.outlasts_day and self.left else "")),
            ("mean of 7 days", f"${self.mean_7_days:.2f}"),
        )


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of tasks would cost."""

    tasks: int
    micro_usd: int
    max_micro_usd: int
    unpriced: tuple[str, ...]
    """Tasks on a model whose price is not known; they are in the sum at the conservative price."""
    passes: bool


class DriftView(msgspec.Struct, frozen=True, kw_only=True):
    """Requested against actual tiers."""

    rows: tuple[DriftRow, ...]
    calls: int
    drifted: int
    share_percent: float
    level: str
    """`ok`, `notice` or `warn`."""


def check_view(profile: str | None, provider: str | None, **fields: object) -> CheckView:
    """Whether work may run now. Raises `NotFoundError` for an unknown provider."""
    budgets = Budgets(profile)
    name = budgets.provider(provider) if provider else ""
    session, tick = str(fields["session"]), str(fields["tick"])
    scopes = Scopes(provider=name, tier=str(fields["tier"]), session=session, tick=tick_name(session, tick))
    estimate = Amount(micro_usd=micro_usd(float(str(fields["estimate"]))))
    found = budgets.gate(scopes, estimate=estimate, critical=bool(fields["critical"]))
    settings = budgets.profile.budget.providers.get(name)
    day = settings.daily_budget_micro_usd if settings is not None else None
    today = budgets.today(name)
    return CheckView(
        provider=name,
        billing_type=settings.billing.value if settings is not None else "token",
        status=found.level.value,
        recommended_action=ACTIONS[found.level],
        binding_limit=found.binding.limit.name if found.binding is not None else None,
        daily_budget=_usd(day) if day is not None else None,
        today_spend=_usd(today),
        pct_used=_PERCENT * today / day if day else None,
        degradation_pct=settings.degrade_percent if settings is not None else 80,
        exhaustion_pct=settings.exhaust_percent if settings is not None else 95,
        detail=gate_text(found),
    )


def gate_text(found: Gate) -> str:
    """The limit that binds, in words."""
    one = found.binding
    if one is None:
        return found.note or "no limit counts it"
    left = "" if one.left is None else f", {amount_text(one.left, one.limit.unit)} left"
    held = f" and {amount_text(one.held, one.limit.unit)} held" if one.held else ""
    whose = f" of {one.value}" if one.value else ""
    used = amount_text(one.used, one.limit.unit)
    return f"limit {one.limit.name}{whose}: {used} used{held}{left}{elsewhere_words(one)}"


def status_view(profile: str | None) -> StatusView:
    """Everything that limits, and what was spent in all."""
    budgets = Budgets(profile)
    rows = tuple(_limit_row(one) for one in budgets.standings())
    subscriptions = tuple(map(_subscription_row, budgets.subscriptions()))
    spent = budgets.spent(Span(scope=ScopeKind.ALL, start_ms=EARLIEST_MS, end_ms=LATEST_MS))
    total, worth = spent.total(Unit.USD), spent.total(Unit.WORTH)
    saved, unsure = savings(budgets), budgets.unsure()
    doubtful = sum(entry.amount.micro_usd for entry in unsure)
    return StatusView(
        level=budgets.worst().level.value,
        limits=rows,
        subscriptions=subscriptions,
        total=usd_text(total),
        total_micro_usd=total,
        covered=usd_text(worth - total) if worth > total else "",
        covered_micro_usd=worth - total,
        unsure=usd_text(doubtful) if unsure else "",
        unsure_micro_usd=doubtful,
        unsure_attempts=len(unsure),
        saved=usd_text(saved.micro_usd) if saved.micro_usd else "",
        saved_micro_usd=saved.micro_usd,
        saved_of=saved.of,
    )


def record_spending(profile: str | None, **fields: object) -> int:
    """Charge a call; micro-dollars. Raises `InvalidInputError` when two flags contradict each other."""
    tier, actual = str(fields["tier"]), str(fields["actual_tier"])
    if tier and actual and tier != actual:
        raise InvalidInputError("--tier and --actual-tier name two tiers", where="record", remedy="keep one")
    cost = fields["cost"]
    budgets = Budgets(profile)
    scopes = Scopes(
        provider=budgets.provider(str(fields["provider"])),
        model=str(fields["model"]),
        tier=tier or actual,
        task=str(fields["task"]),
        session=str(fields["session"]),
        tick=tick_name(str(fields["session"]), str(fields["tick"])),
    )
    amount = Amount(
        micro_usd=micro_usd(float(str(cost))) if cost is not None else 0,
        input_tokens=int(str(fields["tokens_in"])),
        output_tokens=int(str(fields["tokens_out"])),
    )
    spending = budgets.spending(
        scopes, amount, cost=cost is not None, attempt=str(fields["attempt"]), asked_tier=str(fields["requested_tier"])
    )
    return budgets.record(spending)


def recommendations(profile: str | None, tier: str) -> list[RecommendRow]:
    """Providers, the best first."""
    budgets = Budgets(profile)
    name = budgets.catalog.tier_aliases.get(tier, tier)
    if name and name not in {one.name for one in budgets.catalog.tiers}:
        raise InvalidInputError(f"there is no tier '{tier}'", where="--tier")
    return budgets.recommend(name)


def burn_view(profile: str | None, provider: str | None) -> BurnView:
    """The rate of today."""
    budgets = Budgets(profile)
    name = budgets.provider(provider) if provider else ""
    found = budgets.burn(name)
    return BurnView(
        provider=name,
        today_spend=_usd(found.used),
        per_hour=found.per_hour / 1_000_000,
        left=_usd(found.left) if found.left is not None else None,
        hours_to_exhaustion=found.exhausted_in_hours,
        outlasts_day=found.outlasts_window,
        mean_7_days=found.mean_per_day / 1_000_000,
    )


def workload_view(profile: str | None, specs: Sequence[TaskSpec], most_micro_usd: int) -> WorkloadView:
    """Estimate tasks at the places they would go to if everything were up and idle. Local work and commands cost 0."""
    budgets = Budgets(profile)
    policy, book = budgets.profile.policy, budgets.book
    fleet = declared_fleet(policy, budgets.now_ms)
    total, unpriced = 0, []
    for spec in specs:
        facts = describe(spec, policy)
        verdict = decide(RouteRequest(facts=facts, now_ms=budgets.now_ms, queued_ms=budgets.now_ms), fleet, policy)
        decision = verdict.decision
        endpoint = policy.catalog.endpoints.get(decision.selected_endpoint or "")
        if not isinstance(verdict, Route) or endpoint is None or endpoint.local or decision.selected_model is None:
            continue
        output = facts.output_tokens or policy.routing.default_output_tokens
        amount = Amount(input_tokens=facts.prompt_tokens, output_tokens=output)
        quote = book.quote(endpoint.provider, decision.selected_model)
        if quote is None or not quote.is_known:
            unpriced.append(spec.id)
        total += cost_micro_usd(quote.price if quote is not None else budgets.policy.conservative_price, amount)
    passes = total <= most_micro_usd and not unpriced
    return WorkloadView(
        tasks=len(specs), micro_usd=total, max_micro_usd=most_micro_usd, unpriced=tuple(unpriced), passes=passes
    )


def drift_view(profile: str | None, days: int) -> DriftView:
    """Requested against actual tiers of the last days."""
    rows = tuple(Budgets(profile).drift(days))
    calls = sum(row.calls for row in rows)
    drifted = sum(row.calls for row in rows if row.asked != row.ran)
    share = _PERCENT * drifted / calls if calls else 0.0
    level = "warn" if share > WARNED_PERCENT else "notice" if share > NOTED_PERCENT else "ok"
    return DriftView(rows=rows, calls=calls, drifted=drifted, share_percent=share, level=level)


def _subscription_row(one: SubscriptionStanding) -> SubscriptionRow:
    rows = tuple(
        AllowanceRow(
            allowance=part.allowance.name,
            used_percent=round(part.used_percent, 1),
            open_percent=round(part.paced_percent, 1),
            reported=part.reported,
            resets=_instant(part.resets_ms),
            used="" if part.used is None else amount_text(part.used, part.allowance.unit),
        )
        for part in one.allowances
    )
    said = [f"{row.allowance} {row.used_percent:.1f} % used" for row in rows]
    near = "; near its end" if one.near_end else ""
    return SubscriptionRow(
        provider=one.subscription.provider,
        usable=one.usable,
        preferred=one.preferred,
        near_end=one.near_end,
        detail=(", ".join(said) or "nothing is known of it yet") + near + (f"; {one.reason}" if one.reason else ""),
        allowances=rows,
    )


def _instant(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")


def _limit_row(one: Standing) -> LimitRow:
    unit = one.limit.unit
    return LimitRow(
        limit=one.limit.name,
        of=one.value or "all",
        level=one.level.value,
        used=amount_text(one.used, unit),
        held=amount_text(one.held, unit),
        left="" if one.left is None else amount_text(one.left, unit),
        resets=_instant(one.resets_ms),
        elsewhere=_elsewhere(one),
        used_amount=one.used,
        held_amount=one.held,
        left_amount=one.left,
        elsewhere_amount=one.elsewhere,
        kept_amount=one.part.kept if one.part is not None else 0,
        pools=one.part.pools if one.part is not None else (),
        unit=unit.value,
    )


def _elsewhere(one: Standing) -> str:
    if one.part is None or not one.part.pools:
        return ""
    kept = f", {amount_text(one.part.kept, one.limit.unit)} kept" if one.part.kept else ""
    return f"{amount_text(one.elsewhere, one.limit.unit)}{kept}"


def _usd(amount_micro_usd: int) -> float:
    return amount_micro_usd / 1_000_000
