"""What really happened, in the form of a plan: the same picture and the same figures serve both. Pure.

Calls become placements, changes of memory become episodes, hosts and tasks are those that took part. A model that was
in memory before the first change counts as resident from the start, but only where calls used it: what is never used
and never changed leaves no trace. What runs, or is in memory, at the end of the record goes on to that end.

What was only seen in a listing (a machine that was switched off, an engine that swaps by itself) counts where nothing
better is known. An unload that happened for a load (the same host, the same instant of record) came before it: first
out, then in.
O(n log n) in calls and changes.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ostler.planning.ground import COMMAND
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan

STRATEGY = "actual"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as it was. Instants are absolute; `end_ms` is `None` while it runs."""

    label: str
    """Name of the task, with the number of the attempt where there were several."""
    host: str
    start_ms: int
    end_ms: int | None = None
    model: str | None = None
    """`None` = a command."""
    cloud: bool = False
    """It ran where nothing is loaded."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A model came into a host's memory, or left it, at the instant of its record."""

    host: str
    model: str
    at_ms: int
    loaded: bool
    took_ms: int = 0
    """Its own load, or its own unload."""
    seen: bool = False
    """It was only seen in a listing: nobody asked for it, or the word of who did comes later and says it better."""


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """The record as instance and plan."""

    instance: Instance
    plan: Plan


def actual(calls: Sequence[Call], changes: Sequence[Change], *, started_ms: int, until_ms: int) -> Actual:
    """What happened from `started_ms` to `until_ms`, instants counted from the start."""
    ran = [call for call in calls if call.start_ms < until_ms]
    clouds = {call.host for call in ran if call.cloud}
    hosts = sorted({call.host for call in ran} | {change.host for change in changes})
    models: dict[str, set[str]] = {host: set() for host in hosts}
    for call in ran:
        models[call.host].add(call.model or COMMAND)
    for change in changes:
        models[change.host].add(change.model)
    episodes = [
        episode
        for host in hosts
        if host not in clouds
        for episode in _stays(
            host,
            [change for change in changes if change.host == host],
            [call for call in ran if call.host == host],
            started_ms=started_ms,
        )
    ]
    placements = [
        Placement(
            task=call.label,
            host=call.host,
            start_ms=call.start_ms - started_ms,
            end_ms=(until_ms if call.end_ms is None else call.end_ms) - started_ms,
        )
        for call in ran
    ]
    instance = Instance(
        hosts=tuple(
            PlanHost(name=host, models={name: Serving() for name in sorted(models[host])}, cloud=host in clouds)
            for host in hosts
        ),
        tasks=tuple(
            PlanTask(id=call.label, choices=(Choice(models=(call.model or COMMAND,), duration_ms=0),)) for call in ran
        ),
    )
    plan = Plan(
        strategy=STRATEGY,
        episodes=tuple(sorted(episodes, key=lambda row: (row.load_start_ms, row.host, row.model))),
        placements=tuple(sorted(placements, key=lambda row: (row.start_ms, row.task))),
    )
    return Actual(instance=instance, plan=plan)


def without_prefix(record: Actual, prefix: str) -> Actual:
    """The same with shorter names of tasks: those of a run begin with its name."""
    plan, instance = record.plan, record.instance
    rows = tuple(msgspec.structs.replace(row, task=row.task.removeprefix(prefix)) for row in plan.placements)
    tasks = tuple(msgspec.structs.replace(task, id=task.id.removeprefix(prefix)) for task in instance.tasks)
    return Actual(
        instance=msgspec.structs.replace(instance, tasks=tasks), plan=msgspec.structs.replace(plan, placements=rows)
    )


def _stays(host: str, changes: Sequence[Change], calls: Iterable[Call], *, started_ms: int) -> list[Episode]:
    """The stays of all models on one host, in order."""
    ordered = sorted(changes, key=lambda change: (change.at_ms, change.loaded, change.model))
    loads_at = {change.at_ms: change.took_ms for change in ordered if change.loaded and not change.seen}
    open_stays: dict[str, Episode] = {}
    closed: list[Episode] = []
    only_seen: dict[str, Episode] = {}
    for model in sorted({call.model for call in calls if call.model is not None}):
        first = next((change for change in ordered if change.model == model), None)
        if first is None or not first.loaded:
            open_stays[model] = _resident(host, model)
    for change in ordered:
        at_ms = change.at_ms - started_ms
        if change.loaded:
            open_stays.setdefault(
                change.model,
                Episode(host=host, model=change.model, load_start_ms=max(0, at_ms - change.took_ms), ready_ms=at_ms),
            )
            continue
        stay = open_stays.pop(change.model, None)
        if change.seen and stay is None:
            continue
        if stay is None and change.model in only_seen:
            stay = only_seen.pop(change.model)
            closed.remove(stay)
        stay = stay or _resident(host, change.model)
        # The record of an unload for a load is made when both are over.
        gone_ms = max(stay.ready_ms, at_ms - loads_at.get(change.at_ms, 0))
        left_ms = max(stay.ready_ms, gone_ms - change.took_ms)
        stay = msgspec.structs.replace(stay, unload_start_ms=left_ms, unload_end_ms=gone_ms)
        closed.append(stay)
        if change.seen:
            only_seen[change.model] = stay
        else:
            only_seen.pop(change.model, None)
    return [*closed, *open_stays.values()]


def _resident(host: str, model: str) -> Episode:
    return Episode(host=host, model=model, load_start_ms=0, ready_ms=0, initial=True)
