"""Subscriptions: what is paid already is used first, evenly, and never to the last.

A subscription has one or more allowances, each with a window and unit of its own (five hours, a week, a model); all of
them hold. Of each it is known how much is used: from our own ledger where the profile says how much it is, and as the
provider or an agent program reports it; the larger of the two shares counts, as others may use the same subscription.
A window that is reported and that the profile does not name is an allowance too.

* usable: below the allowance less the reserve; critical work may use the reserve too
* preferred: usable, and not ahead of an even pace, so that something is left at the end of the window. A window that
  has just begun is a twentieth old at least, or nothing could ever start
* near the end: the share at which people are told is reached

A report belongs to an allowance of its name, else to one of its length (and its models). It says nothing any more when
its window has reset, or when it is older than a window is long.
"""

from collections.abc import Iterable

import msgspec

from ostler.budget.limits import SpentOf
from ostler.budget.windows import HOUR_MS, Extent, extent
from ostler.domain.allowances import Reported
from ostler.domain.ledger import Bound, Scopes, Span
from ostler.domain.limits import Allowance, Pace, ScopeKind, Subscription, Window, WindowKind

_PERCENT = 100
_HEAD_START = 0.05
"""Share of a window that is open at once."""
_LONGEST_HOURS = 31 * 24
"""A report of a window of unknown length says nothing after so long."""


class AllowanceStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One allowance now. Shares are percents of the whole."""

    allowance: Allowance
    used_percent: float
    usable_percent: float
    """Less the reserve."""
    paced_percent: float
    """What an even pace has opened until now."""
    used: int | None = None
    """By our own ledger, in its unit; `None` = the profile does not say how much it is."""
    resets_ms: int | None = None
    reported: bool = False
    """The provider's own figure counts."""

    @property
    def used_up(self) -> bool:
        """Nothing may be taken of it."""
        return self.used_percent >= self.usable_percent

    @property
    def ahead(self) -> bool:
        """More is used than an even pace has opened."""
        return self.used_percent >= self.paced_percent


class SubscriptionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription now. `binding`: the allowance of which the largest share is used."""

    subscription: Subscription
    usable: bool
    preferred: bool
    near_end: bool
    allowances: tuple[AllowanceStanding, ...] = ()
    binding: AllowanceStanding | None = None
    reason: str = ""
    resets_ms: int | None = None
    """When it may be used again, where it may not; `None` = nobody knows."""


def subscription_of(subscriptions: Iterable[Subscription], provider: str) -> Subscription | None:
    """The subscription to a provider, if there is one."""
    return next((one for one in subscriptions if one.provider == provider), None)


def subscription_standing(
    subscription: Subscription,
    now_ms: int,
    spent: SpentOf,
    *,
    reports: Iterable[Reported] = (),
    model: str = "",
    critical: bool = False,
) -> SubscriptionStanding:
    """What may still be used, for a model where an allowance is about one. Outside of a period nothing is left."""
    said = [one for one in reports if one.provider == subscription.provider and _still_says(one, now_ms)]
    found: list[AllowanceStanding] = []
    for allowance, report in _matched(subscription, said):
        if not _counts(allowance, report, model):
            continue
        one = _standing(subscription, allowance, report, now_ms, spent, critical=critical)
        if one is None:
            reason = f"its period '{allowance.name}' does not cover this moment"
            return SubscriptionStanding(
                subscription=subscription, usable=False, preferred=False, near_end=False, reason=reason
            )
        found.append(one)
    used_up = [one for one in found if one.used_up]
    ahead = [one.allowance.name for one in found if one.ahead]
    free = [one.resets_ms for one in used_up]
    if used_up:
        reason = f"{', '.join(one.allowance.name for one in used_up)} is used up"
    else:
        reason = f"{', '.join(ahead)} is ahead of its pace" if ahead else ""
    return SubscriptionStanding(
        subscription=subscription,
        usable=not used_up,
        preferred=not used_up and (not ahead or subscription.pace is Pace.NONE or critical),
        near_end=any(one.used_percent >= subscription.warn_percent for one in found),
        allowances=tuple(found),
        binding=min(found, key=lambda one: (-one.used_percent, one.allowance.name), default=None),
        reason=reason,
        resets_ms=None if None in free else max((at for at in free if at is not None), default=None),
    )


def allowance_bounds(
    subscription: Subscription, scopes: Scopes, now_ms: int, *, critical: bool = False
) -> tuple[Bound, ...]:
    """What the allowances whose amount is known let through, to be checked where an attempt reserves."""
    found = []
    for allowance in subscription.allowances:
        if allowance.amount is None or (allowance.model and allowance.model != scopes.model):
            continue
        window = extent(allowance.window, now_ms)
        if window is not None:
            kept = 0 if critical else allowance.amount * subscription.reserve_percent // _PERCENT
            name = f"allowance {allowance.name} of {subscription.provider}"
            span, ceiling = _span(subscription, allowance, window), allowance.amount - kept
            found.append(Bound(limit=name, span=span, unit=allowance.unit, ceiling=ceiling))
    return tuple(found)


def _matched(subscription: Subscription, said: list[Reported]) -> list[tuple[Allowance, Reported | None]]:
    """Allowances of the profile, each with the report about it; then reports that belong to none."""
    found: list[tuple[Allowance, Reported | None]] = []
    rest = sorted(said, key=lambda one: (one.window, one.at_ms))
    for allowance in subscription.allowances:
        named = [one for one in rest if one.window == allowance.name]
        alike = [one for one in rest if _is_alike(allowance, one)]
        report = next(reversed(named or alike), None)
        found.append((allowance, report))
        rest = [one for one in rest if one is not report]
    for report in {one.window: one for one in rest}.values():
        window = Window(kind=WindowKind.ROLLING, hours=round(report.hours or 0)) if report.hours else _EVER
        found.append((Allowance(name=report.window, window=window), report))
    return found


_EVER = Window(kind=WindowKind.NONE)


def _is_alike(allowance: Allowance, report: Reported) -> bool:
    same_length = allowance.window.kind is WindowKind.ROLLING and allowance.window.hours == report.hours
    return same_length and (report.family in allowance.model if report.family else not allowance.model)


def _counts(allowance: Allowance, report: Reported | None, model: str) -> bool:
    """Whether an allowance is about a model; of no model in particular all of them are."""
    if not model:
        return True
    if allowance.model:
        return allowance.model == model
    return report is None or report.family in model


def _still_says(report: Reported, now_ms: int) -> bool:
    if report.resets_ms is not None:
        return report.resets_ms > now_ms
    return now_ms - report.at_ms < (report.hours or _LONGEST_HOURS) * HOUR_MS


def _span(subscription: Subscription, allowance: Allowance, window: Extent) -> Span:
    scope, value = (ScopeKind.PROVIDER, subscription.provider)
    if allowance.model:
        scope, value = ScopeKind.MODEL, allowance.model
    return Span(scope=scope, value=value, start_ms=window.start_ms, end_ms=window.end_ms)


def _standing(
    subscription: Subscription,
    allowance: Allowance,
    report: Reported | None,
    now_ms: int,
    spent: SpentOf,
    *,
    critical: bool,
) -> AllowanceStanding | None:
    window = extent(allowance.window, now_ms)
    if window is None:
        return None
    used, own = None, 0.0
    if allowance.amount is not None:
        used = spent(_span(subscription, allowance, window)).total(allowance.unit)
        own = _PERCENT * used / allowance.amount if allowance.amount else float(_PERCENT)
    said = report.used_percent if report is not None and report.at_ms >= window.start_ms else 0.0
    share, resets_ms = _elapsed(allowance, report, now_ms, window)
    usable = float(_PERCENT if critical else _PERCENT - subscription.reserve_percent)
    return AllowanceStanding(
        allowance=allowance,
        used_percent=max(own, said),
        usable_percent=usable,
        paced_percent=usable * share,
        used=used,
        resets_ms=resets_ms,
        reported=said > own,
    )


def _elapsed(allowance: Allowance, report: Reported | None, now_ms: int, window: Extent) -> tuple[float, int | None]:
    """How much of a window has gone by, and when it is new. A window whose provider says when it resets begins its
    length before that. Any other rolling one is always whole: it frees as it goes, and needs no pace.
    """
    start_ms, end_ms = window.start_ms, window.end_ms
    if allowance.window.kind in {WindowKind.ROLLING, WindowKind.NONE}:
        hours = report.hours or allowance.window.hours if report is not None else None
        if report is None or report.resets_ms is None:
            return 1.0, window.resets_ms
        if not hours:
            return 1.0, report.resets_ms
        start_ms, end_ms = report.resets_ms - round(hours * HOUR_MS), report.resets_ms
    share = (now_ms - start_ms) / max(HOUR_MS, end_ms - start_ms)
    return min(1.0, max(_HEAD_START, share)), end_ms
