"""Measured speeds: a guess gives way to samples, an odd sample changes little, and it is said how sure it is."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.measured import Measured
from ostler.residency.measured import estimate, sampled

VALUES = st.floats(0.1, 1e6)


def after(guess: float, *values: float) -> Measured:
    seen = None
    for at_ms, value in enumerate(values):
        seen = sampled(seen, guess, value, at_ms)
    assert seen is not None
    return seen


def test_without_samples_it_is_the_guess_within_wide_bounds() -> None:
    """Nobody has measured yet: the configured figure, and a factor of three either way."""
    found = estimate(None, 20_000.0)

    assert (round(found.value), found.samples) == (20_000, 0)
    assert found.low < 8_000
    assert found.high > 50_000


def test_samples_replace_the_guess() -> None:
    """A guess that is wrong by a factor of ten is nearly forgotten after some loads, and the bounds get narrow."""
    one, many = (estimate(after(2_000.0, *[20_000.0] * n), 2_000.0) for n in (1, 30))

    assert 5_000 < one.value < 20_000
    assert math.isclose(many.value, 20_000, rel_tol=0.2)
    assert many.high / many.low < one.high / one.low
    assert many.samples == 30


def test_one_stall_moves_little_a_lasting_change_wins() -> None:
    """A load that took a hundred times as long is cut down; when loads stay slow, the estimate follows."""
    steady = [10_000.0, 11_000.0, 9_000.0, 10_500.0] * 4
    calm = estimate(after(10_000.0, *steady), 10_000.0).value
    stalled = estimate(after(10_000.0, *steady, 1_000_000.0), 10_000.0).value
    slower = estimate(after(10_000.0, *steady, *[30_000.0] * 40), 10_000.0).value

    assert stalled < 1.15 * calm
    assert math.isclose(slower, 30_000, rel_tol=0.2)


@given(guess=VALUES, values=st.lists(VALUES, min_size=1, max_size=40))
def test_an_estimate_lies_between_what_was_said_and_seen(guess: float, values: list[float]) -> None:
    """Never below the smallest nor above the largest of the guess and the samples; the bounds enclose it."""
    found = estimate(after(guess, *values), guess)

    assert min(guess, *values) * 0.999 <= found.value <= max(guess, *values) * 1.001
    assert found.low <= found.value <= found.high


@given(value=st.sampled_from([0.0, -1.0, math.inf, math.nan]))
def test_nonsense_is_no_sample(value: float) -> None:
    """A duration that is nothing, negative or not a number changes nothing."""
    before = after(10.0, 12.0)

    assert sampled(before, 10.0, value, 99) == before


@given(guess=VALUES, values=st.lists(VALUES, min_size=2, max_size=20))
def test_equal_samples_give_equal_estimates(guess: float, values: list[float]) -> None:
    """No state but what is passed in: the same history is the same knowledge."""
    assert after(guess, *values) == after(guess, *values)


def test_a_guess_of_nothing_does_no_harm() -> None:
    """A model that is said to load in no time has no logarithm; what is measured counts."""
    assert estimate(None, 0.0).value == 1.0
    assert estimate(after(0.0, *[5_000.0] * 40), 0.0).value > 2_000
