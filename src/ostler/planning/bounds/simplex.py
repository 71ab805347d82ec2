"""A linear program small enough for plain Python: maximise c x under A x <= b, x >= 0, where b >= 0.

The origin is feasible, so there is no first phase. A little is added to each b, more to each later one, because the
programs here are degenerate. Whatever it returns is feasible up to rounding, and the best only when it had steps
enough: use it where any answer is sound and a better one only stronger.
"""

from collections.abc import Sequence

TINY = 1e-9
NUDGE = 1e-7


def maximise(
    goal: Sequence[float], rows: Sequence[Sequence[float]], limits: Sequence[float], steps_max: int = 400
) -> list[float]:
    """The best x found. Each step takes O(rows x columns).

    >>> [round(value, 3) for value in maximise([3, 2], [[1, 1], [1, 0]], [4, 3])]
    [3.0, 1.0]
    """
    columns = len(goal)
    table = [
        [*map(float, row), *(float(at == slack) for slack in range(len(rows))), limit + NUDGE * (at + 1)]
        for at, (row, limit) in enumerate(zip(rows, limits, strict=True))
    ]
    costs = [-float(value) for value in goal] + [0.0] * (len(rows) + 1)
    basis = [columns + at for at in range(len(rows))]
    for _ in range(steps_max):
        entering = min(range(columns + len(rows)), key=costs.__getitem__)
        if costs[entering] >= -TINY:
            break
        ratios = [(row[-1] / row[entering], at) for at, row in enumerate(table) if row[entering] > TINY]
        if not ratios:
            break
        _pivot(table, costs, min(ratios)[1], entering)
        basis[min(ratios)[1]] = entering
    found = [0.0] * columns
    for at, column in enumerate(basis):
        if column < columns:
            found[column] = max(0.0, table[at][-1])
    return found


def _pivot(table: list[list[float]], costs: list[float], at: int, entering: int) -> None:
    pivot = table[at][entering]
    row = table[at] = [value / pivot for value in table[at]]
    for other, values in enumerate(table):
        factor = values[entering]
        if other != at and factor:
            table[other] = [value - factor * mine for value, mine in zip(values, row, strict=True)]
    factor = costs[entering]
    costs[:] = [value - factor * mine for value, mine in zip(costs, row, strict=True)]
