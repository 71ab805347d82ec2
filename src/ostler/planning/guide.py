"""A plan in force: what the live scheduler follows of it, when reality has left it, and the two side by side.

A plan is made for estimates, so its instants are never obeyed. What is followed is what still helps when tasks take
longer or shorter: the order of the tasks, the host of each, and on each host the order of its *turns* (a model, and
the tasks that the plan serves while it stays). The turn of a host is the first one that still has tasks to finish. A
plan is left when it no longer describes what happens; then a new one is made for what is left (a new `version`).

Instants of a guide are absolute, those of its plan count from `started_ms`. Cost: O(tasks) to make; looking up a turn
is O(tasks of the turns that are over), each of which is passed once.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from ostler.planning.actual import Actual, Call
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan

LATE_SHARE = 0.25
"""A task is late when it runs longer than planned by more than this share of its planned duration ..."""
LATE_MS_MIN = 10_000
"""... and by more than this: short tasks vary, and a new plan is not worth a second of theirs."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A stay of one model on a host, with the tasks it is there for, in order of their start."""

    model: str
    tasks: tuple[str, ...]
    from_ms: int
    """When the plan begins to load it."""
    until_ms: int
    """When the plan has the last of them end."""


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """A plan adopted for a batch of tasks."""

    batch: str
    version: int
    started_ms: int
    """Instant 0 of the plan."""
    strategy: str
    makespan_ms: int
    """Of the plan, from `started_ms`."""
    bound_ms: int = 0
    """No plan for the same work is shorter; 0 = not computed."""
    placements: tuple[Placement, ...] = ()
    """In order of start; instants count from `started_ms`."""
    episodes: tuple[Episode, ...] = ()
    models: Mapping[str, tuple[str, ...]] = {}
    """Task -> the models of the choice taken; none for a command."""
    reason: str = ""
    """Why this version was made: `start`, or what the version before did not foresee."""


class Deviation(StrEnum):
    """How reality left a plan."""

    LATE = "late"
    """A task runs longer than planned."""
    FAILED = "failed"
    """An attempt failed: the work is there again."""
    HOST_GONE = "host_gone"
    """A host of the plan cannot be used."""
    HOST_BACK = "host_back"
    """A host came (back) that the plan does not use."""
    SWAP_FAILED = "swap_failed"


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """One task, planned and actual, from the start of the first version of the plan."""

    task: str
    planned_host: str
    planned_start_ms: int
    planned_end_ms: int
    host: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def late_ms(self) -> int | None:
        """How much later than planned it ended; negative = earlier; `None` = it has not ended."""
        return None if self.end_ms is None else self.end_ms - self.planned_end_ms


def guide_of(plan: Plan, instance: Instance, *, batch: str, version: int, started_ms: int, reason: str) -> Guide:
    """Adopt a plan."""
    choices = {task.id: task.choices for task in instance.tasks}
    order = sorted(plan.placements, key=lambda row: (row.start_ms, row.end_ms, row.task))
    return Guide(
        batch=batch,
        version=version,
        started_ms=started_ms,
        strategy=plan.strategy,
        makespan_ms=plan.makespan_ms,
        placements=tuple(order),
        episodes=plan.episodes,
        models={row.task: choices[row.task][row.choice].models for row in order},
        reason=reason,
    )


def turns(guide: Guide) -> dict[str, tuple[Turn, ...]]:
    """The turns of each host, in the order in which the plan has their models ready.

    A task that needs several models belongs to the turn of each. Stays that serve no task (what was resident at the
    start and is not used) are no turns.
    """
    stays: dict[str, list[Episode]] = {}
    for episode in guide.episodes:
        stays.setdefault(episode.host, []).append(episode)
    found: dict[str, tuple[Turn, ...]] = {}
    for host, episodes in sorted(stays.items()):
        rows = [row for row in guide.placements if row.host == host]
        made = [
            Turn(
                model=stay.model,
                tasks=tasks,
                from_ms=guide.started_ms + stay.load_start_ms,
                until_ms=guide.started_ms + max(row.end_ms for row in served),
            )
            for stay in sorted(episodes, key=lambda stay: (stay.ready_ms, stay.model))
            if (served := [row for row in rows if _serves(guide, stay, row)])
            and (tasks := tuple(row.task for row in served))
        ]
        if made:
            found[host] = tuple(made)
    return found


def _serves(guide: Guide, stay: Episode, row: Placement) -> bool:
    inside = stay.ready_ms <= row.start_ms and (stay.unload_start_ms is None or row.end_ms <= stay.unload_start_ms)
    return inside and stay.model in guide.models.get(row.task, ())


def turn_now(rows: Sequence[Turn], finished: Container[str]) -> tuple[Turn, ...]:
    """The first turn that still has tasks to finish, and those after it."""
    for index, turn in enumerate(rows):
        if any(task not in finished for task in turn.tasks):
            return tuple(rows[index:])
    return ()


def late_after_ms(guide: Guide) -> dict[str, int]:
    """Planned duration of each task plus what it may run longer before the plan is left."""
    return {row.task: allowed_ms(row.end_ms - row.start_ms) for row in guide.placements}


def allowed_ms(planned_ms: int) -> int:
    """How long a task of that planned duration may run before it counts as late.

    >>> allowed_ms(4_000), allowed_ms(600_000)
    (14000, 750000)
    """
    return planned_ms + max(LATE_MS_MIN, round(planned_ms * LATE_SHARE))


def drawn(guide: Guide) -> Actual:
    """The plan of a guide with the hosts and tasks that it names, to be drawn and counted like what happened."""
    hosts: dict[str, set[str]] = {}
    for row in guide.placements:
        hosts.setdefault(row.host, set()).update(guide.models.get(row.task, ()))
    for stay in guide.episodes:
        hosts.setdefault(stay.host, set()).add(stay.model)
    own = {stay.host for stay in guide.episodes}
    instance = Instance(
        hosts=tuple(
            PlanHost(name=name, models={model: Serving() for model in sorted(hosts[name])}, cloud=name not in own)
            for name in sorted(hosts)
        ),
        tasks=tuple(
            PlanTask(
                id=row.task,
                choices=(Choice(models=guide.models.get(row.task, ()), duration_ms=row.end_ms - row.start_ms),),
            )
            for row in guide.placements
        ),
    )
    placements = tuple(msgspec.structs.replace(row, choice=0) for row in guide.placements)
    plan = Plan(strategy=guide.strategy, episodes=guide.episodes, placements=placements)
    return Actual(instance=instance, plan=plan)


def versus(first: Guide, calls: Iterable[Call]) -> tuple[Versus, ...]:
    """The first version of a plan beside what happened, in the order of the plan; instants from its start.

    Calls are labelled by their tasks; of several attempts the last one given counts.
    """
    known = {call.label: call for call in calls}
    rows = []
    for row in first.placements:
        call = known.get(row.task)
        rows.append(
            Versus(
                task=row.task,
                planned_host=row.host,
                planned_start_ms=row.start_ms,
                planned_end_ms=row.end_ms,
                host=call.host if call is not None else None,
                start_ms=_since(first, call.start_ms if call is not None else None),
                end_ms=_since(first, call.end_ms if call is not None else None),
            )
        )
    return tuple(rows)


def _since(guide: Guide, at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms - guide.started_ms
