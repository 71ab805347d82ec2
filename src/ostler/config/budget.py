"""Draft -> what may be spent: the settings as they are, and the limits, subscriptions and prices they stand for.

The short settings are presets: a month, each session, each tick, a day of a provider. A limit that cannot work as it is
written (a period without its days, a soft value above the hard one, half a token) is a mistake with its place.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from ostler.config.draft import Draft
from ostler.config.ladder import Ladder, tier_reference
from ostler.config.mistakes import SettingPath
from ostler.config.settings import (
    AllowanceSection,
    BillingType,
    BudgetSettings,
    LimitSection,
    ProviderBudgetSection,
)
from ostler.config.units import money_text
from ostler.domain.catalog import Catalog, normal_model
from ostler.domain.errors import nearest
from ostler.domain.limits import (
    Allowance,
    BudgetPolicy,
    Limit,
    LimitsOf,
    Price,
    ScopeKind,
    Subscription,
    Unit,
    Window,
    WindowKind,
)
from ostler.domain.money import micro_usd

SOFT_SHARE_PERCENT = 80
PERCENT = 100
WHOLE = frozenset({ScopeKind.TASK, ScopeKind.TICK})
"""Scopes that are over soon: all they have spent counts, whatever the window."""
PRESETS = ("month", "session", "tick")
"""Names of the limits that the short settings make."""


def resolve_budget(draft: Draft, ladder: Ladder, catalog: Catalog) -> tuple[BudgetSettings, BudgetPolicy]:
    """The settings with what they leave open filled in, and what they mean. Reports what cannot work."""
    settings = _with_soft_cap(draft)
    zone = _zone(draft, settings.time_zone, ("budget", "time_zone"))
    limits = [
        *_presets(settings, zone),
        *_daily(draft, settings, catalog, zone),
        *(_limit(draft, ladder, name, section, zone) for name, section in sorted(settings.limits.items())),
    ]
    subscriptions = [
        _subscription(draft, name, section, zone)
        for name, section in sorted(settings.providers.items())
        if section.billing is BillingType.SUBSCRIPTION
    ]
    ranked = sorted(settings.providers, key=lambda name: (settings.providers[name].priority, name))
    policy = BudgetPolicy(
        limits=tuple(limits),
        subscriptions=tuple(subscriptions),
        prices={name: price for name, spec in catalog.models.items() if (price := spec.price) is not None},
        unknown_price=settings.unknown_price,
        conservative_price=Price(
            input=settings.conservative_input_usd_per_mtok, output=settings.conservative_output_usd_per_mtok
        ),
        provider_priority=tuple(ranked),
        equivalent=_equivalent(draft, catalog),
        over_pools=settings.pools is LimitsOf.TOGETHER,
        output_quantile_percent=settings.output_quantile_percent,
    )
    return settings, policy


def _with_soft_cap(draft: Draft) -> BudgetSettings:
    """The soft cap as written, else 80 % of the hard one. Reports one above the hard one."""
    budget = draft.file.budget
    hard, soft = budget.monthly_hard_cap_micro_usd, budget.monthly_soft_cap_micro_usd
    path = ("budget", "monthly_soft_cap")
    if not draft.is_written(*path):
        soft = None if hard is None else hard * SOFT_SHARE_PERCENT // PERCENT
        draft.note(path, f"{SOFT_SHARE_PERCENT} % of monthly_hard_cap")
    elif hard is not None and soft is not None and soft > hard and not draft.mistakes.is_damaged(("budget",)):
        what = f"{money_text(soft)} is above the hard cap of {money_text(hard)}"
        draft.mistakes.add(path, what, "make it at most the hard cap")
    return msgspec.structs.replace(budget, monthly_soft_cap_micro_usd=soft)


def _presets(settings: BudgetSettings, zone: str) -> Iterator[Limit]:
    month, session, tick = PRESETS
    hard, soft = settings.monthly_hard_cap_micro_usd, settings.monthly_soft_cap_micro_usd
    whole = Window(kind=WindowKind.NONE)
    if hard is not None or soft is not None:
        yield Limit(name=month, window=Window(kind=WindowKind.MONTH, zone=zone), soft=soft, hard=hard)
    if settings.per_session_cap_micro_usd is not None:
        yield Limit(name=session, scope=ScopeKind.SESSION, window=whole, hard=settings.per_session_cap_micro_usd)
    if settings.per_tick_cap_micro_usd is not None:
        yield Limit(name=tick, scope=ScopeKind.TICK, window=whole, hard=settings.per_tick_cap_micro_usd)


def _daily(draft: Draft, settings: BudgetSettings, catalog: Catalog, zone: str) -> Iterator[Limit]:
    known = {spec.provider for spec in catalog.endpoints.values()}
    for name, section in sorted(settings.providers.items()):
        path = ("budget", "providers", name)
        if name not in known and not draft.mistakes.may_lack(("providers",), ("endpoints",), ("routing", "tiers")):
            remedy = nearest(name, known)
            draft.mistakes.add(path, f"no endpoint is of provider '{name}'", f"{remedy}, or remove the entry")
        if section.degrade_percent > section.exhaust_percent and not draft.mistakes.is_damaged(path):
            what = f"{section.degrade_percent} % is above the {section.exhaust_percent} % at which it is exhausted"
            draft.mistakes.add((*path, "degrade_percent"), what, "make it at most exhaust_percent")
        day = section.daily_budget_micro_usd
        if day is not None:
            yield Limit(
                name=f"{name}-day",
                scope=ScopeKind.PROVIDER,
                of=name,
                window=Window(kind=WindowKind.DAY, zone=zone),
                soft=day * section.degrade_percent // PERCENT,
                hard=day * section.exhaust_percent // PERCENT,
            )


def _limit(draft: Draft, ladder: Ladder, name: str, section: LimitSection, zone: str) -> Limit:
    path = ("budget", "limits", name)
    if name in PRESETS:
        draft.mistakes.add(path, f"'{name}' is the name of a limit that is always there", "give it another name")
    sound = not draft.mistakes.is_damaged(path)
    if sound and section.scope is ScopeKind.ALL and section.only:
        draft.mistakes.add((*path, "only"), "a limit of all work is of nobody", "remove it, or say a scope")
    if section.scope in WHOLE and draft.is_written(*path, "window"):
        what = f"a {section.scope} is over soon, all of it counts"
        draft.mistakes.add((*path, "window"), what, "remove the window")
    if section.soft is None and section.hard is None and not draft.mistakes.is_damaged(path):
        draft.mistakes.add(path, "it limits nothing", "give it `soft:` or `hard:`")
    if sound and section.soft is not None and section.hard is not None and section.soft > section.hard:
        draft.mistakes.add((*path, "soft"), f"{section.soft:g} is above the hard value of {section.hard:g}", "lower it")
    named = section.only
    if named and section.scope is ScopeKind.TIER:
        named = _tier(draft, ladder, named, (*path, "only")) or named
    down = section.degrade_to
    return Limit(
        name=name,
        scope=section.scope,
        of=normal_model(named) if section.scope is ScopeKind.MODEL else named,
        window=_window(draft, section, path, zone),
        unit=section.unit,
        soft=_amount(draft, section.soft, section.unit, (*path, "soft")),
        hard=_amount(draft, section.hard, section.unit, (*path, "hard")),
        critical=_amount(draft, section.critical, section.unit, (*path, "critical")),
        degrade_to=(_tier(draft, ladder, down, (*path, "degrade_to")) or "") if down is not None else "",
    )


def _tier(draft: Draft, ladder: Ladder, name: str, path: SettingPath) -> str | None:
    """A tier by any of its names. While the section of the tiers could not be read, an unknown one is no news."""
    if draft.mistakes.may_lack(("routing",)):
        return ladder.names.get(name)
    return tier_reference(draft, ladder, name, path)


def _subscription(draft: Draft, name: str, section: ProviderBudgetSection, zone: str) -> Subscription:
    path = ("budget", "providers", name)
    allowances = []
    for key, allowance in sorted(section.allowances.items()):
        place = (*path, "allowances", key)
        # What a subscription covers costs nothing more: its worth is what counts of it.
        unit = Unit.WORTH if allowance.unit is Unit.USD else allowance.unit
        amount = _amount(draft, allowance.amount, unit, (*place, "amount"))
        window = _window(draft, allowance, place, zone)
        model = normal_model(allowance.model) if allowance.model is not None else ""
        allowances.append(Allowance(name=key, window=window, unit=unit, amount=amount, model=model))
    return Subscription(
        provider=name,
        allowances=tuple(allowances),
        priority=section.priority,
        pace=section.pace,
        reserve_percent=section.reserve_percent,
        warn_percent=section.warn_percent,
    )


def _window(draft: Draft, section: LimitSection | AllowanceSection, path: SettingPath, default_zone: str) -> Window:
    zone = default_zone if section.time_zone is None else _zone(draft, section.time_zone, (*path, "time_zone"))
    kind = section.window
    for key, belongs in (
        ("start", kind is WindowKind.PERIOD),
        ("end", kind is WindowKind.PERIOD),
        ("hours", kind is WindowKind.ROLLING),
    ):
        has = getattr(section, key) is not None
        if has and not belongs and not draft.mistakes.is_damaged(path):
            wanted = WindowKind.ROLLING if key == "hours" else WindowKind.PERIOD
            draft.mistakes.add((*path, key), f"window {kind} has no {key}", f"remove it, or write `window: {wanted}`")
        elif belongs and not has and not draft.mistakes.is_damaged(path):
            draft.mistakes.add(path, f"window {kind} needs `{key}:`", "add it")
    start_ms, end_ms = (_day(draft, getattr(section, key), zone, (*path, key)) for key in ("start", "end"))
    if kind is WindowKind.PERIOD and 0 < end_ms <= start_ms:
        draft.mistakes.add((*path, "end"), "the period ends before it has begun", "swap the two days")
    return Window(kind=kind, zone=zone, start_ms=start_ms, end_ms=end_ms, hours=section.hours or 0)


def _day(draft: Draft, text: str | None, zone: str, path: SettingPath) -> int:
    if text is None:
        return 0
    try:
        day = date.fromisoformat(text)
    except ValueError:
        draft.mistakes.add(path, f"cannot read the day '{text}'", "write it as 2026-02-01")
        return 0
    moment = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return int(moment.timestamp()) * 1000


def _zone(draft: Draft, name: str, path: SettingPath) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        what = f"there is no time zone '{name}'"
        draft.mistakes.add(path, what, nearest(name, available_timezones()))
        return "UTC"
    return name


def _amount(draft: Draft, value: float | None, unit: Unit, path: SettingPath) -> int | None:
    if value is None:
        return None
    if unit in {Unit.USD, Unit.WORTH}:
        return micro_usd(value)
    if value != int(value):
        draft.mistakes.add(path, f"{value:g} is no number of {unit}", "write a whole number")
    return int(value)


def _equivalent(draft: Draft, catalog: Catalog) -> str:
    name = draft.file.budget.equivalent_model
    if name is None:
        return ""
    model = normal_model(name)
    found = catalog.model_aliases.get(model, model)
    if found not in catalog.models and not draft.mistakes.may_lack(("models",), ("endpoints",), ("routing", "tiers")):
        path = ("budget", "equivalent_model")
        draft.mistakes.add(path, f"there is no model '{name}'", nearest(name, catalog.models))
    return found
