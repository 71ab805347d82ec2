"""Subscriptions: what is paid already is used first, evenly, and never to the last.

A subscription has one or more allowances, each with a window and unit of its own (five hours, a week, a model); all of
them hold. Of each it is known how much is used: from our own ledger, or as the provider or an agent CLI reports it; the
larger of the two counts, as others may use the same subscription.

* usable: below the allowance less the reserve; critical work may use the reserve too
* preferred: usable, and not ahead of an even pace, so that something is left at the end of the window. A window that
  has just begun is a twentieth old at least, or nothing could ever start
* near the end: the share at which people are told is reached
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ostler.budget.limits import SpentOf
from ostler.budget.windows import HOUR_MS, extent
from ostler.domain.ledger import Span
from ostler.domain.limits import Allowance, Pace, ScopeKind, Subscription, WindowKind

_PERCENT = 100
_HEAD_START = 0.05
"""Share of a window that is open at once."""


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of a window of its subscription: used so much of the whole, until then."""

    provider: str
    allowance: str
    used_percent: float
    at_ms: int
    resets_ms: int | None = None


class AllowanceStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One allowance now, in its unit."""

    allowance: Allowance
    used: int
    usable: int
    """Less the reserve."""
    paced: int
    """What an even pace has opened until now."""
    resets_ms: int | None = None
    reported: bool = False
    """The provider's own figure counts."""

    @property
    def used_percent(self) -> float:
        """Of the whole allowance."""
        return _PERCENT * self.used / self.allowance.amount if self.allowance.amount else float(_PERCENT)


class SubscriptionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription now. `binding`: the allowance with the smallest share left."""

    subscription: Subscription
    usable: bool
    preferred: bool
    near_end: bool
    allowances: tuple[AllowanceStanding, ...] = ()
    binding: AllowanceStanding | None = None
    reason: str = ""


class _Elapsed(NamedTuple):
    share: float
    resets_ms: int | None


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
    latest = {report.allowance: report for report in reports if report.provider == subscription.provider}
    found: list[AllowanceStanding] = []
    for allowance in subscription.allowances:
        if allowance.model and model and allowance.model != model:
            continue
        one = _standing(subscription, allowance, now_ms, spent, latest.get(allowance.name), critical=critical)
        if one is None:
            reason = f"its period '{allowance.name}' does not cover this moment"
            return SubscriptionStanding(
                subscription=subscription, usable=False, preferred=False, near_end=False, reason=reason
            )
        found.append(one)
    binding = min(found, key=lambda one: (-one.used_percent, one.allowance.name), default=None)
    used_up = [one.allowance.name for one in found if one.used >= one.usable]
    ahead = [one.allowance.name for one in found if one.used >= one.paced]
    reason = (
        f"{', '.join(used_up)} is used up" if used_up else f"{', '.join(ahead)} is ahead of its pace" if ahead else ""
    )
    return SubscriptionStanding(
        subscription=subscription,
        usable=not used_up,
        preferred=not used_up and (not ahead or subscription.pace is Pace.NONE or critical),
        near_end=any(one.used_percent >= subscription.warn_percent for one in found),
        allowances=tuple(found),
        binding=binding,
        reason=reason,
    )


def _standing(
    subscription: Subscription,
    allowance: Allowance,
    now_ms: int,
    spent: SpentOf,
    report: Reported | None,
    *,
    critical: bool,
) -> AllowanceStanding | None:
    found = extent(allowance.window, now_ms)
    if found is None:
        return None
    scope, value = (ScopeKind.PROVIDER, subscription.provider)
    if allowance.model:
        scope, value = ScopeKind.MODEL, allowance.model
    span = Span(scope=scope, value=value, start_ms=found.start_ms, end_ms=found.end_ms)
    own = spent(span).total(allowance.unit)
    said = _reported(allowance, report, now_ms, found.start_ms)
    elapsed = _elapsed(allowance, now_ms, found.start_ms, found.end_ms)
    reserve = 0 if critical else allowance.amount * subscription.reserve_percent // _PERCENT
    usable = allowance.amount - reserve
    return AllowanceStanding(
        allowance=allowance,
        used=max(own, said),
        usable=usable,
        paced=int(usable * elapsed.share),
        resets_ms=report.resets_ms if report is not None and said > own else found.resets_ms,
        reported=said > own,
    )


def _reported(allowance: Allowance, report: Reported | None, now_ms: int, start_ms: int) -> int:
    """What a report still says: one from before the window, or whose window has reset, says nothing."""
    if report is None or report.at_ms < start_ms or (report.resets_ms is not None and report.resets_ms <= now_ms):
        return 0
    return int(allowance.amount * report.used_percent / _PERCENT)


def _elapsed(allowance: Allowance, now_ms: int, start_ms: int, end_ms: int) -> _Elapsed:
    """How much of a window has gone by. A rolling window is always whole: it frees as it goes, and needs no pace."""
    kind = allowance.window.kind
    if kind in {WindowKind.ROLLING, WindowKind.NONE}:
        return _Elapsed(1.0, None)
    share = (now_ms - start_ms) / max(HOUR_MS, end_ms - start_ms)
    return _Elapsed(min(1.0, max(_HEAD_START, share)), end_ms)
