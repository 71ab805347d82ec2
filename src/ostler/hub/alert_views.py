"""What the hub says of alerts."""

from typing import Literal

import msgspec

from ostler.domain.alert_rules import Rule
from ostler.domain.alerts import Alert


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert by its name. `doc`: what its rule looks for."""

    id: str
    alert: Alert
    doc: str = ""


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the catalogue as it is in force; `rule` is `null` where it is off."""

    name: str
    doc: str
    unit: str = ""
    rule: Rule | None = None


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts: the raised ones first, critical before warning, the newest first; then the cleared ones."""

    alerts: tuple[AlertRow, ...] = ()
    rules: tuple[RuleRow, ...] = ()
    now_ms: int = 0


class AlertNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says who knows of an alert. `id`: empty = of all that are active."""

    id: str = ""
    by: str = ""
    note: str = ""


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """How a test went at one place that alerts are told at."""

    to: str
    outcome: Literal["told", "failed"]
    detail: str = ""


class DeliveryTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test at every place that alerts are told at."""

    places: tuple[Delivered, ...] = ()
