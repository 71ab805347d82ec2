"""What a plan comes to, from the plan alone: swaps and their time, idle time, use of slots, peak memory, critical path.

Times are counted from 0 to the makespan; what happens after the last task has ended is not part of the work. A host is
*idle* while it neither runs a task nor loads nor unloads. Use of slots is the share of ready slot time in which a task
ran: what is missing is mostly drain, slots that wait for the last long task of a batch.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ostler.planning.instance import Instance, PlanHost
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.plan_checker import shortest_path

Interval = tuple[int, int]


class HostFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one host does during a plan."""

    host: str
    tasks: int
    loads: int
    """Loads that start before the last task has ended; what was resident at the start is none."""
    unloads: int
    swap_ms: int
    """Time of all loads and unloads, added up even where they overlap."""
    idle_ms: int
    """Time in which it neither runs a task nor loads nor unloads."""
    slot_use_permille: int
    """Share of ready slot time in which a task ran; a cloud counts the slots of the models it was asked for."""
    peak_memory_bytes: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole plan comes to."""

    makespan_ms: int
    loads: int
    swap_ms: int
    idle_ms: int
    """Over all hosts, clouds left out."""
    cost_micro_usd: int
    critical_path_ms: int
    """Shortest conceivable duration with no swap and no limit of slots."""
    critical_path: tuple[str, ...]
    hosts: tuple[HostFigures, ...]


def figures(instance: Instance, plan: Plan) -> Figures:
    """The figures of a plan. The plan should hold (see `plan_checker`); nothing is checked here."""
    rows = tuple(_host(instance, plan, host) for host in instance.hosts)
    length, path = shortest_path(instance)
    choices = {task.id: task.choices for task in instance.tasks}
    return Figures(
        makespan_ms=plan.makespan_ms,
        loads=sum(row.loads for row in rows),
        swap_ms=sum(row.swap_ms for row in rows),
        idle_ms=sum(row.idle_ms for row, host in zip(rows, instance.hosts, strict=True) if not host.cloud),
        cost_micro_usd=sum(choices[row.task][row.choice].cost_micro_usd for row in plan.placements),
        critical_path_ms=length,
        critical_path=path,
        hosts=rows,
    )


def _host(instance: Instance, plan: Plan, host: PlanHost) -> HostFigures:
    tasks = {task.id: task for task in instance.tasks}
    end_ms = plan.makespan_ms
    stays = [] if host.cloud else [row for row in plan.episodes if row.host == host.name and row.load_start_ms < end_ms]
    placed = [row for row in plan.placements if row.host == host.name]
    loading = [(row.load_start_ms, row.ready_ms) for row in stays if not row.initial]
    unloading = [
        (row.unload_start_ms, row.unload_end_ms)
        for row in stays
        if row.unload_start_ms is not None and row.unload_end_ms is not None and row.unload_start_ms < end_ms
    ]
    swaps = [(start, min(end, end_ms)) for start, end in [*loading, *unloading]]
    busy = [*swaps, *((row.start_ms, row.end_ms) for row in placed)]
    asked = {row.task: tuple(sorted(set(tasks[row.task].choices[row.choice].models))) for row in placed}
    used_ms = sum((row.end_ms - row.start_ms) * len(asked[row.task]) for row in placed)
    ready_ms = _ready_slot_ms(host, stays, {model for models in asked.values() for model in models}, end_ms)
    own = [(row, tasks[row.task].choices[row.choice].memory_bytes) for row in placed]
    return HostFigures(
        host=host.name,
        tasks=len(placed),
        loads=len(loading),
        unloads=len(unloading),
        swap_ms=sum(end - start for start, end in swaps),
        idle_ms=end_ms - _covered(busy),
        slot_use_permille=used_ms * 1000 // ready_ms if ready_ms else 0,
        peak_memory_bytes=_peak(host, stays, own),
    )


def _ready_slot_ms(host: PlanHost, stays: Iterable[Episode], asked: set[str], end_ms: int) -> int:
    if host.cloud:
        return sum(host.models[model].slots for model in sorted(asked)) * end_ms
    total = 0
    for row in stays:
        until = end_ms if row.unload_start_ms is None else min(row.unload_start_ms, end_ms)
        total += max(0, until - row.ready_ms) * host.models[row.model].slots
    return total


def _covered(intervals: Sequence[Interval]) -> int:
    """Length of the union."""
    total, until = 0, 0
    for start, end in sorted(intervals):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


def _peak(host: PlanHost, stays: Iterable[Episode], own: Iterable[tuple[Placement, int]]) -> int:
    events = [(row.start_ms, memory) for row, memory in own] + [(row.end_ms, -memory) for row, memory in own]
    for row in stays:
        size = host.models[row.model].memory_bytes
        events.append((row.load_start_ms, size))
        if row.unload_end_ms is not None:
            events.append((row.unload_end_ms, -size))
    peak = held = 0
    for _, change in sorted(events):
        held += change
        peak = max(peak, held)
    return peak
