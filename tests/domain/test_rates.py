"""Token buckets: what is let through in any stretch of time is never more than the burst and what flowed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.rates import Buckets

TIMES = st.lists(st.floats(0, 60, allow_nan=False), min_size=1, max_size=80).map(sorted)


@given(st.integers(1, 20), st.integers(1, 10), TIMES)
def test_no_stretch_lets_more_through_than_the_burst_and_what_flowed_in(
    per_s: int, burst: int, times: list[float]
) -> None:
    """From any let-through to any later one: at most `burst + per_s * time`."""
    buckets = Buckets(per_s, burst)
    passed = [now_s for now_s in times if not buckets.take("a", now_s)]

    for first, start_s in enumerate(passed):
        for last in range(first, len(passed)):
            most = burst + per_s * (passed[last] - start_s)
            assert last - first + 1 <= most + 1e-6, "a stretch of time let more through than it may"


@given(st.integers(1, 20), st.integers(1, 10), TIMES)
def test_who_waits_as_told_is_let_through(per_s: int, burst: int, times: list[float]) -> None:
    """The wait that is told is enough, and not longer than one token takes."""
    buckets = Buckets(per_s, burst)
    for now_s in times:
        assert buckets.wait_s("a", now_s) == pytest.approx(max(0.0, Buckets.take(copy_of(buckets), "a", now_s)))
        wait_s = buckets.take("a", now_s)
        assert wait_s <= 1 / per_s + 1e-6, "one token is told to take longer than it flows in"
        assert not copy_of(buckets).take("a", now_s + wait_s + (1 / per_s if not wait_s else 0) + 1e-9)


def copy_of(buckets: Buckets) -> Buckets:
    """A bucket in the same state."""
    copied = Buckets(0, 1)
    copied.__dict__.update({**buckets.__dict__, "_full_s": dict(buckets.__dict__["_full_s"])})
    return copied


def test_a_burst_then_one_for_each_that_flows_in() -> None:
    """By example: three at once, then one each half second; many tokens at once cost as many."""
    buckets = Buckets(2, 3)

    assert [buckets.take("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 0.0) == pytest.approx(0.5)
    assert buckets.take("a", 0.5) == 0
    assert buckets.take("a", 0.5, count=3) == pytest.approx(1.5)
    assert buckets.take("a", 2.0, count=3) == 0


def test_each_key_has_a_bucket_of_its_own() -> None:
    """One who asks too much takes nothing from another."""
    buckets = Buckets(1, 1)
    assert buckets.take("a", 0.0) == 0

    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0
    assert buckets.wait_s("c", 0.0) == 0


def test_nothing_is_counted_where_there_is_no_limit() -> None:
    """0 = no limit, and no memory."""
    buckets = Buckets(0, 0)

    assert not any(buckets.take("a", 0.0, count=1e9) for _ in range(100))
    assert len(buckets) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 5, allow_nan=False)), max_size=200))
def test_keys_that_are_made_up_cost_bounded_memory(asks: list[tuple[int, float]]) -> None:
    """However many keys come, so many are kept."""
    buckets = Buckets(1, 2, keys_max=5)
    for key, now_s in asks:
        buckets.take(f"k{key}", now_s)
        assert len(buckets) <= 5, "more keys are kept than may be"


def test_a_full_bucket_is_forgotten_first() -> None:
    """Those that are still being counted stay while there is another to forget."""
    buckets = Buckets(1, 10, keys_max=2)
    buckets.take("busy", 0.0, count=10)
    buckets.take("rested", 0.0)
    buckets.take("new", 5.0)

    assert buckets.take("busy", 5.0, count=10) > 0
