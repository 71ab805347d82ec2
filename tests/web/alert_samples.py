"""What a hub with one raised alert would answer."""

from ostler.domain.alert_rules import RULES, rule_of
from ostler.domain.alerts import Alert, AlertState, Severity
from ostler.hub.alert_views import AlertList, AlertRow, Delivered, DeliveryTest, RuleRow
from tests.web.samples import NOW_MS

TIER_ALERT = Alert(
    rule="tier_down",
    subject="standard",
    state=AlertState.ACTIVE,
    severity=Severity.CRITICAL,
    message="no endpoint of tier standard can be used, for 60 s now",
    value=60.0,
    since_ms=NOW_MS - 120_000,
    raised_ms=NOW_MS - 60_000,
    times=1,
    updated_ms=NOW_MS - 60_000,
)
ALERTS = AlertList(
    alerts=(AlertRow(id="tier_down:standard", alert=TIER_ALERT, doc=RULES["tier_down"].doc),),
    rules=(
        RuleRow(name="errors", doc=RULES["errors"].doc, unit="failures", rule=rule_of("errors")),
        RuleRow(name="call_rate", doc=RULES["call_rate"].doc, unit="calls"),
    ),
    now_ms=NOW_MS,
)
DELIVERY_TEST = DeliveryTest(
    places=(
        Delivered(to="log", outcome="told", detail="written"),
        Delivered(to="webhook ops", outcome="failed", detail="it answered with status 500"),
    )
)
