"""Windows of limits: every instant lies in exactly one of each kind, and the next begins where it ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.live import is_call_id
from ostler.hub.call_ids import new_call_id
from ostler.hub.windows import WINDOWS, instant_text, window_of

INSTANTS = st.integers(min_value=0, max_value=4_000_000_000_000)


def ms(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("kind", "now", "since", "ends"),
    [
        ("day", (2026, 3, 1, 23, 59, 59), (2026, 3, 1), (2026, 3, 2)),
        ("month", (2026, 2, 1), (2026, 2, 1), (2026, 3, 1)),
        ("month", (2024, 2, 29, 12), (2024, 2, 1), (2024, 3, 1)),
        ("month", (2026, 12, 31, 23, 59, 59), (2026, 12, 1), (2027, 1, 1)),
    ],
)
def test_windows_are_those_of_the_calendar(
    kind: str, now: tuple[int, ...], since: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    """Of UTC, also in December and in a leap year."""
    assert window_of(kind, ms(*now)) == (ms(*since), ms(*ends))


@given(kind=st.sampled_from(WINDOWS), now_ms=INSTANTS)
def test_windows_follow_each_other_without_a_gap(kind: str, now_ms: int) -> None:
    """The window of its first and of its last instant is the same one, and its end begins another."""
    window = window_of(kind, now_ms)

    assert window.since_ms <= now_ms
    assert window_of(kind, window.since_ms) == window
    if window.ends_ms is not None:
        assert now_ms < window.ends_ms
        assert window_of(kind, window.ends_ms - 1) == window
        assert window_of(kind, window.ends_ms).since_ms == window.ends_ms


@given(first_ms=INSTANTS, second_ms=INSTANTS)
def test_ids_of_calls_are_in_the_order_of_time(first_ms: int, second_ms: int) -> None:
    """As text, whatever chance adds; and each has the shape of one."""
    first, second = new_call_id(first_ms), new_call_id(second_ms)

    assert is_call_id(first)
    assert first != second
    if first_ms != second_ms:
        assert (first < second) == (first_ms < second_ms)


def test_ids_of_one_instant_differ() -> None:
    """Eighty bits of chance keep calls of one millisecond apart."""
    assert len({new_call_id(1_700_000_000_000) for _ in range(2_000)}) == 2_000


def test_the_chance_in_an_id_is_of_its_whole_length() -> None:
    """Every one of its sixteen letters varies, over many draws from the system too."""
    ids = [new_call_id(1_700_000_000_000) for _ in range(1_000)]
    assert all(len({letters[place] for letters in ids}) > 20 for place in range(12, 28))
    assert len({letters[:12] for letters in ids}) == 1


def test_an_instant_is_told_with_its_zone() -> None:
    """To the minute."""
    assert instant_text(ms(2026, 11, 29, 20, 5, 59)) == "2026-11-29 20:05 UTC"
