"""What is to be small: makespan in ticks, or makespan and choices in money; then loads.

Money is counted in 1/60000 of a micro-dollar, so that a millisecond has a whole price: nothing is rounded.
"""

from ortools.sat.python.cp_model import CpModel, LinearExpr, LinearExprT

from ostler.planning.cpsat.data import Problem
from ostler.planning.cpsat.result import Goal
from ostler.planning.cpsat.variables import Variables
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan

MINUTE_MS = 60_000


def cost_expression(problem: Problem, variables: Variables, factor: int = 1) -> LinearExprT:
    """Micro-dollars of all choices taken, times `factor`."""
    pairs = [
        (way.taken, option.cost_micro_usd)
        for ways, job in zip(variables.ways, problem.jobs, strict=True)
        for way, option in zip(ways, job.options, strict=True)
        if option.cost_micro_usd
    ]
    return LinearExpr.weighted_sum([taken for taken, _ in pairs], [cost * factor for _, cost in pairs])


def value_expression(problem: Problem, variables: Variables, goal: Goal) -> LinearExprT:
    """What the first stage minimises."""
    if not goal.priced:
        return variables.makespan
    minute = problem.instance.minute_price_micro_usd * problem.tick_ms
    return LinearExpr.sum([minute * variables.makespan, cost_expression(problem, variables, MINUTE_MS)])


def loads_expression(variables: Variables) -> LinearExprT:
    """What the second stage minimises: stays that had to be loaded."""
    return LinearExpr.sum([stay.present for stays in variables.stays for stay in stays if not stay.initial])


def add_budget(model: CpModel, problem: Problem, variables: Variables, goal: Goal) -> None:
    """All choices together cost no more than the budget."""
    if goal.budget_micro_usd is not None:
        model.add(cost_expression(problem, variables) <= goal.budget_micro_usd)


def plan_cost_micro_usd(instance: Instance, plan: Plan) -> int:
    """Micro-dollars of the choices of a plan."""
    tasks = {task.id: task for task in instance.tasks}
    return sum(tasks[one.task].choices[one.choice].cost_micro_usd for one in plan.placements)


def plan_value(problem: Problem, plan: Plan, goal: Goal) -> int:
    """The value of a plan in the unit of `value_expression`, rounded up to whole ticks."""
    ticks = -(-plan.makespan_ms // problem.tick_ms)
    if not goal.priced:
        return ticks
    minute = problem.instance.minute_price_micro_usd * problem.tick_ms
    return minute * ticks + MINUTE_MS * plan_cost_micro_usd(problem.instance, plan)
