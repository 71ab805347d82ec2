"""Figures of routers: known areas, hulls and shares."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning.curves import Point, area, hull, quality, recovered, saved, score_at, share_for

WEAK = [0.0, 1.0, 0.0, 1.0]
STRONG = [1.0, 1.0, 1.0, 0.0]
points = st.lists(st.builds(Point, st.floats(0.01, 9.0), st.floats(0.0, 1.0)), min_size=1, max_size=12)


def test_a_router_that_knows_nothing_recovers_in_proportion() -> None:
    """Equal scores are averaged: the straight line, APGR one half."""
    line = recovered([3.0] * 4, WEAK, STRONG)
    assert line == [(0.0, 0.0), (1.0, 1.0)]
    assert area(line) == 0.5
    assert share_for(line, 0.8) == pytest.approx(0.8)


def test_an_oracle_sends_the_gains_first() -> None:
    """Two gains, one task alike, one loss: more than the gap is recovered on the way."""
    line = recovered([1.0, 0.0, 1.0, -1.0], WEAK, STRONG)
    assert line == [(0.0, 0.0), (0.5, 2.0), (0.75, 2.0), (1.0, 1.0)]
    assert share_for(line, 0.5) == pytest.approx(0.125)
    assert area(line) == pytest.approx(0.5 + 0.5 + 0.375)


def test_where_the_strong_model_is_not_better_there_is_no_gap() -> None:
    """A figure of it would mean nothing."""
    with pytest.raises(ValueError, match="not better"):
        recovered([1.0], [1.0], [0.0])


def test_what_is_never_reached_needs_all_calls() -> None:
    """CPT of more than the whole gap."""
    assert share_for(recovered([1.0] * 4, WEAK, STRONG), 1.5) == 1.0


@given(points)
def test_a_hull_rises_and_bends_down(some: list[Point]) -> None:
    """Cost and score rise, the slope falls, and no point is above it."""
    line = hull(some)
    slopes = [(b.score - a.score) / (b.cost - a.cost) for a, b in pairwise(line)]
    assert all(slope > 0.0 for slope in slopes)
    assert all(first >= second - 1e-9 * max(1.0, first) for first, second in pairwise(slopes))
    assert all(score_at(line, point.cost) >= point.score - 1e-6 for point in some if point.cost >= line[0].cost)


@given(points, st.floats(0.01, 9.0), st.floats(0.0, 1.0))
def test_one_more_way_to_route_never_lowers_the_quality(some: list[Point], cost: float, score: float) -> None:
    """AIQ is of the hull, and a hull only grows."""
    assert quality([*some, Point(cost, score)], 0.01, 9.0) >= quality(some, 0.01, 9.0) - 1e-9


def test_quality_is_the_mean_height_of_the_hull() -> None:
    """A triangle and a plateau."""
    assert quality([Point(1.0, 0.2), Point(3.0, 0.6)], 1.0, 5.0) == pytest.approx((0.4 * 2 + 0.6 * 2) / 4)
    assert quality([], 0.0, 1.0) == 0.0


def test_saved_is_what_the_same_score_costs_less() -> None:
    """Reached between two points, it is mixed from both; out of reach, nothing is saved."""
    line = [Point(1.0, 0.5), Point(3.0, 0.7)]
    assert saved(line, Point(10.0, 0.6)) == pytest.approx(0.8)
    assert saved(line, Point(10.0, 0.9)) == 0.0
    assert saved(line, Point(10.0, 0.4)) == pytest.approx(0.9)
    assert saved([Point(2.0, 0.5)], Point(1.0, 0.5)) == pytest.approx(-1.0)
