"""What headers say of the windows of a subscription is read; what they say of minutes, or wrongly, is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.allowances import Reported
from ostler.wire.allowances import reported, window_name, window_named

NOW_MS = 1_790_000_000_000
IN_AN_HOUR_S = NOW_MS // 1_000 + 3_600

ANTHROPIC = {
    "anthropic-ratelimit-unified-status": "allowed",
    "anthropic-ratelimit-unified-5h-status": "allowed",
    "anthropic-ratelimit-unified-5h-utilization": "0.17",
    "anthropic-ratelimit-unified-5h-reset": str(IN_AN_HOUR_S),
    "anthropic-ratelimit-unified-7d-utilization": "0.02",
    "anthropic-ratelimit-unified-7d-reset": "2026-09-22T13:33:20Z",
    "anthropic-ratelimit-unified-7d_opus-utilization": "1",
    "anthropic-ratelimit-unified-overage-utilization": "0.0",
    "anthropic-ratelimit-unified-representative-claim": "five_hour",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
}


def test_windows_of_anthropic_are_read_with_their_length_and_models() -> None:
    """A share is a share of one; a reset is seconds or an instant; what is paid beside it is no window."""
    five, week, opus = reported(ANTHROPIC, NOW_MS)

    assert five == Reported(
        window="5h", used_percent=17.0, at_ms=NOW_MS, resets_ms=NOW_MS + 3_600_000, hours=5, family=""
    )
    assert (week.window, week.used_percent, week.hours, week.resets_ms) == ("7d", 2.0, 168, 1_790_084_000_000)
    assert (opus.window, opus.used_percent, opus.family, opus.resets_ms) == ("7d_opus", 100.0, "opus", None)


@pytest.mark.parametrize(
    ("reset", "resets_ms"),
    [
        ({"x-codex-primary-reset-at": str(IN_AN_HOUR_S)}, NOW_MS + 3_600_000),
        ({"x-codex-primary-reset-after-seconds": "60"}, NOW_MS + 60_000),
        (
            {"x-codex-primary-reset-at": str(IN_AN_HOUR_S), "x-codex-primary-reset-after-seconds": "60"},
            NOW_MS + 3_600_000,
        ),
        ({"x-codex-primary-reset-at": "2026-09-21T14:33:20Z"}, NOW_MS + 1_200_000),
        ({}, None),
    ],
)
def test_windows_of_chatgpt_are_read_with_their_length(reset: dict[str, str], resets_ms: int | None) -> None:
    """They are called by their length, as those of others are, so that an allowance of that length means them."""
    headers = {"x-codex-primary-used-percent": "42.5", "x-codex-primary-window-minutes": "300"} | reset
    more = {"x-codex-secondary-used-percent": "7", "x-codex-secondary-window-minutes": "10080"}

    five, week = reported(headers | more, NOW_MS)
    assert (five.window, five.used_percent, five.hours, five.resets_ms) == ("5h", 42.5, 5.0, resets_ms)
    assert (week.window, week.used_percent, week.hours) == ("7d", 7.0, 168.0)


def test_a_window_of_an_unknown_length_keeps_the_name_it_has() -> None:
    """Nothing is guessed about it."""
    (found,) = reported({"x-codex-primary-used-percent": "1"}, NOW_MS)

    assert (found.window, found.hours) == ("primary", None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {
            "x-ratelimit-limit-requests": "100",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "6s",
        },
        {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-09-21T14:33:20Z"},
        {"anthropic-ratelimit-unified-5h-utilization": "much"},
        {"anthropic-ratelimit-unified-5h-utilization": "-0.1"},
        {"anthropic-ratelimit-unified-5h-utilization": "nan"},
        {"anthropic-ratelimit-unified-utilization": "0.5"},
        {"anthropic-ratelimit-unified-5h-reset": str(IN_AN_HOUR_S)},
        {"x-codex-primary-used-percent": ""},
        {"x-codex-primary-window-minutes": "300"},
    ],
)
def test_what_is_no_window_says_nothing(headers: dict[str, str]) -> None:
    """Limits by the minute are over in a minute; what cannot be read is no zero."""
    assert reported(headers, NOW_MS) == ()


def test_names_of_windows_are_lengths() -> None:
    """There and back."""
    for hours in (1, 5, 23, 24, 168):
        assert window_named(window_name(hours)) == (hours, "")
    assert window_name(None) == window_name(0.25) == window_name(0) == ""


@given(
    st.dictionaries(
        st.sampled_from([*ANTHROPIC, "x-codex-primary-used-percent", "x-codex-primary-reset-at"]), st.text()
    )
)
def test_no_header_breaks_an_answer(headers: dict[str, str]) -> None:
    """Whatever is in them: a share from 0 up, an instant of now, no error."""
    for one in reported(headers, NOW_MS):
        assert one.used_percent >= 0
        assert one.at_ms == NOW_MS


HUGE = "9" * 5_000


@pytest.mark.parametrize("value", ["1e308", "1e400", "-1e308", "nan", HUGE, "0x10", "1_0"])
@pytest.mark.parametrize("name", ["used-percent", "window-minutes", "reset-after-seconds", "reset-at"])
def test_no_figure_is_too_large_to_be_read_past(name: str, value: str) -> None:
    """Whatever a server says, the answer it comes with is handed on."""
    said = {"x-codex-primary-used-percent": "1", f"x-codex-primary-{name}": value}
    for one in reported(said, NOW_MS):
        assert one.resets_ms is None or one.resets_ms < NOW_MS + 1e15
        assert len(one.window) < 20


def test_no_name_of_a_window_is_too_long_to_be_read_past() -> None:
    """It names none."""
    assert reported({f"anthropic-ratelimit-unified-{HUGE}h-utilization": "1"}, NOW_MS) == ()
