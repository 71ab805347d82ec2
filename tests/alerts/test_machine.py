"""What becomes of alerts: told once when it lasts, silent when it comes and goes."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.alerts.machine import Finding, Step, Told, acknowledged, step
from ostler.domain.alert_rules import Rule
from ostler.domain.alerts import RAISED, Alert, AlertState, Severity

PATIENT = Rule(name="down", for_ms=60_000, clear_ms=30_000, cooldown_ms=300_000, severity=Severity.CRITICAL)
HASTY = Rule(name="many", cooldown_ms=0)
RULES = {rule.name: rule for rule in (PATIENT, HASTY)}
SEEN = Finding(rule="down", subject="standard", message="gone", value=5.0, bound=1.0)
NAME = "down:standard"


class Play:
    """Looks at instants in seconds, one after the other."""

    def __init__(self, rules: Mapping[str, Rule] = RULES) -> None:
        self.rules = rules
        self.alerts: Mapping[str, Alert] = {}
        self.told: list[tuple[int, Told]] = []

    def look(self, second: int, *findings: Finding) -> Step:
        after = step(self.alerts, findings, self.rules, second * 1_000)
        self.alerts = after.alerts
        self.told += [(second, change.told) for change in after.changes]
        return after

    def acknowledge(self, second: int, name: str = NAME) -> None:
        known = acknowledged(self.alerts[name], second * 1_000, by="ann", note="on it")
        self.alerts = {**self.alerts, name: known}

    def state(self, name: str = NAME) -> AlertState | None:
        return self.alerts[name].state if name in self.alerts else None


def test_a_condition_is_told_of_once_it_has_held_for_long_enough() -> None:
    """Silent below the duration, one alert at it, and no second one while it goes on."""
    play = Play()

    for second in (0, 30, 59):
        play.look(second, SEEN)
    assert (play.told, play.state()) == ([], AlertState.PENDING)

    for second in (60, 90, 1_000):
        play.look(second, SEEN)
    assert play.told == [(60, Told.RAISED)]
    alert = play.alerts[NAME]
    assert (alert.severity, alert.message, alert.value, alert.since_ms, alert.raised_ms, alert.times) == (
        Severity.CRITICAL,
        "gone",
        5.0,
        0,
        60_000,
        1,
    )


def test_a_blip_leaves_no_trace() -> None:
    """What was gone before the duration was over is not remembered, and the next one begins anew."""
    play = Play()
    play.look(0, SEEN)
    play.look(30)
    assert play.alerts == {}

    play.look(31, SEEN)
    play.look(90, SEEN)

    assert play.told == []


def test_how_long_it_holds_counts_from_when_it_began_where_that_is_known() -> None:
    """A rule may know better than the first look since when."""
    play = Play()

    play.look(100, msgspec.structs.replace(SEEN, since_ms=40_000))

    assert play.told == [(100, Told.RAISED)]
    assert play.alerts[NAME].since_ms == 40_000


def test_a_raised_alert_is_cleared_only_after_it_was_gone_for_long_enough() -> None:
    """A gap shorter than `clear_ms` is no end; the time counts from the last gap's beginning."""
    play = Play()
    play.look(0, SEEN)
    play.look(60, SEEN)

    play.look(70)
    play.look(95, SEEN)
    play.look(96)
    play.look(125)
    assert play.state() is AlertState.ACTIVE
    play.look(126)

    assert play.told == [(60, Told.RAISED), (126, Told.CLEARED)]
    assert play.alerts[NAME].cleared_ms == 126_000


def test_near_the_bound_a_raised_alert_is_held_and_no_new_one_is_raised() -> None:
    """A finding that does not fire keeps what is raised and starts nothing."""
    play, near = Play(), Finding(rule="many", firing=False, value=9.0)

    play.look(0, near)
    assert play.alerts == {}
    play.look(1, msgspec.structs.replace(near, firing=True))
    play.look(2, near)
    assert play.alerts["many"].state is AlertState.ACTIVE
    play.look(3)

    assert play.told == [(1, Told.RAISED), (3, Told.CLEARED)]


def test_within_the_cool_down_it_is_not_told_again_and_afterwards_it_is_if_it_still_holds() -> None:
    """From one raising to the next at least the cool-down passes."""
    play = Play()
    play.look(0, SEEN)
    play.look(60, SEEN)
    play.look(70)
    play.look(100)
    assert play.told == [(60, Told.RAISED), (100, Told.CLEARED)]

    play.look(110, SEEN)
    play.look(359, SEEN)
    assert (play.told[2:], play.state()) == ([], AlertState.PENDING)
    play.look(360, SEEN)

    assert play.told[2:] == [(360, Told.RAISED)]
    assert play.alerts[NAME].times == 2


def test_one_that_came_back_and_went_within_the_cool_down_stays_cleared() -> None:
    """The row keeps when it was last raised, so that the cool-down is not forgotten."""
    play = Play()
    play.look(0, SEEN)
    play.look(60, SEEN)
    play.look(70)
    play.look(100)

    play.look(110, SEEN)
    play.look(200)

    assert (play.state(), play.alerts[NAME].raised_ms, len(play.told)) == (AlertState.CLEARED, 60_000, 2)


def test_acknowledging_silences_until_it_is_cleared() -> None:
    """It stays acknowledged while it holds; the next time it is raised anew."""
    play = Play({"many": HASTY})
    many = Finding(rule="many")
    play.look(0, many)
    play.acknowledge(1, "many")
    play.look(2, many)

    alert = play.alerts["many"]
    assert (alert.state, alert.acknowledged_by, alert.note, alert.acknowledged_ms) == (
        AlertState.ACKNOWLEDGED,
        "ann",
        "on it",
        1_000,
    )
    play.look(3)
    play.look(4, many)

    assert play.told == [(0, Told.RAISED), (3, Told.CLEARED), (4, Told.RAISED)]
    assert play.alerts["many"].acknowledged_by == ""


def test_acknowledging_twice_or_what_is_over_changes_nothing() -> None:
    """Only an active alert can be acknowledged."""
    play = Play({"many": HASTY})
    play.look(0, Finding(rule="many"))
    first = acknowledged(play.alerts["many"], 1, by="ann")
    play.look(1)

    assert acknowledged(first, 2, by="bob") == first
    assert acknowledged(play.alerts["many"], 2, by="bob") == play.alerts["many"]


def test_a_rule_that_is_turned_off_clears_what_it_raised() -> None:
    """Whatever `clear_ms` was: nobody looks any more."""
    play = Play()
    play.look(0, SEEN)
    play.look(60, SEEN)

    play.rules = {}
    play.look(61, SEEN)

    assert play.told == [(60, Told.RAISED), (61, Told.CLEARED)]


def test_subjects_are_told_of_apart_and_in_order_of_their_names() -> None:
    """One tier down says nothing about another."""
    play = Play({"many": HASTY})

    found = play.look(0, Finding(rule="many", subject="b"), Finding(rule="many", subject="a"))

    assert [change.alert.id for change in found.changes] == ["many:a", "many:b"]


LOOKS = st.lists(
    st.tuples(st.integers(1, 40_000), st.sampled_from(["gone", "near", "firing"]), st.booleans()), max_size=40
)
FIGURES = st.builds(
    Rule,
    name=st.just("r"),
    for_ms=st.integers(0, 50_000),
    clear_ms=st.integers(0, 50_000),
    cooldown_ms=st.integers(0, 100_000),
)


@settings(max_examples=150, deadline=None)
@given(LOOKS, FIGURES)
def test_whatever_happens_the_promises_of_a_rule_hold(looks: list[tuple[int, str, bool]], rule: Rule) -> None:
    """Over any course: raised and cleared take turns; no raising before the duration or within the cool-down; a step
    repeated with equal input gives the equal answer.
    """
    alerts: Mapping[str, Alert] = {}
    now_ms, held_since, last_raised, raised = 0, None, None, False
    for pause_ms, seen, acknowledge in looks:
        now_ms += pause_ms
        findings = [] if seen == "gone" else [Finding(rule="r", firing=seen == "firing")]
        held_since = (now_ms if held_since is None else held_since) if seen == "firing" else None
        after = step(alerts, findings, {"r": rule}, now_ms)
        assert step(alerts, findings, {"r": rule}, now_ms) == after, "equal input gives the equal answer"
        for change in after.changes:
            assert (change.told is Told.RAISED) is not raised, "raised and cleared take turns"
            raised = change.told is Told.RAISED
            if raised:
                assert held_since is not None, "only what fires is raised"
                assert now_ms - held_since >= rule.for_ms, "it has held for the duration"
                assert last_raised is None or now_ms - last_raised >= rule.cooldown_ms, "the cool-down is over"
                last_raised = now_ms
        assert (after.alerts.get("r") is not None and after.alerts["r"].state in RAISED) is raised, "the row agrees"
        alerts = after.alerts
        if acknowledge and raised:
            alerts = {"r": acknowledged(alerts["r"], now_ms)}


@pytest.mark.parametrize("count", [0, 1, 50])
def test_there_is_one_row_for_each_rule_and_subject(count: int) -> None:
    """Coming back a hundred times adds no row."""
    play = Play({"many": HASTY})
    for second in range(100):
        found = [Finding(rule="many", subject=str(number)) for number in range(count)] if second % 2 else []
        play.look(second, *found)

    assert len(play.alerts) == count
