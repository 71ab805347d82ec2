"""`ostler alerts`: what is raised, and who knows of it."""

import getpass
import json

import pytest
from msgspec.structs import replace

from ostler.domain.alerts import AlertState
from ostler.domain.errors import ExitCode, NotFoundError
from ostler.hub.alert_views import AlertList, AlertNote, DeliveryTest
from tests.cli.conftest import Ostler
from tests.web import alert_samples
from tests.web.recording_desks import RecordingAlerts
from tests.web.recording_hub import ServedHub


def answers(monkeypatch: pytest.MonkeyPatch, answer: AlertList) -> None:
    async def alerts(_desk: RecordingAlerts, *, every: bool = False) -> AlertList:
        return answer

    monkeypatch.setattr(RecordingAlerts, "alerts", alerts)


def test_what_is_raised_is_listed_and_a_critical_one_fails_the_verb(ostler: Ostler, served: ServedHub) -> None:
    """So that a script may ask: exit code 1 while a critical alert is active."""
    code, out, _ = ostler("alerts", "list")

    assert code == ExitCode.FAILED
    assert "tier_down:standard  critical  active" in out
    assert "no endpoint of tier standard can be used" in out
    assert served.asked("alerts") == [(False,)]


def test_one_that_is_acknowledged_does_not_fail_the_verb(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody knows; it says who."""
    row = alert_samples.ALERTS.alerts[0]
    known = replace(row.alert, state=AlertState.ACKNOWLEDGED, acknowledged_by="ann")
    answers(monkeypatch, replace(alert_samples.ALERTS, alerts=(replace(row, alert=known),)))

    code, out, _ = ostler("alerts", "list")

    assert code == ExitCode.OK
    assert "acknowledged by ann" in out


def test_nothing_raised_says_what_is_watched(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list leads on."""
    answers(monkeypatch, AlertList(now_ms=1))

    code, out, _ = ostler("alerts", "list")

    assert code == ExitCode.OK
    assert "ostler alerts list --rules" in out


def test_the_rules_are_shown_with_their_figures(ostler: Ostler, served: ServedHub) -> None:
    """One that is off says so."""
    code, out, _ = ostler("alerts", "list", "--rules", "--all")

    assert code == ExitCode.OK
    assert "10 failures" in out
    assert next(line for line in out.splitlines() if line.startswith("call_rate")).split()[1] == "off"
    assert served.asked("alerts") == [(True,)]


def test_as_json_it_is_what_the_hub_said(ostler: Ostler, served: ServedHub) -> None:
    """The same exit code as for people."""
    code, out, _ = ostler("alerts", "list", "--json")

    assert code == ExitCode.FAILED
    assert json.loads(out)["alerts"][0]["id"] == "tier_down:standard"


def test_an_alert_is_acknowledged_by_its_name(ostler: Ostler, served: ServedHub) -> None:
    """With who and why; the user here where nobody is named."""
    code, out, _ = ostler("alerts", "ack", "tier_down:standard", "--by", "ann", "--note", "on it")
    ostler("alerts", "ack", "errors", "--json")

    assert code == ExitCode.OK
    assert "acknowledged tier_down:standard" in out
    assert served.asked("acknowledge") == [
        (AlertNote(id="tier_down:standard", by="ann", note="on it"),),
        (AlertNote(id="errors", by=getpass.getuser()),),
    ]


def test_all_are_acknowledged_only_when_that_was_said(ostler: Ostler, served: ServedHub) -> None:
    """Neither a name nor `--all`, or both, is bad input and asks nothing."""
    for flags in ((), ("errors", "--all")):
        code, _, err = ostler("alerts", "ack", *flags)
        assert code == ExitCode.USAGE
        assert "--all" in err
    assert served.hub.calls == []

    assert ostler("alerts", "ack", "--all", "--by", "a").code == ExitCode.OK
    assert served.asked("acknowledge") == [(AlertNote(by="a"),)]


def test_an_unknown_alert_is_refused_with_the_nearest_name(ostler: Ostler, served: ServedHub) -> None:
    """The hub's own words reach the person."""
    served.fails_with(NotFoundError("there is no alert tier_dwn", where="id", remedy="did you mean 'tier_down'?"))

    code, _, err = ostler("alerts", "ack", "tier_dwn")

    assert code == ExitCode.REFUSED
    assert "did you mean 'tier_down'?" in err


def test_a_test_shows_every_place_and_fails_where_one_failed(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told and what was not, with the reason."""
    code, out, _ = ostler("alerts", "test")
    assert code == ExitCode.FAILED
    assert "webhook ops  failed   it answered with status 500" in out

    async def nowhere(_desk: RecordingAlerts) -> DeliveryTest:
        return DeliveryTest()

    monkeypatch.setattr(RecordingAlerts, "test", nowhere)
    code, out, _ = ostler("alerts", "test")
    assert (code, out) == (ExitCode.OK, "alerts are told nowhere\n")
