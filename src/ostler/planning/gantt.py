"""A plan as a picture to be drawn: lanes from top to bottom, bars in them from left to right. Pure geometry.

Each host has lanes for its memory, where a model stays from load to unload, and lanes for its slots, where tasks run.
What overlaps goes to different lanes, the first free one from the top, so that a host has as many lanes as it holds
models, or runs tasks, at once. A cloud loads nothing and has no memory lanes. O(n log n) in bars.

What has really happened is the same picture: episodes and placements as they were.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from ostler.planning.instance import Instance
from ostler.planning.plan import Episode, Placement, Plan


class BarKind(StrEnum):
    """What a bar stands for."""

    TASK = "task"
    LOAD = "load"
    RESIDENT = "resident"
    UNLOAD = "unload"


class Bar(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that lasts."""

    kind: BarKind
    start_ms: int
    end_ms: int
    label: str
    model: str
    """Gives it its colour; several models of a task are joined by `+`."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Bars one after the other, none over another."""

    memory: bool
    """Whether it shows models in memory; else tasks in a slot."""
    bars: tuple[Bar, ...]


class HostLanes(msgspec.Struct, frozen=True, kw_only=True):
    """What one host does, memory first."""

    host: str
    lanes: tuple[Lane, ...]


class Gantt(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture. `models`: each once, as the plan first uses them; their place gives the colour."""

    makespan_ms: int
    hosts: tuple[HostLanes, ...]
    models: tuple[str, ...]


def gantt(instance: Instance, plan: Plan, *, until_ms: int = 0, names: Mapping[str, str] = {}) -> Gantt:
    """The picture of a plan. Hosts in the order of the instance; those that do nothing are left out.

    `until_ms`: where the picture ends at least, so that two can be compared. `names`: what a model is called here.
    """
    end_ms = max(plan.makespan_ms, until_ms)
    called = {model: names.get(model, model) for host in instance.hosts for model in host.models}
    hosts = []
    for host in instance.hosts:
        memory = [] if host.cloud else [row for row in plan.episodes if row.host == host.name]
        tasks = [row for row in plan.placements if row.host == host.name]
        lanes = [
            *_lanes([_stay(row, end_ms, called) for row in memory], memory=True),
            *_lanes([[bar] for bar in _tasks(instance, tasks, called)], memory=False),
        ]
        if tasks or any(not row.initial for row in memory):
            hosts.append(HostLanes(host=host.name, lanes=tuple(lanes)))
    return Gantt(makespan_ms=end_ms, hosts=tuple(hosts), models=_models(instance, plan, called))


def _models(instance: Instance, plan: Plan, called: Mapping[str, str]) -> tuple[str, ...]:
    by_start = sorted(_tasks(instance, plan.placements, called), key=lambda bar: (bar.start_ms, bar.model))
    return tuple(
        dict.fromkeys([bar.model for bar in by_start] + [called.get(row.model, row.model) for row in plan.episodes])
    )


def _tasks(instance: Instance, placements: Iterable[Placement], called: Mapping[str, str]) -> list[Bar]:
    tasks = {task.id: task for task in instance.tasks}
    return [
        Bar(
            kind=BarKind.TASK,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            label=row.task,
            model="+".join(called.get(model, model) for model in tasks[row.task].choices[row.choice].models),
        )
        for row in placements
        if row.task in tasks
    ]


def _stay(row: Episode, end_ms: int, called: Mapping[str, str]) -> list[Bar]:
    """Load, stay and unload of one model, as far as the picture goes."""
    leaves_ms = end_ms if row.unload_start_ms is None else row.unload_start_ms
    gone_ms = leaves_ms if row.unload_end_ms is None else row.unload_end_ms
    parts = [
        (BarKind.LOAD, row.load_start_ms, row.ready_ms),
        (BarKind.RESIDENT, row.ready_ms, leaves_ms),
        (BarKind.UNLOAD, leaves_ms, gone_ms),
    ]
    model = called.get(row.model, row.model)
    return [
        Bar(kind=kind, start_ms=start, end_ms=min(stop, end_ms), label=model, model=model)
        for kind, start, stop in parts
        if start < min(stop, end_ms)
    ]


def _lanes(runs: Sequence[list[Bar]], *, memory: bool) -> list[Lane]:
    """Runs of bars in the first lane that is free when they begin."""
    lanes: list[list[Bar]] = []
    for run in sorted((run for run in runs if run), key=lambda run: (run[0].start_ms, run[0].label)):
        lane = next((lane for lane in lanes if lane[-1].end_ms <= run[0].start_ms), None)
        if lane is None:
            lane = []
            lanes.append(lane)
        lane.extend(run)
    return [Lane(memory=memory, bars=tuple(lane)) for lane in lanes]


STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)


def ticks(makespan_ms: int, at_most: int) -> tuple[tuple[int, str], ...]:
    """Round instants for the axis with their texts, `at_most` intervals between them.

    >>> ticks(50 * 60_000, 6)
    ((0, '0'), (600000, '10 min'), (1200000, '20 min'), (1800000, '30 min'), (2400000, '40 min'), (3000000, '50 min'))
    """
    fitting = (step * 1_000 for step in STEPS_S if makespan_ms <= step * 1_000 * at_most)
    step_ms = next(fitting, 0) or -(-makespan_ms // (at_most * 86_400_000)) * 86_400_000
    return tuple((at_ms, instant(at_ms, step_ms)) for at_ms in range(0, makespan_ms + 1, step_ms))


def instant(at_ms: int, step_ms: int) -> str:
    """An instant in the largest unit that a step is a whole number of; steps of less than a second count in seconds.

    >>> instant(0, 1_000), instant(90_000, 30_000), instant(7_200_000, 600_000), instant(7_200_000, 3_600_000)
    ('0', '90 s', '120 min', '2 h')
    """
    for size_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if at_ms and step_ms % size_ms == 0:
            return f"{at_ms // size_ms} {unit}"
    return f"{at_ms // 1_000} s" if at_ms else "0"
