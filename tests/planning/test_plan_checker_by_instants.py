"""The checker of plans against a second one that looks at every millisecond, on plans right and wrong."""

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from ostler.planning.cpsat.result import Goal
from ostler.planning.cpsat.solve import solve
from ostler.planning.figures import figures
from ostler.planning.instance import Instance, PlanHost, task_ms
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first, hybrid, model_first
from tests.planning.tiny import varied_instance

SEEDS = range(400, 430)
EXACT = Goal(minimise_loads=False)


def holds(instance: Instance, plan: Plan) -> bool:
    """Whether the plan can be carried out, by what is true in each millisecond."""
    until = 1 + max(
        [
            0,
            *(row.end_ms for row in plan.placements),
            *(row.ready_ms for row in plan.episodes),
            *(row.unload_end_ms or 0 for row in plan.episodes),
        ]
    )
    return (
        all_placed_once(instance, plan)
        and all(task_holds(instance, plan, row) for row in plan.placements)
        and all(lasts_right(instance.host(row.host), row) for row in plan.episodes)
        and all(
            instant_holds(host, plan, instance, at)
            for host in instance.hosts
            if not host.cloud
            for at in range(min(0, *(row.load_start_ms for row in plan.episodes), 0), until)
        )
        and all(slots_hold(host, plan, instance, at) for host in instance.hosts for at in range(until))
        and all(residents_told(host, plan) for host in instance.hosts if not host.cloud)
    )


def all_placed_once(instance: Instance, plan: Plan) -> bool:
    times = Counter(row.task for row in plan.placements)
    return all(times[task.id] == 1 or (task.optional and not times[task.id]) for task in instance.tasks)


def task_holds(instance: Instance, plan: Plan, row: Placement) -> bool:
    task = next(task for task in instance.tasks if task.id == row.task)
    host, choice = instance.host(row.host), task.choices[row.choice]
    ends = {other.task: other.end_ms for other in plan.placements}
    if row.start_ms < task.release_ms or row.end_ms != row.start_ms + task_ms(choice, host):
        return False
    if any(ends.get(need, 10**9) > row.start_ms for need in task.needs):
        return False
    if choice.hosts and host.name not in choice.hosts:
        return False
    return host.cloud or all(
        any(
            stay.host == host.name
            and stay.model == model
            and all(
                stay.ready_ms <= at and (stay.unload_start_ms is None or at <= stay.unload_start_ms)
                for at in range(row.start_ms, row.end_ms + 1)
            )
            for stay in plan.episodes
        )
        for model in choice.models
    )


def lasts_right(host: PlanHost, row: Episode) -> bool:
    serving = host.models[row.model]
    loaded = row.load_start_ms == row.ready_ms == 0 and row.model in host.resident
    if not (loaded if row.initial else row.load_start_ms >= 0 and row.ready_ms == row.load_start_ms + serving.load_ms):
        return False
    if row.unload_start_ms is None or row.unload_end_ms is None:
        return row.unload_start_ms == row.unload_end_ms
    in_order = row.ready_ms <= row.unload_start_ms
    return in_order and not serving.pinned and row.unload_end_ms == row.unload_start_ms + serving.unload_ms


def here(row: Episode, at: int) -> bool:
    return row.load_start_ms <= at and (row.unload_end_ms is None or at < row.unload_end_ms)


def instant_holds(host: PlanHost, plan: Plan, instance: Instance, at: int) -> bool:
    """Memory, number of residents, one copy of each model and one load, in the millisecond that starts there."""
    mine = [row for row in plan.episodes if row.host == host.name and here(row, at)]
    loads = [row for row in mine if not row.initial and row.load_start_ms <= at < row.ready_ms]
    used = sum(host.models[row.model].memory_bytes for row in mine)
    for row in plan.placements:
        if row.host == host.name and row.start_ms <= at < row.end_ms:
            task = next(task for task in instance.tasks if task.id == row.task)
            used += task.choices[row.choice].memory_bytes
    return (
        len(loads) <= 1
        and len({row.model for row in mine}) == len(mine)
        and (host.max_resident is None or len(mine) <= host.max_resident)
        and (host.memory_bytes is None or used <= host.memory_bytes)
    )


def slots_hold(host: PlanHost, plan: Plan, instance: Instance, at: int) -> bool:
    taken: Counter[str] = Counter()
    for row in plan.placements:
        if row.host == host.name and row.start_ms <= at < row.end_ms:
            task = next(task for task in instance.tasks if task.id == row.task)
            taken.update(set(task.choices[row.choice].models))
    return all(taken[model] <= host.models[model].slots for model in taken)


def residents_told(host: PlanHost, plan: Plan) -> bool:
    told = {row.model for row in plan.episodes if row.host == host.name and row.initial}
    return told >= set(host.resident)


def plans_of(instance: Instance) -> list[Plan]:
    """Plans made in different ways, some of them the shortest."""
    exact = solve(instance, seconds=20, goal=EXACT).plan
    assert exact is not None
    return [exact, model_first(instance), dependency_first(instance), hybrid(instance)]


def spoilt(dice: Random, plan: Plan) -> Plan:
    """One thing of a plan moved, left out, lengthened or doubled."""
    episodes, placements = list(plan.episodes), list(plan.placements)
    by_ms = dice.choice((-4, -2, -1, 1, 2, 4))
    what = dice.randrange(7)
    if what <= 2 and placements:
        at = dice.randrange(len(placements))
        row = placements[at]
        placements[at] = (
            replace(row, start_ms=row.start_ms + by_ms, end_ms=row.end_ms + by_ms),
            replace(row, end_ms=max(row.start_ms, row.end_ms + by_ms)),
            replace(row, start_ms=max(0, row.start_ms + by_ms)),
        )[what]
    elif what == 3 and placements:
        placements.pop(dice.randrange(len(placements)))
    elif episodes:
        at = dice.randrange(len(episodes))
        row_of_model = episodes[at]
        if what == 4:
            episodes.pop(at)
        elif what == 5 and not row_of_model.initial:
            start, ready = row_of_model.load_start_ms + by_ms, row_of_model.ready_ms + by_ms
            episodes[at] = replace(row_of_model, load_start_ms=start, ready_ms=ready)
        elif row_of_model.unload_start_ms is not None and row_of_model.unload_end_ms is not None:
            start, end = row_of_model.unload_start_ms + by_ms, row_of_model.unload_end_ms + by_ms
            episodes[at] = replace(row_of_model, unload_start_ms=start, unload_end_ms=end)
    return replace(plan, episodes=tuple(episodes), placements=tuple(placements))


@pytest.mark.parametrize("seed", SEEDS)
def test_both_checkers_agree_on_plans_right_and_wrong(seed: int) -> None:
    """Plans as made pass both; spoilt in one or two places, both refuse the same ones."""
    instance, dice = varied_instance(seed), Random(seed)
    judged: Counter[bool] = Counter()
    for made in plans_of(instance):
        assert check_plan(instance, made) == (), made.strategy
        assert holds(instance, made), made.strategy
        for _ in range(12):
            wrong = spoilt(dice, made)
            if dice.random() < 0.4:
                wrong = spoilt(dice, wrong)
            found = check_plan(instance, wrong)
            judged[not found] += 1
            said = f"{instance.name}, {made.strategy}: {[f'{row.subject}: {row.said}' for row in found]}"
            assert (not found) == holds(instance, wrong), said

    assert judged[False] > 0, "nothing was wrong: the comparison proves nothing"


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_agree_with_every_millisecond(seed: int) -> None:
    """Idle time and peak memory of each host are what counting milliseconds gives; no figure is out of its range."""
    instance = varied_instance(seed)
    for made in plans_of(instance):
        told = figures(instance, made)
        assert told.makespan_ms == made.makespan_ms
        assert told.critical_path_ms <= told.makespan_ms
        for row, host in zip(told.hosts, instance.hosts, strict=True):
            busy = [at for at in range(told.makespan_ms) if busy_at(host, made, at)]
            assert row.idle_ms == told.makespan_ms - len(busy)
            assert 0 <= row.slot_use_permille <= 1000
            assert host.memory_bytes is None or 0 <= row.peak_memory_bytes <= host.memory_bytes


def busy_at(host: PlanHost, plan: Plan, at: int) -> bool:
    works = any(row.host == host.name and row.start_ms <= at < row.end_ms for row in plan.placements)
    swaps = any(
        row.host == host.name
        and not host.cloud
        and (
            (not row.initial and row.load_start_ms <= at < row.ready_ms)
            or (row.unload_start_ms is not None and row.unload_start_ms <= at < (row.unload_end_ms or 0))
        )
        for row in plan.episodes
    )
    return works or swaps
