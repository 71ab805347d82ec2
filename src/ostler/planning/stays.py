"""What a simulation leaves behind: stays of models with their instants, and a plan made of them."""

from collections.abc import Iterable, Sequence
from copy import copy

from ostler.planning.compiled import Compiled, Option
from ostler.planning.plan import Episode, Placement, Plan
from ostler.residency.state import LOADING, READY, HostState, Resident


class Stay(Resident):
    """A resident of a run, with the instants of its episode, and until when it takes back-fill while it drains."""

    __slots__ = ("backfill_until_ms", "load_start_ms", "unload_end_ms", "unload_start_ms")

    def __init__(self, model: str, compiled: Compiled, host: int, now_ms: int, *, initial: bool = False) -> None:
        footprint = compiled.footprints[host][model]
        ready_ms = now_ms if initial else now_ms + footprint.load_ms
        super().__init__(model, footprint, phase=READY if initial else LOADING, since_ms=ready_ms, ready_ms=ready_ms)
        self.load_start_ms = -1 if initial else now_ms
        """-1 = it was there at the start."""
        self.unload_start_ms: int | None = None
        self.unload_end_ms: int | None = None
        self.backfill_until_ms = 0


def stay_of(host: HostState, model: str) -> Stay:
    """The stay of a resident. Raises `KeyError`; a host of a run holds stays only."""
    stay = host.residents[model]
    if not isinstance(stay, Stay):
        raise TypeError(f"{model} on {host.name} is no stay of a run")
    return stay


def host_copy(host: HostState) -> HostState:
    """A host of its own with residents of its own."""
    twin = copy(host)
    twin.residents = {model: copy(resident) for model, resident in host.residents.items()}
    return twin


Times = tuple[Sequence[int], Sequence[int], Sequence[tuple[int, Option] | None]]
"""By task: start, end, and host and option (`None` = did not run)."""


def plan_of(
    compiled: Compiled, stays: Iterable[tuple[int, Stay]], times: Times, strategy: str, detail: str = ""
) -> Plan:
    """The plan of a run: episodes of hosts that are no clouds, and placements."""
    hosts, tasks = compiled.instance.hosts, compiled.instance.tasks
    starts, ends, ran = times
    episodes = [
        Episode(
            host=hosts[place].name,
            model=stay.model,
            load_start_ms=max(0, stay.load_start_ms),
            ready_ms=stay.ready_ms,
            unload_start_ms=stay.unload_start_ms,
            unload_end_ms=stay.unload_end_ms,
            initial=stay.load_start_ms < 0,
        )
        for place, stay in stays
        if not hosts[place].cloud
    ]
    placements = [
        Placement(
            task=tasks[task].id,
            host=hosts[where[0]].name,
            start_ms=starts[task],
            end_ms=ends[task],
            choice=where[1].choice,
        )
        for task, where in enumerate(ran)
        if where is not None
    ]
    episodes.sort(key=lambda row: (row.load_start_ms, row.host, row.model))
    placements.sort(key=lambda row: (row.start_ms, row.task))
    return Plan(strategy=strategy, episodes=tuple(episodes), placements=tuple(placements), detail=detail)
