"""How long an endpoint wants to be left alone, from whatever it says it with."""

import pytest

from ostler.wire.retry_after import MAX_RETRY_AFTER_MS, instant_ms, retry_after_ms

NOW_MS = 1_792_000_000_000  # 2026-10-14 17:46:40 UTC


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3_000),
        ({"retry-after": "0.25"}, 250),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1_500),
        ({"retry-after": "Wed, 14 Oct 2026 17:46:45 GMT"}, 5_000),
        ({"retry-after": "Wed, 14 Oct 2026 17:46:00 GMT"}, 0),  # already over
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999"}, MAX_RETRY_AFTER_MS),
        ({"x-ratelimit-reset-requests": "20ms"}, 20),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360_000),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3_723_500),
        ({"x-ratelimit-reset-tokens": "17"}, 17_000),  # Azure: bare seconds
        ({"x-ratelimit-reset": str(NOW_MS + 4_000)}, 4_000),  # OpenRouter: epoch milliseconds
        ({"x-ratelimit-reset": str(NOW_MS // 1_000 + 4)}, 4_000),  # epoch seconds
        ({"ratelimit-reset": "11"}, 11_000),
        ({"anthropic-ratelimit-tokens-reset": "2026-10-14T17:46:50Z"}, 10_000),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"}, 2_000),
        (
            {
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "149000",
            },
            1_000,  # only the limit that is used up counts
        ),
        (
            {
                "anthropic-ratelimit-requests-reset": "2026-10-14T17:46:41Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-10-14T18:00:00Z",
                "anthropic-ratelimit-tokens-remaining": "12",
            },
            1_000,
        ),
        ({"retry-after": "2", "x-ratelimit-reset-tokens": "6m0s"}, 2_000),
        ({"x-ratelimit-limit-requests": "60"}, None),
    ],
)
def test_headers(headers: dict[str, str], expected: int | None) -> None:
    """Each spelling in use gives its wait in milliseconds; nonsense gives none."""
    assert retry_after_ms(headers, NOW_MS) == expected


def test_a_delay_in_the_body_is_used_when_no_header_says_it() -> None:
    """Google puts the wait into the error itself."""
    assert retry_after_ms({}, NOW_MS, body_delay="34.1s") == 34_100
    assert retry_after_ms({"retry-after": "1"}, NOW_MS, body_delay="34.1s") == 1_000


@pytest.mark.parametrize("unit", ["", "ms", "s", "m", "h", "d"])
def test_no_wait_is_too_long_to_be_cut(unit: str) -> None:
    """However many digits it has."""
    said = {"retry-after": "9" * 400 + unit}
    assert retry_after_ms(said, 0) in (None, MAX_RETRY_AFTER_MS)
    assert instant_ms(said["retry-after"], 0) is None
