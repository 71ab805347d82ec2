"""Solve an instance exactly: first the makespan (or the value in money), then, at that makespan, the loads.

Never worse than its hint: what comes back is the better of both. With one worker, one seed and a limit of *work*
instead of time the answer repeats exactly.
Complexity: exponential. Up to about twenty tasks on two hosts most instances are proven in seconds; beyond a hundred
use `neighbourhood`, which lets go of a part of a plan at a time.
"""

import msgspec
from ortools.sat.python import cp_model

from ostler.planning.cpsat.constraints import Constraints
from ostler.planning.cpsat.data import Problem, prepared
from ostler.planning.cpsat.exchange import hint_plan, most_stays, read_plan
from ostler.planning.cpsat.objective import MINUTE_MS, add_budget, loads_expression, plan_value, value_expression
from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.cpsat.search import Search
from ostler.planning.cpsat.start import best_start, simple_plans
from ostler.planning.cpsat.variables import Variables, add_variables
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan

LOADS_SHARE = 0.1
"""Of the time, kept for the second stage."""


def solve(
    instance: Instance,
    *,
    seconds: float,
    hint: Plan | None = None,
    bound_ms: int | None = None,
    workers: int = 1,
    seed: int = 0,
    goal: Goal = Goal(),  # noqa: B008 (frozen)
    work_limit: float | None = None,
) -> Solved:
    """The best plan found in `seconds`, and how good it is known to be.

    `hint` is a plan to start from, and never made worse; one that breaks a rule or a limit is set aside. Without one
    the start is the best of the simple strategies. `bound_ms` is a lower bound of the makespan known from elsewhere; it
    must hold. `work_limit` is a limit in the solver's own deterministic unit, about a second each.
    """
    plans = [hint] if hint else simple_plans(instance)
    problem = prepared(
        instance,
        episodes_max=goal.episodes_max,
        episodes_min=max((most_stays(plan) for plan in plans), default=0) if goal.episodes_max is None else 0,
        keep_optional=goal.keep_optional,
    )
    search = Search(seconds_left=seconds, work_left=work_limit, workers=workers, seed=seed)
    floor = -(-bound_ms // problem.tick_ms) if bound_ms else 0
    first = _first(problem, search, goal, best_start(problem, goal, plans), floor)
    if first.plan is not None and goal.minimise_loads and first.plan.loads:
        first = _second(problem, search, goal, first, first.plan)
    return msgspec.structs.replace(first, seconds=search.seconds)


def _built(problem: Problem, goal: Goal, horizon: int, floor: int) -> tuple[cp_model.CpModel, Variables]:
    model = cp_model.CpModel()
    variables = add_variables(model, problem, horizon)
    Constraints(model, problem, variables).add_all()
    add_budget(model, problem, variables, goal)
    if floor:
        model.add(variables.makespan >= floor)
    return model, variables


def _first(problem: Problem, search: Search, goal: Goal, hint: Plan | None, floor: int) -> Solved:
    """The best value. A plan to start from bounds it from above."""
    if hint and not goal.priced and plan_value(problem, hint, goal) <= floor:
        return _answer(problem, goal, hint, floor, status=Status.PROVEN)
    ceiling = plan_value(problem, hint, goal) if hint else None
    horizon = problem.horizon if ceiling is None or goal.priced else ceiling
    model, variables = _built(problem, goal, horizon, floor)
    value = value_expression(problem, variables, goal)
    model.minimize(value)
    if hint:
        hint_plan(model, problem, variables, hint)
        if goal.priced and ceiling is not None:
            model.add(value <= ceiling)
    status, solver = search.run(model, 1 - LOADS_SHARE if goal.minimise_loads else 1.0)
    if status is Status.INFEASIBLE:
        if hint or problem.restricted:  # the start has more stays of a model than are allowed
            found = _answer(problem, goal, hint, 0 if goal.priced else floor, status=Status.UNKNOWN)
            return msgspec.structs.replace(found, reason="no better plan with so few stays of a model")
        return Solved(status=status, reason="no plan meets all limits")
    known = 0 if problem.restricted else _whole(solver.best_objective_bound)
    if status is Status.UNKNOWN:
        found = _answer(problem, goal, hint, max(known, 0 if goal.priced else floor), status=Status.UNKNOWN)
        return msgspec.structs.replace(found, reason="the time was over before the solver found a plan of its own")
    plan = read_plan(problem, variables, solver.value, "exact solver")
    if hint and plan_value(problem, hint, goal) <= plan_value(problem, plan, goal):
        plan = hint
    return _answer(problem, goal, plan, max(known, 0 if goal.priced else floor), status=status)


def _whole(bound: float) -> int:
    """A bound that the solver gives as a float; values are whole, so rounding up a little early loses nothing."""
    return max(0, round(bound))


def _answer(problem: Problem, goal: Goal, plan: Plan | None, bound: int, *, status: Status) -> Solved:
    """What is known: proven if the value meets the bound, whatever the solver's own word (it may be restricted)."""
    if plan is None:
        return _bounded(Solved(status=Status.UNKNOWN, restricted=problem.restricted), problem, goal, bound)
    value = plan_value(problem, plan, goal)
    proven = value <= bound or (status is Status.PROVEN and not problem.restricted)
    bound = value if proven else bound
    plan = msgspec.structs.replace(
        plan, proven=proven and not goal.priced and goal.budget_micro_usd is None, detail=plan.detail
    )
    solved = Solved(
        status=Status.PROVEN if proven else Status.FEASIBLE,
        plan=plan,
        restricted=problem.restricted,
        value_micro_usd=value // MINUTE_MS if goal.priced else 0,
    )
    return _bounded(solved, problem, goal, bound)


def _bounded(solved: Solved, problem: Problem, goal: Goal, bound: int) -> Solved:
    if goal.priced:
        return msgspec.structs.replace(solved, value_bound_micro_usd=bound // MINUTE_MS)
    return msgspec.structs.replace(solved, bound_ms=bound * problem.tick_ms)


def _second(problem: Problem, search: Search, goal: Goal, first: Solved, found: Plan) -> Solved:
    """The fewest loads at the value found. What the first stage knows of the value stays as it is."""
    value = plan_value(problem, found, goal)
    model, variables = _built(problem, goal, problem.horizon if goal.priced else value, 0)
    model.add(value_expression(problem, variables, goal) <= value)
    model.minimize(loads_expression(variables))
    hint_plan(model, problem, variables, found)
    status, solver = search.run(model)
    if status not in {Status.PROVEN, Status.FEASIBLE}:
        return first
    plan = read_plan(problem, variables, solver.value, found.detail)
    if plan.loads > found.loads:
        return first
    plan = msgspec.structs.replace(plan, proven=found.proven)
    return msgspec.structs.replace(first, plan=plan, fewest_loads=status is Status.PROVEN)
