"""What a schedule is worth, lower is better: weighted lateness first, then time and money in one unit, then loads.

Money is turned into time by the price of a minute (`Instance.minute_price_micro_usd`); at a price of zero, money counts
only between schedules of one length.
"""

from collections.abc import Sequence

from ostler.planning.compiled import Compiled, Option
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan

MINUTE_MS = 60_000

Value = tuple[int, int, int, int]
"""Weighted lateness in ms, makespan with the cost as ms, cost in micro-dollars, loads."""


def value_of(compiled: Compiled, ends: Sequence[int], ran: Sequence[tuple[int, Option] | None], loads: int) -> Value:
    """The value of a complete run."""
    late_ms = cost = 0
    if compiled.dated:
        for task, end_ms in zip(compiled.instance.tasks, ends, strict=True):
            if task.deadline_ms is not None and end_ms > task.deadline_ms:
                late_ms += task.weight * (end_ms - task.deadline_ms)
    if compiled.priced:
        cost = sum(where[1].cost_micro_usd for where in ran if where is not None)
    return late_ms, max(ends, default=0) + as_ms(compiled.instance, cost), cost, loads


def as_ms(instance: Instance, cost_micro_usd: int) -> int:
    """Money as time."""
    price = instance.minute_price_micro_usd
    return -(-cost_micro_usd * MINUTE_MS // price) if price > 0 else 0


def plan_value(instance: Instance, plan: Plan) -> Value:
    """The value of a plan, from the plan alone."""
    tasks = {task.id: task for task in instance.tasks}
    late_ms = cost = 0
    for row in plan.placements:
        task = tasks[row.task]
        cost += task.choices[row.choice].cost_micro_usd
        if task.deadline_ms is not None:
            late_ms += task.weight * max(0, row.end_ms - task.deadline_ms)
    return late_ms, plan.makespan_ms + as_ms(instance, cost), cost, plan.loads
