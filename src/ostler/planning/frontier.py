"""Money against time: the plans of an instance with priced choices of which no other is both shorter and cheaper.

A planner answers one instance with one plan, so it is asked several times: with a minute of makespan worth nothing,
worth more and more, and with paid choices forbidden one after the other, where it hurts least. What is asked follows
from the instance and the answers, so the frontier is deterministic. It is what was found, not a proof: a better planner
gives a better frontier. At most `plans` calls of the planner.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.planning.instance import Instance, PlanTask, can_host
from ostler.planning.plan import Plan
from ostler.planning.whatif import cost_micro_usd

Planner = Callable[[Instance], Plan]
PRICES_MICRO_USD = (0, *(10**power for power in range(2, 11)))
"""What a minute may be worth: nothing, then from a ten-thousandth of a dollar to ten thousand dollars."""
MINUTE_MS = 60_000
NOWHERE = ("",)
TRIED = 6
"""So many paid choices are tried to be the next forbidden."""


class Point(NamedTuple):
    """A plan of the frontier."""

    makespan_ms: int
    cost_micro_usd: int
    plan: Plan


def frontier(instance: Instance, planner: Planner, *, plans: int = 40) -> tuple[Point, ...]:
    """The plans found that no other beats in both: cheapest first, each shorter than the one before.

    The plans are of the instance itself. Without priced choices there is one point. `plans` limits the calls of the
    planner; eleven are made in any case.
    """
    if not any(choice.cost_micro_usd for task in instance.tasks for choice in task.choices):
        return (_point(instance, planner(instance)),)
    found = [_point(instance, planner(replace(instance, minute_price_micro_usd=price))) for price in PRICES_MICRO_USD]
    eager = replace(instance, minute_price_micro_usd=PRICES_MICRO_USD[-1])
    found += _forbidding(eager, planner, min(found, key=_by_time), plans - len(found))
    return undominated(found)


def undominated(points: Iterable[Point]) -> tuple[Point, ...]:
    """Of some plans those that no other beats or equals in both time and money; of equals the first given."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost_micro_usd, point.makespan_ms)):
        if not kept or point.makespan_ms < kept[-1].makespan_ms:
            kept.append(point)
    return tuple(kept)


def best_at(points: Sequence[Point], minute_price_micro_usd: int) -> Point:
    """The point of least price and time together, where a minute is worth so much; of equals the cheaper.

    Raises `ValueError` when there is none.
    """

    def worth(point: Point) -> tuple[int, int]:
        return point.cost_micro_usd * MINUTE_MS + point.makespan_ms * minute_price_micro_usd, point.cost_micro_usd

    return min(points, key=worth)


def _forbidding(instance: Instance, planner: Planner, first: Point, plans: int) -> list[Point]:
    """The plan with no paid choice that can be spared; then, from the fastest plan on, one fewer at a time.

    Forbidden is the paid choice whose loss costs least time; of many, only the dearest are tried. The instance should
    value time far above money, so that what may still be paid for is.
    """
    spared = {task.id: price for task in instance.tasks if (price := _price_spared(instance, task))}
    found = list(_asked(instance, planner, [set(spared)]))
    forbidden: set[str] = set()
    point = first
    while len(found) < plans:
        paid = [name for name in _paid(instance, point.plan) if name in spared and name not in forbidden]
        tried = sorted(paid, key=lambda name: (-spared[name], name))[: min(TRIED, plans - len(found))]
        if not tried:
            break
        points = _asked(instance, planner, [{*forbidden, name} for name in tried])
        if not points:
            break
        point, without = min(points.items(), key=lambda row: (_by_time(row[0]), sorted(row[1])))
        forbidden = without
        found += points
    return found


def _asked(instance: Instance, planner: Planner, ways: Iterable[set[str]]) -> dict[Point, set[str]]:
    """A plan for each set of tasks that may not be paid for, where there is one: a pinned model may be in the way."""
    found = {}
    for forbidden in ways:
        try:
            plan = planner(_without(instance, forbidden))
        except InvalidInputError:
            continue
        found[_point(instance, plan)] = forbidden
    return found


def _by_time(point: Point) -> tuple[int, int]:
    return point.makespan_ms, point.cost_micro_usd


def _point(instance: Instance, plan: Plan) -> Point:
    return Point(plan.makespan_ms, cost_micro_usd(instance, plan), plan)


def _paid(instance: Instance, plan: Plan) -> list[str]:
    choices = {task.id: task.choices for task in instance.tasks}
    return sorted(row.task for row in plan.placements if choices[row.task][row.choice].cost_micro_usd)


def _price_spared(instance: Instance, task: PlanTask) -> int:
    """The dearest of its choices, if the task can also be done for nothing; else 0."""
    free = [choice for choice in task.choices if not choice.cost_micro_usd]
    if not any(can_host(choice, host) for choice in free for host in instance.hosts):
        return 0
    return max(choice.cost_micro_usd for choice in task.choices)


def _without(instance: Instance, forbidden: Container[str]) -> Instance:
    """The instance in which these tasks' paid choices can run nowhere; choices keep their numbers."""
    return replace(instance, tasks=tuple(_unpaid(task) if task.id in forbidden else task for task in instance.tasks))


def _unpaid(task: PlanTask) -> PlanTask:
    return replace(
        task,
        choices=tuple(replace(choice, hosts=NOWHERE) if choice.cost_micro_usd else choice for choice in task.choices),
    )
