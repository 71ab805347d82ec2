"""An alert: a condition that a person should know of, from when it was seen until it is over.

Identity = (rule, subject): the rule names the kind of condition, the subject what it is about (a tier, a limit, a
provider), empty for the hub as a whole. There is one row for each, whatever happens: an alert that comes back is the
same row with `times` one higher, so that the table is bounded by rules x subjects.
"""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an alert stands. A condition that was never seen for long enough has no row: it is inactive."""

    PENDING = "pending"
    """Seen, but not for as long as its rule asks, or within the cool-down. Never stored and never told."""
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    """A person knows; silent until it is cleared."""
    CLEARED = "cleared"


RAISED = frozenset({AlertState.ACTIVE, AlertState.ACKNOWLEDGED})
"""The condition holds, or has not been over for long enough."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The current row of an alert. Instants are epoch milliseconds. `value` and `bound` are in the unit of the rule."""

    rule: str
    subject: str = ""
    state: AlertState
    severity: Severity = Severity.WARNING
    message: str = ""
    value: float = 0.0
    bound: float = 0.0
    since_ms: int
    """Since when the condition holds without a break."""
    away_ms: int | None = None
    """Since when it does not hold any more, while the alert is still raised."""
    raised_ms: int | None = None
    """When it was last raised; the cool-down counts from here."""
    acknowledged_ms: int | None = None
    acknowledged_by: str = ""
    note: str = ""
    cleared_ms: int | None = None
    times: int = 0
    """How often it was raised."""
    updated_ms: int

    @property
    def id(self) -> str:
        """What it is called.

        >>> Alert(rule="tier_down", subject="standard", state=AlertState.ACTIVE, since_ms=0, updated_ms=0).id
        'tier_down:standard'
        """
        return alert_id(self.rule, self.subject)


def alert_id(rule: str, subject: str) -> str:
    """The name of an alert; the subject may hold anything, a rule no colon.

    >>> alert_id("no_worker", "")
    'no_worker'
    """
    return f"{rule}:{subject}" if subject else rule
