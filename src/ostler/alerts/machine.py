"""What becomes of alerts: pending, active, acknowledged, cleared. Blips stay silent, and so does what comes and goes.

    inactive --seen--> PENDING --held for `for_ms`, cool-down over--> ACTIVE --a person--> ACKNOWLEDGED
                          |                                             |                       |
                          +--gone before: silent       CLEARED <--------+-- gone for `clear_ms` +

Three guards against noise, each of its own rule:

* duration: a condition is told of only when it has held without a break for `for_ms`
* hysteresis: a finding that is not `firing` keeps a raised alert raised but raises none, so a value that swings around
  its bound raises one alert; and a raised one is cleared only after `clear_ms` without any finding
* cool-down: from one raising to the next at least `cooldown_ms` pass; what still holds then is raised

Acknowledging silences an alert until it is cleared. O(alerts + findings).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from ostler.domain.alert_rules import Rule
from ostler.domain.alerts import RAISED, Alert, AlertState, alert_id


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule finds its condition. `firing`: beyond the bound; else only near enough to keep what is raised."""

    rule: str
    subject: str = ""
    message: str = ""
    value: float = 0.0
    bound: float = 0.0
    firing: bool = True
    since_ms: int | None = None
    """Since when it holds, where that is known better than from looking."""


class Told(StrEnum):
    """What happened to an alert."""

    RAISED = "raised"
    CLEARED = "cleared"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An alert after something happened to it that people are told of."""

    told: Told
    alert: Alert


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts after a look, the pending ones too, by name; and what there is to tell."""

    alerts: Mapping[str, Alert]
    changes: tuple[Change, ...] = ()


def step(known: Mapping[str, Alert], findings: Iterable[Finding], rules: Mapping[str, Rule], now_ms: int) -> Step:
    """What becomes of the alerts at an instant. A raised alert whose rule is gone is cleared."""
    found = {alert_id(one.rule, one.subject): one for one in findings if one.rule in rules}
    alerts: dict[str, Alert] = {}
    changes: list[Change] = []
    for name in sorted({*known, *found}):
        before, finding = known.get(name), found.get(name)
        after = _next(before, finding, rules, now_ms)
        if after is not None:
            alerts[name] = after
            changes += _told(before, after)
    return Step(alerts=alerts, changes=tuple(changes))


def acknowledged(alert: Alert, now_ms: int, *, by: str = "", note: str = "") -> Alert:
    """The alert once a person knows. One that is acknowledged already, or not raised, stays as it is."""
    if alert.state is not AlertState.ACTIVE:
        return alert
    return msgspec.structs.replace(
        alert,
        state=AlertState.ACKNOWLEDGED,
        acknowledged_ms=now_ms,
        acknowledged_by=by,
        note=note,
        updated_ms=now_ms,
    )


def _next(before: Alert | None, finding: Finding | None, rules: Mapping[str, Rule], now_ms: int) -> Alert | None:
    """The row after a look; `None` = there is nothing to remember."""
    if before is not None and before.state in RAISED:
        return _held(before, finding) if finding is not None else _gone(before, rules, now_ms)
    if finding is None or not finding.firing:
        if before is None or before.times == 0:
            return None
        return before if before.state is AlertState.CLEARED else _silent(before)
    return _seen(before, finding, rules[finding.rule], now_ms)


def _held(alert: Alert, finding: Finding) -> Alert:
    """Still there. What it says is kept up to date; that is no news, so `updated_ms` stays."""
    return msgspec.structs.replace(
        alert, away_ms=None, message=finding.message, value=finding.value, bound=finding.bound
    )


def _gone(alert: Alert, rules: Mapping[str, Rule], now_ms: int) -> Alert:
    rule = rules.get(alert.rule)
    away_ms = now_ms if alert.away_ms is None else alert.away_ms
    if rule is not None and now_ms - away_ms < rule.clear_ms:
        return msgspec.structs.replace(alert, away_ms=away_ms)
    return msgspec.structs.replace(alert, state=AlertState.CLEARED, away_ms=None, cleared_ms=now_ms, updated_ms=now_ms)


def _silent(alert: Alert) -> Alert:
    """It was cleared before, came back, and went again before anyone was told."""
    return msgspec.structs.replace(alert, state=AlertState.CLEARED)


def _seen(before: Alert | None, finding: Finding, rule: Rule, now_ms: int) -> Alert:
    pending = before is not None and before.state is AlertState.PENDING
    seen_ms = before.since_ms if pending and before is not None else now_ms
    since_ms = min(seen_ms, finding.since_ms if finding.since_ms is not None else seen_ms)
    last_ms = before.raised_ms if before is not None else None
    cool = last_ms is None or now_ms - last_ms >= rule.cooldown_ms
    alert = Alert(
        rule=finding.rule,
        subject=finding.subject,
        state=AlertState.PENDING,
        severity=rule.severity,
        message=finding.message,
        value=finding.value,
        bound=finding.bound,
        since_ms=since_ms,
        raised_ms=last_ms,
        cleared_ms=before.cleared_ms if before is not None else None,
        times=before.times if before is not None else 0,
        updated_ms=before.updated_ms if before is not None else now_ms,
    )
    if now_ms - since_ms < rule.for_ms or not cool:
        return alert
    return msgspec.structs.replace(
        alert, state=AlertState.ACTIVE, raised_ms=now_ms, cleared_ms=None, times=alert.times + 1, updated_ms=now_ms
    )


def _told(before: Alert | None, after: Alert) -> list[Change]:
    was_raised = before is not None and before.state in RAISED
    if after.state in RAISED and not was_raised:
        return [Change(told=Told.RAISED, alert=after)]
    if after.state is AlertState.CLEARED and was_raised:
        return [Change(told=Told.CLEARED, alert=after)]
    return []
