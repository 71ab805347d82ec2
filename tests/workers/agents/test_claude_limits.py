"""What Claude Code says of the windows of a subscription, in the events that its runs print for subscribers."""

import json

import pytest

from ostler.domain.allowances import Reported
from ostler.workers.runners.agents.claude import Claude

RESULT = {"type": "result", "subtype": "success", "is_error": False, "result": "done", "session_id": "s"}
WORDS = {"type": "assistant", "message": {"id": "m", "model": "claude", "content": [{"type": "text", "text": "done"}]}}


def told(*infos: dict[str, object]) -> dict[str, Reported]:
    """Windows by name, after a run that printed these."""
    reader = Claude().reader()
    for line in (WORDS, *({"type": "rate_limit_event", "rate_limit_info": info} for info in infos), RESULT):
        reader.feed(json.dumps(line).encode())
    return {one.window: one for one in reader.verdict(0, "").allowances}


def test_each_window_is_reported_as_it_was_last_told() -> None:
    """With its length, its models and when it is new; the instant of the report is filled in later."""
    five = {"status": "allowed", "rateLimitType": "five_hour", "resetsAt": 1_790_000_000}
    opus = {"status": "allowed_warning", "rateLimitType": "seven_day_opus", "utilization": 0.8}

    found = told(five | {"utilization": 0.1}, opus, five | {"utilization": 0.25})

    assert found["5h"] == Reported(
        provider="anthropic", window="5h", used_percent=25.0, at_ms=0, resets_ms=1_790_000_000_000, hours=5
    )
    assert (found["7d_opus"].used_percent, found["7d_opus"].family, found["7d_opus"].hours) == (80.0, "opus", 168)


def test_a_window_that_refuses_is_used_up() -> None:
    """Whether or not a share is said; the run fails for it as before."""
    found = told({"status": "rejected", "rateLimitType": "seven_day", "utilization": 0.99})

    assert found["7d"].used_percent == 100.0


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"status": "allowed", "rateLimitType": "five_hour"},
        {"status": "allowed", "rateLimitType": "overage", "utilization": 0.5},
        {"status": "allowed", "rateLimitType": "five_hour", "utilization": "half"},
        {"status": "allowed", "utilization": 0.5},
    ],
)
def test_what_says_no_share_of_a_window_is_no_report(info: dict[str, object]) -> None:
    """Nothing is made up."""
    assert told(info) == {}
