"""Improve a plan that is too large to solve whole: let go of a part at a time, keep the rest, solve that exactly.

A part is a run of tasks in the order of their starts, on all hosts or on a pair of them. For the solver

- what ended before the part stays as it is;
- tasks of the part are free: choice, host, stay, start; each model may have `EXTRA` new stays there;
- what comes later keeps its place and its stay, and may only move forward in time.

Parts are drawn by dice, each with an aim. *Sooner* asks for a shorter makespan and nothing else: most parts have none,
and that is refuted in milliseconds. *Room* asks for the makespan, then for the sum of all starts, so that a part in the
middle leaves room for what follows it; it is stopped early, because the last of the sum is dear and worth nothing. What
has been tried is banned until the plan gets shorter. The result is never worse than the plan it starts from.

Cost: each step builds a model of all tasks but decides a few: 20 ms with 50 tasks, half a second with 200.
"""

from enum import StrEnum
from itertools import combinations

import msgspec
from ortools.sat.python.cp_model import CpModel, LinearExpr

from ostler.planning.cpsat.constraints import Constraints
from ostler.planning.cpsat.data import Problem, prepared
from ostler.planning.cpsat.exchange import hint_plan, placed_jobs, read_plan, used_episodes
from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.cpsat.search import Search
from ostler.planning.cpsat.start import best_start, simple_plans
from ostler.planning.cpsat.variables import Variables, add_variables
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.ports import Dice, Effort

EXTRA = 2
PART_TASKS = (12, 16, 24, 32, 48)
STEP_SECONDS = 1.5
LEAST_GAIN = 2_000
"""A shorter makespan is asked for by at least one part in so many: what is refuted faster is worth the rest."""
DRAWS_MAX = 50
"""So many draws in a row of parts that are banned: nearly all have been tried."""


class Aim(StrEnum):
    """What is asked of a part."""

    SOONER = "sooner"
    ROOM = "room"


AIMS = (Aim.SOONER, Aim.SOONER, Aim.ROOM)


class Part(msgspec.Struct, frozen=True):
    """Tasks to let go of, the start of the first, and what for."""

    jobs: frozenset[int]
    start_ms: int
    aim: Aim


def improved(
    instance: Instance,
    *,
    seconds: float,
    effort: Effort,
    dice: Dice,
    hint: Plan | None = None,
    bound_ms: int | None = None,
    workers: int = 1,
    seed: int = 0,
) -> Solved:
    """The hint, improved until the effort is spent, hardly a part is untried, or the bound is met.

    The effort is asked before each step; all steps together take `seconds` of the solver at most.
    Without a hint that holds the start is the best of the simple strategies. The bound must hold; none is found here.
    """
    problem = msgspec.structs.replace(prepared(instance), twins=(), restricted=True)
    plan = best_start(problem, Goal(), [hint] if hint else []) or best_start(problem, Goal(), simple_plans(instance))
    if plan is None:
        return Solved(status=Status.UNKNOWN, restricted=True, reason="no plan to start from was found")
    search = Search(seconds_left=seconds, work_left=None, workers=workers, seed=seed)
    bound = bound_ms or 0
    gained, missed = 0, 0
    banned: set[Part] = set()
    while plan.makespan_ms > bound and missed < DRAWS_MAX and search.seconds_left > 0 and not effort.spent():
        part = _drawn(problem, plan, dice)
        missed += 1
        if part in banned:
            continue
        missed = 0
        banned.add(part)
        better = _step(problem, plan, part, bound, search)
        if better is not None and _key(better) < _key(plan):
            if better.makespan_ms < plan.makespan_ms:
                gained += 1
                banned.clear()
            plan = better
    proven = plan.makespan_ms <= bound
    detail = f"{plan.detail}; {gained} parts of it solved to less" if gained else plan.detail
    return Solved(
        status=Status.PROVEN if proven else Status.FEASIBLE,
        plan=msgspec.structs.replace(plan, detail=detail, proven=proven),
        bound_ms=bound,
        restricted=True,
        seconds=search.seconds,
    )


def _key(plan: Plan) -> tuple[int, int, int]:
    return (plan.makespan_ms, sum(one.start_ms for one in plan.placements), plan.loads)


def _groups(problem: Problem) -> list[frozenset[str]]:
    """All hosts together if there are two at most, otherwise each pair of them."""
    names = [host.name for host in problem.instance.hosts]
    return [frozenset(pair) for pair in combinations(names, 2)] or [frozenset(names)]


def _drawn(problem: Problem, plan: Plan, dice: Dice) -> Part:
    """Any run of tasks of any size and of any group of hosts; the whole plan is a part, too."""
    groups = _groups(problem)
    hosts, size = groups[dice.randrange(len(groups))], PART_TASKS[dice.randrange(len(PART_TASKS))]
    placed = placed_jobs(problem, plan)
    here = [job for job, one in placed.items() if one.host in hosts] or list(placed)
    ordered = sorted(here, key=lambda job: (placed[job].start_ms, placed[job].task))
    at = dice.randrange(max(1, len(ordered) - size + 1))
    chosen = ordered[at : at + size]
    return Part(frozenset(chosen), placed[chosen[0]].start_ms, AIMS[dice.randrange(len(AIMS))])


def _step(problem: Problem, plan: Plan, part: Part, bound_ms: int, search: Search) -> Plan | None:
    """The plan with that part solved anew; `None` if nothing came of it."""
    placed = placed_jobs(problem, plan)
    positions: dict[int, list[int]] = {}
    seats = []
    for index, seat in enumerate(problem.seats):
        episodes = [episode for episode, _ in used_episodes(problem, index, plan, placed)]
        if seat.episodes == 0:
            seats.append(seat)
            continue
        split = max(int(seat.initial), sum(episode.load_start_ms < part.start_ms for episode in episodes))
        extra = 0 if seat.pinned and episodes else EXTRA
        positions[index] = [*range(split), *range(split + extra, len(episodes) + extra)]
        seats.append(msgspec.structs.replace(seat, episodes=len(episodes) + extra))
    local = msgspec.structs.replace(problem, seats=tuple(seats))
    model = CpModel()
    variables = add_variables(model, local, -(-plan.makespan_ms // problem.tick_ms))
    Constraints(model, local, variables).add_all(loose=True)
    values = hint_plan(model, local, variables, plan, positions)
    _fix(model, local, variables, part, values)
    model.add(variables.makespan >= -(-bound_ms // problem.tick_ms))
    if part.aim is Aim.SOONER:
        ticks = -(-plan.makespan_ms // problem.tick_ms)
        model.add(variables.makespan <= ticks - max(1, ticks // LEAST_GAIN))
        model.minimize(variables.makespan)
    else:
        later = [job for job, one in sorted(placed.items()) if one.end_ms > part.start_ms]
        starts = LinearExpr.sum([variables.starts[job] for job in later])
        model.minimize(LinearExpr.sum([(len(later) + 1) * variables.makespan, starts]))
    status, solver = search.run(model, seconds=STEP_SECONDS)
    if status not in {Status.PROVEN, Status.FEASIBLE}:
        return None
    return msgspec.structs.replace(read_plan(local, variables, solver.value, plan.detail), strategy=plan.strategy)


def _fix(model: CpModel, problem: Problem, variables: Variables, part: Part, values: dict[int, int]) -> None:
    """Hold what is not part of it: before it at its instant, after it in its place and no later."""
    start = part.start_ms // problem.tick_ms
    for job, ways in enumerate(variables.ways):
        if job in part.jobs:
            continue
        for way in ways:
            model.add(way.taken == values[way.taken.index])
        at = values[variables.starts[job].index]
        ticks = next(
            (o.ticks for o, way in zip(problem.jobs[job].options, ways, strict=True) if values[way.taken.index]), 0
        )
        model.add(variables.starts[job] == at if at + ticks <= start else variables.starts[job] <= at)
    for (job, _), uses in variables.uses.items():
        if job not in part.jobs:
            for use in uses:
                model.add(use == values[use.index])
    for stays in variables.stays:
        for stay in stays:
            if values[stay.present.index] and not stay.initial:
                at = values[stay.load_start.index]
                model.add(stay.load_start == at if at < start else stay.load_start <= at)
