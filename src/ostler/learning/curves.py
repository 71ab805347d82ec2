"""What a router is worth: figures of the field on outcomes of several models at the same tasks.

    pair     gap recovered PGR = (router - weak) / (strong - weak), over the share of strong calls
             APGR = the area under it (random = 0.5); CPT(x) = the smallest share with PGR >= x
    many     points (mean cost, mean score) over the price of a score; their non-decreasing upper hull
             AIQ = the area under the hull / the range of cost; saved = 1 - cost / cost of the best single model, at its
             score

Ties in a router's score are averaged: the tasks that it cannot tell apart go to the strong model evenly.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple


class Point(NamedTuple):
    """Mean cost and mean score of a way to route."""

    cost: float
    score: float


def recovered(scores: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> list[tuple[float, float]]:
    """(share of strong calls, PGR), from none to all, the highest router score first."""
    gap = sum(strong) - sum(weak)
    if not scores or gap <= 0.0:
        raise ValueError("the strong model is not better on these tasks")
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    line, calls, gained = [(0.0, 0.0)], 0, 0.0
    for _, group in groupby(order, key=scores.__getitem__):
        members = list(group)
        calls += len(members)
        gained += sum(strong[index] - weak[index] for index in members)
        line.append((calls / len(scores), gained / gap))
    return line


def area(line: Sequence[tuple[float, float]]) -> float:
    """The area under a broken line."""
    return sum((right - left) * (low + high) / 2.0 for (left, low), (right, high) in pairwise(line))


def share_for(line: Sequence[tuple[float, float]], wanted: float) -> float:
    """CPT: the smallest share of strong calls that recovers so much; 1 if only all of them do."""
    for (left, low), (right, high) in pairwise(line):
        if low < wanted <= high:
            return left + (right - left) * (wanted - low) / (high - low)
    return 1.0


def hull(points: Iterable[Point]) -> list[Point]:
    """The non-decreasing upper hull, by rising cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.score)):
        if best and point.score <= best[-1].score:
            continue
        while len(best) > 1 and _under(best[-2], best[-1], point):
            best.pop()
        best.append(point)
    return best


def quality(points: Iterable[Point], low: float, high: float) -> float:
    """AIQ of points over a range of cost: below the cheapest there is nothing, above the dearest its score stays."""
    line = hull(points)
    if not line or high <= low or line[0].cost >= high:
        return 0.0
    start = max(low, line[0].cost)
    costs = sorted({start, high, *(point.cost for point in line if start < point.cost < high)})
    return area([(cost, score_at(line, cost)) for cost in costs]) / (high - low)


def score_at(line: Sequence[Point], cost: float) -> float:
    """The score of a hull at a cost, by mixing two neighbours."""
    if cost < line[0].cost:
        return 0.0
    for left, right in pairwise(line):
        if left.cost <= cost <= right.cost and right.cost > left.cost:
            return left.score + (right.score - left.score) * (cost - left.cost) / (right.cost - left.cost)
    return line[-1].score


def saved(points: Iterable[Point], single: Point) -> float:
    """The share of cost saved at the score of a single model, mixing neighbours on the hull; 0 if none reaches it."""
    line = hull(points)
    if not line or line[-1].score < single.score or single.cost <= 0.0:
        return 0.0
    if line[0].score >= single.score:
        return 1.0 - line[0].cost / single.cost
    for left, right in pairwise(line):
        if left.score < single.score <= right.score:
            share = (single.score - left.score) / (right.score - left.score)
            return 1.0 - (left.cost + share * (right.cost - left.cost)) / single.cost
    return 0.0


def _under(left: Point, middle: Point, right: Point) -> bool:
    rise = (right.score - left.score) * (middle.cost - left.cost)
    return (middle.score - left.score) * (right.cost - left.cost) <= rise
