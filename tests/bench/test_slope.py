"""What counts as growth: a steady slope does, noise, a warm-up, one jump, or a slope that is worth nothing do not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.crowd.slope import trend

TIMES = [float(at) for at in range(0, 3600, 30)]


def noisy(level: float, hourly: float, noise: float, seed: int = 1) -> list[float]:
    """Readings of an hour."""
    rng = random.Random(seed)
    return [level + hourly * at / 3600 + rng.gauss(0, noise) for at in TIMES]


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_found_under_noise(seed: int) -> None:
    """Ten MB an hour on a hundred, with readings that scatter by two."""
    found = trend(TIMES, noisy(100, 10, 2, seed), share=0.04, least=2)

    assert found.grows
    assert found.low <= found.hourly <= found.high
    assert found.hourly == pytest.approx(10, abs=5)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_no_leak(seed: int) -> None:
    """However the readings scatter."""
    assert not trend(TIMES, noisy(100, 0, 1, seed), share=0.04, least=2).grows


def test_what_fills_in_the_first_third_is_no_leak() -> None:
    """Caches, pools, the first use of each module."""
    values = [70 + min(at, 1_100) / 40 for at in TIMES]
    assert not trend(TIMES, values, share=0.04, least=2).grows


def test_a_slope_that_comes_to_nothing_is_no_leak() -> None:
    """It is certain, and less than is worth mentioning in the whole time."""
    found = trend(TIMES, noisy(100, 1, 0.01), share=0.04, least=2)
    assert found.low > 0
    assert not found.grows


def test_one_jump_is_no_leak() -> None:
    """Once a day's sums were read, the memory stays where it is."""
    values = [100.0 if at < 2_700 else 120.0 for at in TIMES]
    assert not trend(TIMES, values, share=0.04, least=2).grows


def test_too_few_readings_say_nothing() -> None:
    """A run that broke off at once is not judged."""
    assert not trend([0.0, 1.0, 2.0], [1.0, 50.0, 100.0], share=0.04, least=2).grows
    assert not trend([5.0], [1.0], share=0.04, least=2).grows


@given(st.lists(st.floats(0, 1e6), min_size=12, max_size=40), st.floats(-1e5, 1e5))
def test_the_judgement_does_not_depend_on_the_level(values: list[float], shift: float) -> None:
    """The slope of readings that all lie higher is the same."""
    times = [float(at) for at in range(len(values))]
    before = trend(times, values, share=0.0, least=1.0)
    after = trend(times, [value + shift for value in values], share=0.0, least=1.0)

    assert after.hourly == pytest.approx(before.hourly, rel=1e-3, abs=1.0)
    assert after.low <= after.hourly <= after.high
