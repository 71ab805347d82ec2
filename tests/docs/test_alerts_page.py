"""The page of alerts is complete and true: every rule with its figures, every state, every field that is sent."""

import json
import re
from pathlib import Path

import pytest

from ostler.alerts.rules import SHARE_SAMPLES_MIN, STABLE_SAMPLES
from ostler.cli.words import duration
from ostler.config.observing import AlertSettings
from ostler.domain.alert_rules import RULES
from ostler.domain.alerts import AlertState
from ostler.domain.event import CATALOGUE
from ostler.telemetry.delivery import BACKOFF_S, TRIES, WAITING_MAX, Payload

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "alerts.md").read_text(encoding="utf-8")
NONE = "-"


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table that begins with a heading, by their first cell."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells[0] == heading)
        if inside and not set(cells[0]) <= {"-"} and cells[0] != heading:
            found[cells[0].strip("`")] = cells[1:]
    return found


def test_every_rule_has_a_row_and_no_other() -> None:
    """In the order of the catalogue."""
    assert list(rows("rule")) == list(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_figures_of_a_rule_are_those_of_the_code(name: str) -> None:
    """Severity, bound, duration and cool-down; of a tier they stand with the scheduler."""
    kind = RULES[name]
    meaning, severity, above, held, cool = rows("rule")[name]

    assert len(meaning) > 20
    assert severity == kind.severity.value
    assert above == (f"{kind.above:g} {kind.unit}" if kind.unit in PAGE and kind.unit and above != NONE else NONE)
    if kind.above:
        assert above == f"{kind.above:g} {kind.unit}"
    if name == "tier_down":
        assert (held, cool) == ("`scheduler.tier_alert`", "`scheduler.tier_alert_cooldown`")
    else:
        assert held == (duration(kind.for_ms) if kind.for_ms else NONE)
        assert cool == (duration(kind.cooldown_ms) if kind.cooldown_ms else NONE)
    assert ("off unless" in meaning) is not kind.enabled


def test_every_state_that_people_see_is_explained() -> None:
    """What is only pending is never told."""
    assert set(rows("state")) == {state.value for state in AlertState} - {"pending"}


def test_every_event_of_alerts_is_named() -> None:
    """By its name in the catalogue; those of the scheduler have their own page."""
    own = {name for name in CATALOGUE if re.fullmatch(r"alert\.(raised|acknowledged|cleared|undelivered)", name)}

    assert len(own) == 4
    assert {name for name in own if f"`{name}`" not in PAGE} == set()


def test_the_example_of_a_webhook_has_every_field_and_no_other() -> None:
    """As JSON that could be sent."""
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None

    assert list(json.loads(example[1])) == list(Payload.__struct_fields__)


def test_every_header_of_a_webhook_is_explained() -> None:
    """And how the signature is checked is in it."""
    assert set(rows("header")) == {"Ostler-Event", "Ostler-Delivery", "Ostler-Signature"}
    assert "hmac.compare_digest" in PAGE


def test_the_numbers_in_sentences_are_those_of_the_code() -> None:
    """How often it looks, when it begins, how often it tries, how many wait."""
    settings = AlertSettings()
    waits = [f"{seconds:g}" for seconds in BACKOFF_S]

    assert f"every {settings.every_ms // 1_000} seconds" in PAGE
    assert f"first {settings.start_after_ms // 1_000} seconds" in PAGE
    assert f"after {waits[0]}, {waits[1]}\nand {waits[2]} seconds" in PAGE
    assert len(BACKOFF_S) == TRIES - 1
    assert f"at most {WAITING_MAX} messages" in PAGE
    assert (SHARE_SAMPLES_MIN, STABLE_SAMPLES) == (5, 3)
    assert "five at least" in PAGE
    assert "did not grow at three" in PAGE
