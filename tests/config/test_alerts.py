"""Alert rules of a profile: those of the catalogue, with what the profile says otherwise."""

from pathlib import Path

import pytest

from ostler.config.load import load_text
from ostler.config.observing import LogFormat
from ostler.config.settings import LoadedProfile
from ostler.config.sources import Source
from ostler.domain.alert_rules import RULES, rule_of
from ostler.domain.alerts import Severity
from ostler.domain.errors import ProfileError


def load(text: str, tmp_path: Path) -> LoadedProfile:
    source = Source(path=tmp_path / "ostler.yaml", label="ostler.yaml", name="example")
    return load_text(text, source, {"HOME": str(tmp_path)}, tmp_path)


def test_without_a_word_the_catalogue_is_in_force(tmp_path: Path) -> None:
    """All rules that are on by default, with their own figures."""
    profile = load("name: x\n", tmp_path)

    assert set(profile.alert_rules) == {name for name, kind in RULES.items() if kind.enabled}
    assert profile.alert_rules["errors"] == rule_of("errors")
    assert (profile.alerts.every_ms, profile.alerts.start_after_ms) == (30_000, 30_000)
    assert profile.telemetry.log_format is LogFormat.TEXT


def test_a_figure_that_is_written_replaces_that_figure_alone(tmp_path: Path) -> None:
    """The others stay those of the catalogue."""
    text = "alerts: {rules: {errors: {above: 20, for: 2m}, no_worker: {severity: warning, cooldown: 0s}}}\n"
    rules = load(text, tmp_path).alert_rules

    errors, worker = rules["errors"], rules["no_worker"]
    assert (errors.above, errors.for_ms, errors.cooldown_ms) == (20, 120_000, rule_of("errors").cooldown_ms)
    assert (worker.severity, worker.cooldown_ms, worker.for_ms) == (Severity.WARNING, 0, 60_000)


def test_rules_are_turned_off_and_on_by_name(tmp_path: Path) -> None:
    """One that is off by default needs the word; a figure alone does not turn it on."""
    rules = load("alerts: {rules: {errors: {enabled: false}, call_rate: {enabled: true}}}\n", tmp_path).alert_rules
    assert "errors" not in rules
    assert "call_rate" in rules

    assert "call_rate" not in load("alerts: {rules: {call_rate: {above: 9}}}\n", tmp_path).alert_rules


def test_turned_off_as_a_whole_nothing_is_in_force(tmp_path: Path) -> None:
    """Whatever the rules say."""
    profile = load("alerts: {enabled: false, rules: {errors: {enabled: true}}}\n", tmp_path)

    assert profile.alert_rules == {}


def test_how_long_a_tier_must_be_down_stands_with_the_scheduler(tmp_path: Path) -> None:
    """One figure for the event of the scheduler and for the rule; the rule's own word wins."""
    text = "scheduler: {tier_alert: 90s, tier_alert_cooldown: 10m}\n"
    rule = load(text, tmp_path).alert_rules["tier_down"]
    assert (rule.for_ms, rule.cooldown_ms) == (90_000, 600_000)

    own = load(text + "alerts: {rules: {tier_down: {for: 5s}}}\n", tmp_path).alert_rules["tier_down"]
    assert (own.for_ms, own.cooldown_ms) == (5_000, 600_000)


@pytest.mark.parametrize(
    ("text", "where", "remedy"),
    [
        ("alerts: {rules: {erors: {above: 1}}}", "alerts.rules.erors", "errors"),
        ("alerts: {rules: {errors: {abov: 1}}}", "alerts.rules.errors.abov", "above"),
        ("alerts: {rules: {errors: {above: -1}}}", "alerts.rules.errors.above", ""),
        ("alerts: {rules: {errors: {severity: fatal}}}", "alerts.rules.errors.severity", "critical"),
        ("alerts: {webhooks: {ops: {url: example.org}}}", "alerts.webhooks.ops.url", "https://"),
        ("alerts: {webhooks: {ops: {least: critical}}}", "alerts.webhooks.ops", "https://"),
        ("alerts: {webhooks: {ops: {url: 'http://box:99999/x'}}}", "alerts.webhooks.ops.url", "https://"),
        ("alerts: {webhooks: {ops: {url: 'https://a b/x'}}}", "alerts.webhooks.ops.url", "https://"),
        ("alerts: {every: 10ms}", "alerts.every", ""),
        ("telemetry: {traces_url: localhost}", "telemetry.traces_url", "http://"),
        ("telemetry: {log_format: xml}", "telemetry.log_format", "json"),
        ("telemetry: {keep_events: 0s}", "telemetry.keep_events", ""),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(text: str, where: str, remedy: str, tmp_path: Path) -> None:
    """And with what would work."""
    with pytest.raises(ProfileError) as error:
        load(text + "\n", tmp_path)

    (problem,) = error.value.problems
    assert where in problem.where
    assert remedy in problem.remedy


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_can_be_changed_by_its_name(name: str, tmp_path: Path) -> None:
    """None of them has a figure of its own that a profile cannot reach."""
    text = f"alerts: {{rules: {{{name}: {{enabled: true, above: 7, for: 1s, clear: 2s, cooldown: 3s}}}}}}\n"
    rule = load(text, tmp_path).alert_rules[name]

    assert (rule.above, rule.for_ms, rule.clear_ms, rule.cooldown_ms) == (7, 1_000, 2_000, 3_000)
