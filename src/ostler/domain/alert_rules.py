"""The catalogue of alert rules: what each looks for, and its figures until a profile says others.

It is data, so that the documentation, the profile and the code that looks cannot drift apart.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ostler.domain.alerts import Severity

_MINUTE_MS = 60_000


class RuleKind(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the catalogue with its defaults. `above`: its bound, in `unit`."""

    doc: str
    above: float = 0.0
    unit: str = ""
    subject: str = ""
    """What each alert of it is about; empty = the hub, so that there is one."""
    severity: Severity = Severity.WARNING
    for_ms: int = 0
    clear_ms: int = 0
    cooldown_ms: int = 0
    enabled: bool = True


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in force: its bound, and what it asks before it speaks."""

    name: str
    above: float = 0.0
    severity: Severity = Severity.WARNING
    for_ms: int = 0
    """The condition must hold so long before it is told of."""
    clear_ms: int = 0
    """It must be gone so long before it counts as over."""
    cooldown_ms: int = 0
    """From one raising to the next."""


RULES: Mapping[str, RuleKind] = MappingProxyType(
    {
        "queue_growing": RuleKind(
            doc="The queue grew at so many looks in a row; over when it did not grow at three.",
            above=2,
            unit="looks",
            cooldown_ms=5 * _MINUTE_MS,
        ),
        "failure_share": RuleKind(
            doc="Of the attempts and calls that ended in the last hour (five at least), so many failed.",
            above=50,
            unit="percent",
            cooldown_ms=10 * _MINUTE_MS,
        ),
        "errors": RuleKind(
            doc="So many attempts and calls failed in the last hour.",
            above=10,
            unit="failures",
            cooldown_ms=5 * _MINUTE_MS,
        ),
        "task_stuck": RuleKind(
            doc="A task that was given to a worker has shown no sign of life for so long.",
            above=300,
            unit="seconds",
            severity=Severity.CRITICAL,
            cooldown_ms=5 * _MINUTE_MS,
        ),
        "no_worker": RuleKind(
            doc="No worker is joined, though one was, or work is open.",
            severity=Severity.CRITICAL,
            for_ms=_MINUTE_MS,
            cooldown_ms=5 * _MINUTE_MS,
        ),
        "tier_down": RuleKind(
            doc="No endpoint of a tier can be used, for as long as `scheduler.tier_alert` says.",
            subject="tier",
            severity=Severity.CRITICAL,
            for_ms=_MINUTE_MS,
            cooldown_ms=5 * _MINUTE_MS,
        ),
        "call_rate": RuleKind(
            doc="So many calls to models in the last hour, live calls and attempts together. Off unless a profile"
            " turns it on: how many are many depends on the work.",
            above=50,
            unit="calls",
            cooldown_ms=10 * _MINUTE_MS,
            enabled=False,
        ),
        "budget_soft": RuleKind(
            doc="A limit of the budget has reached its soft value: cheaper tiers are used.", subject="limit"
        ),
        "budget_hard": RuleKind(
            doc="A limit of the budget has reached its hard value: only what costs nothing runs.",
            subject="limit",
            severity=Severity.CRITICAL,
        ),
        "subscription": RuleKind(
            doc="An allowance of a subscription is nearly used up (`warn_percent` of its provider).",
            subject="provider/allowance",
        ),
        "needs_human": RuleKind(
            doc="More tasks than this wait for a person.", unit="tasks", cooldown_ms=5 * _MINUTE_MS
        ),
        "unanswered": RuleKind(
            doc="Nobody answered a task within its time, and it names no default.",
            subject="task",
            severity=Severity.CRITICAL,
        ),
        "records_lost": RuleKind(
            doc="Records of gateway calls were lost in the last hour; what they cost was counted.", unit="records"
        ),
    }
)


def rule_of(name: str) -> Rule:
    """A rule with the figures of the catalogue."""
    kind = RULES[name]
    return Rule(
        name=name,
        above=kind.above,
        severity=kind.severity,
        for_ms=kind.for_ms,
        clear_ms=kind.clear_ms,
        cooldown_ms=kind.cooldown_ms,
    )
