"""Settings of what is seen of a hub: alerts and their delivery, logs, metrics, traces, and how long events are kept."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ostler.domain.alerts import Severity

Seconds = Annotated[int, Meta(ge=1_000)]
Milliseconds = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]
NotNegativeMs = Annotated[int, Meta(ge=0)]


class RuleSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert rule, where it is to be otherwise than in the catalogue; `None` = as there."""

    enabled: bool | None = None
    above: NotNegative | None = None
    for_ms: NotNegativeMs | None = None
    clear_ms: NotNegativeMs | None = None
    cooldown_ms: NotNegativeMs | None = None
    severity: Severity | None = None


class WebhookSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that is told of alerts."""

    url: str | None = None
    secret_env: str | None = None
    """Variable with the secret that requests are signed with; `None` = they are not signed."""
    least: Severity = Severity.WARNING
    """Alerts below this are not told there."""


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked for, and who is told."""

    enabled: bool = True
    every_ms: Seconds = 30_000
    """Between two looks."""
    start_after_ms: NotNegativeMs = 30_000
    """After the hub's start: nothing is up yet, and nobody is to be told so."""
    log: bool = True
    desktop: bool = False
    """By `notify-send`, where the hub's user has a desktop."""
    webhooks: Mapping[str, WebhookSection] = {}
    rules: Mapping[str, RuleSection] = {}


class LogFormat(StrEnum):
    """How lines of the log are written."""

    TEXT = "text"
    JSON = "json"


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logs, metrics, traces, and how long events are kept."""

    log_format: LogFormat = LogFormat.TEXT
    log_events: bool = False
    """Write every event to the log, too."""
    metrics: bool = True
    """Whether `/metrics` answers."""
    traces_url: str | None = None
    """Where spans are sent by OTLP over HTTP; `None` = nowhere."""
    traces_service: str = "ostler"
    """What the sender is called in traces."""
    keep_events_ms: Milliseconds = 30 * 86_400_000
    """How long events are kept one by one; what they add up to is kept by day for good."""
