"""The plan of one call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.simulate.timing import Timing, duration_ms


def timing(prefill_ms: int = 100, decode_ms: int = 1000) -> Timing:
    return Timing(submitted_ms=10, attached_ms=40, started_ms=60, prefill_ms=prefill_ms, decode_ms=decode_ms)


def test_waiting_for_a_slot_is_part_of_the_whole_but_not_of_the_load() -> None:
    """The load ends when a loaded model took the call."""
    plan = timing()

    assert (plan.load_ms, plan.prefilled_ms, plan.ends_ms, plan.total_ms) == (30, 160, 1160, 1150)


@given(st.integers(0, 500), st.integers(0, 5000))
def test_tokens_come_evenly_and_the_last_one_ends_the_call(of_tokens: int, decode_ms: int) -> None:
    """Never before the prompt was read, never out of order."""
    plan = timing(decode_ms=decode_ms)

    due = [plan.token_due_ms(tokens, of_tokens) for tokens in range(of_tokens + 1)]

    assert due == sorted(due)
    assert due[0] == plan.prefilled_ms
    assert due[-1] == (plan.ends_ms if of_tokens else plan.prefilled_ms)


def test_a_token_beyond_the_answer_is_due_at_its_end() -> None:
    """So that a caller cannot wait for ever."""
    assert timing().token_due_ms(99, 3) == timing().ends_ms


@pytest.mark.parametrize(("tokens", "speed", "expected"), [(0, 30, 0), (1, 30, 34), (30, 30, 1000), (1, 5000, 1)])
def test_durations_are_rounded_up(tokens: int, speed: float, expected: int) -> None:
    """Work that is done takes time."""
    assert duration_ms(tokens, speed) == expected
