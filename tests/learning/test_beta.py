"""The beta distribution against values known from elsewhere and against its own laws."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning.beta import chance_above, chance_below, lower_bound, upper_bound

counts = st.floats(0.5, 2_000.0)
rates = st.floats(0.0, 1.0)


def by_binomial(rate: float, a: int, b: int) -> float:
    """I_x(a, b) for whole a and b: P(at least a successes in a + b - 1 trials)."""
    trials = a + b - 1
    return sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(a, trials + 1))


@pytest.mark.parametrize("a", [1, 2, 5, 17, 60])
@pytest.mark.parametrize("b", [1, 3, 9, 40])
@pytest.mark.parametrize("rate", [0.01, 0.25, 0.5, 0.75, 0.9, 0.999])
def test_whole_counts_give_the_binomial_sum(a: int, b: int, rate: float) -> None:
    """For whole counts the function is a sum that can be written out."""
    assert chance_below(rate, a, b) == pytest.approx(by_binomial(rate, a, b), abs=1e-11)


@pytest.mark.parametrize(
    ("rate", "a", "b", "expected"),
    [(0.5, 0.5, 0.5, 0.5), (0.25, 0.5, 0.5, 1 / 3), (0.75, 0.5, 0.5, 2 / 3), (0.36, 0.5, 1, 0.6), (0.5, 2, 1, 0.25)],
)
def test_known_values(rate: float, a: float, b: float, expected: float) -> None:
    """The arcsine law, roots and powers have closed forms."""
    assert chance_below(rate, a, b) == pytest.approx(expected, abs=1e-12)


@given(rates, counts, counts)
def test_both_sides_add_up(rate: float, a: float, b: float) -> None:
    """Below and above are all there is, and the mirror image says the same."""
    below = chance_below(rate, a, b)
    assert 0.0 <= below <= 1.0
    assert below + chance_above(rate, a, b) == pytest.approx(1.0)
    assert below == pytest.approx(1.0 - chance_below(1.0 - rate, b, a), abs=1e-8)


@given(counts, counts, st.floats(0.5, 0.99))
def test_a_bound_is_where_the_chance_is(a: float, b: float, confidence: float) -> None:
    """The true rate is above the lower bound, and below the upper one, with just the confidence that was asked for."""
    low, high = lower_bound(a, b, confidence), upper_bound(a, b, confidence)
    assert low <= high + 1e-9
    assert chance_above(low, a, b) == pytest.approx(confidence, abs=1e-6)
    assert chance_below(high, a, b) == pytest.approx(confidence, abs=1e-6)


@given(counts, counts, st.floats(0.01, 50.0))
def test_a_success_raises_and_a_failure_lowers_the_bound(a: float, b: float, more: float) -> None:
    """Evidence moves a bound the way it points."""
    assert lower_bound(a + more, b) >= lower_bound(a, b) - 1e-9
    assert lower_bound(a, b + more) <= lower_bound(a, b) + 1e-9


def test_a_bound_of_many_outcomes_is_close_to_their_share() -> None:
    """With a hundred thousand outcomes there is little left to doubt, and the sum still converges."""
    assert lower_bound(80_000.0, 20_000.0, 0.99) == pytest.approx(0.8, abs=0.004)
