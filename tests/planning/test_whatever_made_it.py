"""What holds of every plan, whatever made it: three rules, the live policy, the portfolio, six rivals.

Over generated problems of every kind. Each plan is judged by what shares nothing with its maker: the checker, the
bounds and their checker, a recount of its figures by stretches of time, its picture, its turns.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.actual import Call, Change, actual
from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds.certificates import bounds_of
from ostler.planning.compiled import Compiled
from ostler.planning.figures import HostFigures, figures
from ostler.planning.gantt import BarKind, gantt
from ostler.planning.guide import guide_of, turn_now, turns
from ostler.planning.instance import Instance, PlanHost
from ostler.planning.plan import Episode, Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.planning.rivals import RIVALS, rival
from ostler.planning.strategies import ORDERS, planned
from ostler.simulate.instances import tiny_instance
from tests.planning.instances import Count
from tests.planning.instances import instances as general
from tests.planning.tiny import varied_instance
from tests.planning.varied import instances as varied

PROBLEMS = st.one_of(varied(), general(), st.integers(0, 10**6).map(varied_instance))


def by_search(name: str) -> Callable[[Instance], Plan | None]:
    return lambda instance: make_plan(instance, name, Count(20), Random(1))


def by_rule(name: str) -> Callable[[Instance], Plan | None]:
    return lambda instance: planned(instance, name)


def by_rival(name: str) -> Callable[[Instance], Plan | None]:
    return lambda instance: rival(Compiled(instance), name)


MAKERS: dict[str, Callable[[Instance], Plan | None]] = {
    **{name: by_rule(name) for name in ORDERS},
    **{name: by_search(name) for name in ("live", "portfolio")},
    **{name: by_rival(name) for name in RIVALS},
}


def plans(instance: Instance) -> Iterator[Plan]:
    """The plans of all who can do the work."""
    for maker in MAKERS.values():
        plan = maker(instance)
        if plan is not None:
            yield plan


@settings(max_examples=40)
@given(PROBLEMS)
def test_every_plan_holds_and_none_beats_a_bound(instance: Instance) -> None:
    """The checker finds nothing; no plan is shorter than any bound, and each bound follows from its witness."""
    certificates = bounds_of(instance)
    for certificate in certificates.values():
        assert check_certificate(instance, certificate) == "", f"{certificate.kind} follows from its witness"

    for plan in plans(instance):
        assert check_plan(instance, plan) == (), f"the plan of {plan.strategy} {plan.detail} can be carried out"
        for kind, certificate in certificates.items():
            assert certificate.bound_ms <= plan.makespan_ms, f"{plan.strategy} is not shorter than {kind} allows"


@settings(max_examples=25)
@given(PROBLEMS)
def test_who_plans_twice_plans_the_same(instance: Instance) -> None:
    """Also when hosts list their models in another order: nothing depends on the order of a mapping."""
    turned = replace(
        instance,
        hosts=tuple(replace(host, models=dict(reversed(list(host.models.items())))) for host in instance.hosts),
    )

    for name, maker in MAKERS.items():
        plan = maker(instance)
        assert plan == maker(instance), f"{name} repeats itself"
        assert plan == maker(turned), f"{name} does not look at the order in which models are listed"


def is_gone(stay: Episode, at_ms: int) -> bool:
    return stay.unload_end_ms is not None and stay.unload_end_ms <= at_ms


def recounted(instance: Instance, plan: Plan, host: PlanHost) -> HostFigures:
    """The figures of a host by stretches of time in which nothing changes."""
    end = plan.makespan_ms
    tasks = {task.id: task for task in instance.tasks}
    placed = [row for row in plan.placements if row.host == host.name]
    choices = {row.task: tasks[row.task].choices[row.choice] for row in placed}
    stays = [row for row in plan.episodes if row.host == host.name and row.load_start_ms < end and not host.cloud]
    instants = {0, end}
    for row in placed:
        instants |= {row.start_ms, row.end_ms}
    for stay in stays:
        instants |= {stay.load_start_ms, stay.ready_ms, stay.unload_start_ms or 0, stay.unload_end_ms or 0}
    swapping = idle = ready = worked = peak = 0
    for start, stop in pairwise(sorted(instants)):
        lasts = stop - start
        now = [row for row in placed if row.start_ms <= start < row.end_ms]
        there = [row for row in stays if row.load_start_ms <= start and not is_gone(row, start)]
        loading = [row for row in there if not row.initial and start < row.ready_ms]
        going = [row for row in there if row.unload_start_ms is not None and row.unload_start_ms <= start]
        usable = [row for row in there if row.ready_ms <= start and row not in going]
        memory = sum(host.models[row.model].memory_bytes for row in there)
        peak = max(peak, memory + sum(choices[row.task].memory_bytes for row in now))
        if start >= end:
            continue
        swapping += lasts * (len(loading) + len(going))
        idle += lasts * (not now and not loading and not going)
        worked += lasts * sum(len(set(choices[row.task].models)) for row in now)
        ready += lasts * sum(host.models[row.model].slots for row in usable)
    if host.cloud:
        ready = end * sum(host.models[name].slots for name in {name for one in choices.values() for name in one.models})
    return HostFigures(
        host=host.name,
        tasks=len(placed),
        loads=sum(not row.initial for row in stays),
        unloads=sum(row.unload_start_ms is not None and row.unload_start_ms < end for row in stays),
        swap_ms=swapping,
        idle_ms=idle,
        slot_use_permille=worked * 1000 // ready if ready else 0,
        peak_memory_bytes=peak,
    )


@settings(max_examples=40)
@given(PROBLEMS)
def test_figures_are_what_a_recount_finds(instance: Instance) -> None:
    """Loads, swap time, idle time, use of slots and peak memory, host by host; sums and money over all."""
    for plan in plans(instance):
        made = figures(instance, plan)
        rows = tuple(recounted(instance, plan, host) for host in instance.hosts)
        clouds = {host.name for host in instance.hosts if host.cloud}

        assert made.hosts == rows, plan.strategy
        assert (made.makespan_ms, made.loads) == (plan.makespan_ms, sum(row.loads for row in rows))
        assert made.swap_ms == sum(row.swap_ms for row in rows)
        assert made.idle_ms == sum(row.idle_ms for row in rows if row.host not in clouds)
        assert made.critical_path_ms <= made.makespan_ms or any(task.optional for task in instance.tasks)
        limits = {host.name: host.memory_bytes for host in instance.hosts}
        for row in rows:
            limit = limits[row.host]
            assert limit is None or row.peak_memory_bytes <= limit, "peak memory is within the host's"


@settings(max_examples=40)
@given(PROBLEMS)
def test_a_picture_shows_every_task_and_every_stay_once(instance: Instance) -> None:
    """Bars of one lane never overlap; the time they cover is that of the plan, up to its end."""
    for plan in plans(instance):
        picture = gantt(instance, plan)
        lanes = [lane for host in picture.hosts for lane in host.lanes]
        bars = [bar for lane in lanes for bar in lane.bars]
        clouds = {host.name for host in instance.hosts if host.cloud}
        shown = {host.host for host in picture.hosts}

        for lane in lanes:
            assert all(one.end_ms <= two.start_ms for one, two in pairwise(lane.bars)), "bars never overlap"
        assert sorted((bar.label, bar.start_ms, bar.end_ms) for bar in bars if bar.kind is BarKind.TASK) == sorted(
            (row.task, row.start_ms, row.end_ms) for row in plan.placements
        )
        in_memory = sum(
            min(plan.makespan_ms, plan.makespan_ms if row.unload_end_ms is None else row.unload_end_ms)
            - min(plan.makespan_ms, row.load_start_ms)
            for row in plan.episodes
            if row.host in shown - clouds
        )
        assert sum(bar.end_ms - bar.start_ms for bar in bars if bar.kind is not BarKind.TASK) == in_memory


@settings(max_examples=40)
@given(PROBLEMS, st.randoms(use_true_random=False))
def test_turns_hand_out_every_task_once_for_each_of_its_models(instance: Instance, dice: Random) -> None:
    """On its host; a cloud has none. Ended in any order, the turn goes on only over what has ended."""
    clouds = {host.name for host in instance.hosts if host.cloud}
    for plan in plans(instance):
        guide = guide_of(plan, instance, batch="r", version=1, started_ms=1_000, reason="start")
        rows = turns(guide)

        for row in plan.placements:
            own = [turn.model for turn in rows.get(row.host, ()) if row.task in turn.tasks]
            models = [] if row.host in clouds else sorted(set(guide.models[row.task]))
            assert sorted(own) == models, f"{row.task} is in one turn of each of its models"
        assert all(turn.until_ms <= 1_000 + plan.makespan_ms for host in rows.values() for turn in host)
        order = [row.task for row in plan.placements]
        dice.shuffle(order)
        ended: set[str] = set()
        for task in order:
            ended.add(task)
            for host in rows.values():
                rest = turn_now(host, ended)
                over = host[: len(host) - len(rest)]
                assert all(set(turn.tasks) <= ended for turn in over), "what is passed is over"
                assert not rest or not set(rest[0].tasks) <= ended, "the turn has something left to end"


def eased(instance: Instance, what: str) -> Instance:
    """The problem with one thing made easier everywhere."""

    def host(row: PlanHost) -> PlanHost:
        if what == "memory":
            return replace(row, memory_bytes=None if row.memory_bytes is None else row.memory_bytes + 1)
        if what == "slots":
            return replace(row, models={name: replace(one, slots=one.slots + 1) for name, one in row.models.items()})
        if what == "residents":
            return replace(row, max_resident=None)
        return row

    tasks = instance.tasks
    if what == "needs":
        tasks = tuple(replace(task, needs=task.needs[1:]) for task in tasks)
    if what == "releases":
        tasks = tuple(replace(task, release_ms=0) for task in tasks)
    if what == "optional":
        tasks = tuple(replace(task, optional=True) for task in tasks)
    return replace(instance, hosts=tuple(host(row) for row in instance.hosts), tasks=tasks)


@pytest.mark.parametrize("what", ["memory", "slots", "residents", "needs", "releases", "optional"])
@settings(max_examples=10)
@given(instance=PROBLEMS)
def test_what_can_be_carried_out_still_can_when_something_gets_easier(what: str, instance: Instance) -> None:
    """The checker refuses no plan for more room, fewer needs or earlier work; and no bound of the easier problem is
    longer than a plan of the harder one.
    """
    easier = eased(instance, what)
    bounds = bounds_of(easier)
    for plan in plans(instance):
        assert check_plan(easier, plan) == (), plan.strategy
        assert all(one.bound_ms <= plan.makespan_ms for one in bounds.values()), plan.strategy


def record_of(instance: Instance, plan: Plan, started_ms: int) -> tuple[list[Call], list[Change]]:
    """What would be written down of a plan that is carried out to the letter."""
    clouds = {host.name for host in instance.hosts if host.cloud}
    choices = {task.id: task.choices for task in instance.tasks}
    calls = [
        Call(
            label=row.task,
            host=row.host,
            start_ms=started_ms + row.start_ms,
            end_ms=started_ms + row.end_ms,
            model=choices[row.task][row.choice].models[0],
            cloud=row.host in clouds,
        )
        for row in plan.placements
    ]
    changes = []
    for row in plan.episodes:
        if not row.initial:
            took_ms = row.ready_ms - row.load_start_ms
            changes.append(
                Change(host=row.host, model=row.model, at_ms=started_ms + row.ready_ms, loaded=True, took_ms=took_ms)
            )
        if row.unload_start_ms is not None and row.unload_end_ms is not None:
            took_ms = row.unload_end_ms - row.unload_start_ms
            changes.append(
                Change(
                    host=row.host, model=row.model, at_ms=started_ms + row.unload_end_ms, loaded=False, took_ms=took_ms
                )
            )
    return calls, changes


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(sorted(MAKERS)), st.randoms(use_true_random=False))
def test_a_plan_carried_out_to_the_letter_is_read_back_as_it_was(seed: int, name: str, dice: Random) -> None:
    """Whatever the order of the records: the same stays, the same placements, the same figures of time."""
    instance = tiny_instance(seed)
    plan = MAKERS[name](instance)
    assume(plan is not None)
    assert plan is not None
    calls, changes = record_of(instance, plan, 5_000)
    # A host changes one thing at a time: an unload that ends with another model's load came before it.
    ends = [(row.host, row.at_ms) for row in changes]
    assume(len(set(ends)) == len(ends))
    dice.shuffle(calls)
    dice.shuffle(changes)

    found = actual(calls, changes, started_ms=5_000, until_ms=5_000 + plan.makespan_ms)

    traced = {(row.host, row.model) for row in changes} | {(row.host, row.model) for row in calls}
    stays = [row for row in plan.episodes if not row.initial or (row.host, row.model) in traced]
    assert sorted(found.plan.episodes, key=str) == sorted(stays, key=str)
    assert [(row.task, row.host, row.start_ms, row.end_ms) for row in found.plan.placements] == sorted(
        ((row.task, row.host, row.start_ms, row.end_ms) for row in plan.placements), key=lambda row: (row[2], row[0])
    )
    told, meant = figures(found.instance, found.plan), figures(instance, plan)
    assert (told.makespan_ms, told.loads, told.swap_ms) == (meant.makespan_ms, meant.loads, meant.swap_ms)
