"""Draft -> the alert rules in force: those of the catalogue that are on, with what the profile says otherwise.

How long a tier must be down stands in `scheduler.tier_alert`, since the scheduler tells of it too.
"""

from collections.abc import Mapping

import msgspec

from ostler.config.draft import Draft
from ostler.config.providers import split_url
from ostler.domain.alert_rules import RULES, Rule, rule_of
from ostler.domain.errors import nearest

_FIGURES = ("above", "for_ms", "clear_ms", "cooldown_ms", "severity")


def resolve_alerts(draft: Draft) -> Mapping[str, Rule]:
    """The rules in force, by name. Reports names that no rule has, and addresses that nobody can be told at."""
    section = draft.file.alerts
    for name in section.rules:
        if name not in RULES:
            draft.mistakes.add(("alerts", "rules", name), f"there is no alert rule '{name}'", nearest(name, RULES))
    for name, hook in section.webhooks.items():
        path = ("alerts", "webhooks", name)
        if not draft.mistakes.is_damaged(path) and split_url(hook.url or "") is None:
            draft.mistakes.add((*path, "url"), "is no address", "write one such as https://example.org/hook")
    traces = draft.file.telemetry.traces_url
    if traces is not None and split_url(traces) is None:
        draft.mistakes.add(("telemetry", "traces_url"), "is no address", "write one such as http://localhost:4318")
    if not section.enabled:
        return {}
    return {rule.name: rule for name in RULES if (rule := _rule(draft, name)) is not None}


def _rule(draft: Draft, name: str) -> Rule | None:
    rule, written = rule_of(name), draft.file.alerts.rules.get(name)
    if name == "tier_down":
        scheduler = draft.file.scheduler
        rule = msgspec.structs.replace(
            rule, for_ms=scheduler.tier_alert_ms, cooldown_ms=scheduler.tier_alert_cooldown_ms
        )
    if written is None:
        return rule if RULES[name].enabled else None
    if not (RULES[name].enabled if written.enabled is None else written.enabled):
        return None
    said = {figure: value for figure in _FIGURES if (value := getattr(written, figure)) is not None}
    return msgspec.structs.replace(rule, **said)
