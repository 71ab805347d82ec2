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
        [*map(float, row), limit + NUDGE * (at + 1)] for at, (row, limit) in enumerate(zip(rows, limits, strict=True))
    ]
    table.append([*(-float(value) for value in goal), 0.0])
    outside = list(range(columns))
    basis = [columns + at for at in range(len(rows))]
    for _ in range(steps_max):
        costs = table[-1]
        entering = min(range(columns), key=costs.__getitem__)
        if costs[entering] >= -TINY:
            break
        ratios = [(row[-1] / row[entering], at) for at, row in enumerate(table[:-1]) if row[entering] > TINY]
        if not ratios:
            break
        leaving = min(ratios)[1]
        _pivot(table, leaving, entering)
        basis[leaving], outside[entering] = outside[entering], basis[leaving]
    found = [0.0] * columns
    for at, column in enumerate(basis):
        if column < columns:
            found[column] = max(0.0, table[at][-1])
    return found


def _pivot(table: list[list[float]], leaving: int, entering: int) -> None:
    """Swaps a variable of the basis with one outside; the table has columns for those outside only."""
    pivot = table[leaving][entering]
    row = [value / pivot for value in table[leaving]]
    row[entering] = 1 / pivot
    for other, values in enumerate(table):
        factor = values[entering]
        if other != leaving and factor:
            changed = [value - factor * mine for value, mine in zip(values, row, strict=True)]
            changed[entering] = -factor / pivot
            table[other] = changed
    table[leaving] = row
