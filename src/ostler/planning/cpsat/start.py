"""Where the solver starts from: the best plan known that keeps every limit of the goal."""

from collections.abc import Iterable
from contextlib import suppress

from ostler.domain.errors import InvalidInputError
from ostler.planning.cpsat.data import Problem
from ostler.planning.cpsat.objective import plan_cost_micro_usd, plan_value
from ostler.planning.cpsat.result import Goal
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first, hybrid, model_first


def simple_plans(instance: Instance) -> list[Plan]:
    """What the strategies give, for whoever has no better plan to start from; none of those that find no room."""
    plans = []
    for strategy in (hybrid, model_first, dependency_first):
        with suppress(InvalidInputError):
            plans.append(strategy(instance))
    return plans


def best_start(problem: Problem, goal: Goal, plans: Iterable[Plan]) -> Plan | None:
    """The plan of the smallest value, then of the fewest loads; `None` if none keeps all limits."""
    good = [plan for plan in plans if keeps(problem, goal, plan)]
    return min(good, key=lambda plan: (plan_value(problem, plan, goal), plan.loads), default=None)


def keeps(problem: Problem, goal: Goal, plan: Plan) -> bool:
    """Whether it can be carried out, has all tasks that the goal wants, and is within the budget."""
    placed = {placement.task for placement in plan.placements}
    tasks = problem.instance.tasks
    if any(task.id not in placed and not job.droppable for task, job in zip(tasks, problem.jobs, strict=True)):
        return False
    if check_plan(problem.instance, plan):
        return False
    return goal.budget_micro_usd is None or plan_cost_micro_usd(problem.instance, plan) <= goal.budget_micro_usd
