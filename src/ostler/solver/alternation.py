"""A plan that is too large to solve whole, improved in turns: its parts by the solver, its episodes by small changes.

The two are stuck in different places. The solver finds what needs many changes at once but never looks beyond a part;
the search on episodes moves work across the whole plan. Each goes on from the best plan so far. When neither gains,
turns get longer and a challenger gets two of them: a plan searched from nothing, and its parts. The search on episodes
is left out where tasks need several models or memory of their own.
"""

import time
from random import Random

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.planning.compiled import Compiled
from ostler.planning.cpsat.neighbourhood import improved
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.plan import Plan
from ostler.planning.planner import make_plan, searched
from ostler.planning.value import plan_value
from ostler.solver.messages import Request
from ostler.solver.until import UntilThen

TURNS = 8
"""The first turns are such a part of all the time."""
TURN_SECONDS_MIN = 1.0
LONGER = 1.5


def alternating(request: Request) -> Solved:
    """The hint of the request, improved until its time is over or its bound is met."""
    began, dice = time.monotonic(), Random(request.seed)  # noqa: S311 (a search, not a secret)
    until = UntilThen(request.seconds)
    turn_s = max(TURN_SECONDS_MIN, request.seconds / TURNS)
    solved = _parts(request, request.hint, min(turn_s, request.seconds), dice)
    start = request.hint or solved.plan
    turns = 1
    while solved.plan is not None and solved.status is not Status.PROVEN and not until.spent():
        before = solved.plan
        plan = _episodes(request, before, min(turn_s, until.left_s()), dice)
        solved = _parts(request, plan, min(turn_s, until.left_s()), dice)
        turns += 2
        if solved.plan is not None and solved.plan.makespan_ms >= before.makespan_ms and not until.spent():
            challenger = _challenger(request, before, min(turn_s, until.left_s()), dice)
            solved = _shorter(solved, _parts(request, challenger, min(turn_s, until.left_s()), dice))
            turns += 2
            turn_s *= LONGER
    if start is None or solved.plan is None or turns == 1:
        return msgspec.structs.replace(solved, seconds=time.monotonic() - began)
    detail = f"{turns} turns of solved parts and of search on episodes"
    detail = f"{start.detail}; then {detail}" if start.detail else detail
    plan = msgspec.structs.replace(solved.plan, detail=detail)
    return msgspec.structs.replace(solved, plan=plan, seconds=time.monotonic() - began)


def _shorter(known: Solved, other: Solved) -> Solved:
    """The one of the shorter plan, the known one where they are equal."""
    if known.plan is None or other.plan is None:
        return other if known.plan is None else known
    return other if other.plan.makespan_ms < known.plan.makespan_ms else known


def _challenger(request: Request, plan: Plan, seconds: float, dice: Random) -> Plan:
    """A plan that owes nothing to the known one; the known one where no search finds any."""
    try:
        return make_plan(request.instance, "portfolio", UntilThen(seconds), dice)
    except InvalidInputError:
        return plan


def _parts(request: Request, plan: Plan | None, seconds: float, dice: Random) -> Solved:
    return improved(
        request.instance,
        seconds=seconds,
        effort=UntilThen(seconds),
        dice=dice,
        hint=plan,
        bound_ms=request.bound_ms,
        workers=request.workers,
        seed=dice.randrange(2**31),
    )


def _episodes(request: Request, plan: Plan, seconds: float, dice: Random) -> Plan:
    compiled = Compiled(request.instance)
    if not compiled.plain or seconds <= 0:
        return plan
    found = searched(compiled, [plan], UntilThen(seconds), dice, request.bound_ms or 0)
    return found if plan_value(request.instance, found) < plan_value(request.instance, plan) else plan
