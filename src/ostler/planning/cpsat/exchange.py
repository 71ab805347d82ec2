"""A plan as values of the variables, for a warm start, and back.

A hint covers every variable, literals too: a solver that must guess a part of it often loses the whole.
"""

from collections.abc import Callable, Iterable, Mapping

from ortools.sat.python.cp_model import CpModel, IntVar

from ostler.planning.cpsat.data import Problem
from ostler.planning.cpsat.variables import Stay, Variables
from ostler.planning.instance import Instance
from ostler.planning.plan import Episode, Placement, Plan


def most_stays(plan: Plan) -> int:
    """The largest number of stays that one model has on one host in a plan, those that serve nothing left out."""
    counts: dict[tuple[str, str], int] = {}
    for episode in plan.episodes:
        counts[episode.host, episode.model] = counts.get((episode.host, episode.model), 0) + 1
    return max(counts.values(), default=0)


def hint_plan(
    model: CpModel, problem: Problem, variables: Variables, plan: Plan, positions: Mapping[int, list[int]] | None = None
) -> dict[int, int]:
    """Hint the plan, as far as it fits; stays that serve nothing are left out. Answers the values by variable index.

    `positions` says for each seat which of its stays the episodes of the plan are; by default the first ones.
    """
    values: dict[int, tuple[IntVar, int]] = {}

    def hint(variable: IntVar, value: int) -> None:
        values[variable.index] = (variable, value)

    makespan = -(-plan.makespan_ms // problem.tick_ms)
    hint(variables.makespan, makespan)
    placed = placed_jobs(problem, plan)
    in_stay: dict[tuple[int, int], int] = {}
    for seat, stays in enumerate(variables.stays):
        episodes = used_episodes(problem, seat, plan, placed)
        places = positions[seat] if positions and seat in positions else range(len(episodes))
        at = dict(zip(places, episodes, strict=True))
        absent_at = 0
        for number, stay in enumerate(stays):
            episode, jobs = at.get(number, (None, []))
            for variable, value in _stay_values(stay, episode, makespan, problem.tick_ms, absent_at):
                hint(variable, value)
            absent_at = values[stay.end.index][1]
            in_stay.update(dict.fromkeys([(job, seat) for job in jobs], number))
    for job, start in enumerate(variables.starts):
        placement = placed.get(job)
        hint(variables.present[job], int(placement is not None))
        hint(start, placement.start_ms // problem.tick_ms if placement else problem.heads[job])
        for way, option in zip(variables.ways[job], problem.jobs[job].options, strict=True):
            host = problem.instance.hosts[option.host].name
            taken = placement is not None and (placement.host, placement.choice) == (host, option.choice)
            hint(way.taken, int(taken))
    for (job, seat), uses in variables.uses.items():
        for number, use in enumerate(uses):
            hint(use, int(in_stay.get((job, seat)) == number))
    for variable, value in values.values():
        model.add_hint(variable, value)
    return {index: value for index, (_, value) in values.items()}


def placed_jobs(problem: Problem, plan: Plan) -> dict[int, Placement]:
    """Placements by job, twins in the order that the model wants."""
    number = {task.id: index for index, task in enumerate(problem.instance.tasks)}
    placed = {number[one.task]: one for one in plan.placements if one.task in number}
    for twins in problem.twins:
        ordered = sorted((placed[job] for job in twins if job in placed), key=lambda one: (one.start_ms, one.task))
        placed.update(zip([job for job in twins if job in placed], ordered, strict=True))
    return placed


def used_episodes(
    problem: Problem, seat: int, plan: Plan, placed: dict[int, Placement]
) -> list[tuple[Episode, list[int]]]:
    """The episodes of a seat that are initial or serve a job, each with its jobs."""
    host, model = problem.instance.hosts[problem.seats[seat].host].name, problem.seats[seat].model
    users = [
        (job, placement)
        for job, placement in placed.items()
        if placement.host == host and model in problem.instance.tasks[job].choices[placement.choice].models
    ]
    found = []
    for episode in sorted(plan.episodes, key=lambda one: (one.load_start_ms, not one.initial)):
        if (episode.host, episode.model) != (host, model):
            continue
        until = plan.makespan_ms if episode.unload_start_ms is None else episode.unload_start_ms
        served = [job for job, one in users if episode.ready_ms <= one.start_ms and one.end_ms <= until]
        if served or episode.initial:
            found.append((episode, served))
    return found


def _stay_values(
    stay: Stay, episode: Episode | None, makespan: int, tick_ms: int, absent_at: int
) -> list[tuple[IntVar, int]]:
    if episode is None:
        at = min(absent_at, makespan)
        start, end, size = (0, stay.seat.unload, 0) if stay.initial else (at, at, 0)
    else:
        start = episode.load_start_ms // tick_ms
        kept = episode.unload_start_ms is None or stay.seat.pinned
        drained = makespan if kept else min(makespan, (episode.unload_start_ms or 0) // tick_ms)
        end = drained + stay.seat.unload
        size = end - start
    return [(stay.present, int(episode is not None)), (stay.load_start, start), (stay.end, end), (stay.size, size)]


def read_plan(problem: Problem, variables: Variables, value: Callable[[IntVar], int], detail: str) -> Plan:
    """The plan that the solver's values describe."""
    tick_ms = problem.tick_ms
    placements = []
    for job, ways in enumerate(variables.ways):
        for way, option in zip(ways, problem.jobs[job].options, strict=True):
            if value(way.taken):
                start = value(variables.starts[job])
                placements.append(
                    Placement(
                        task=problem.instance.tasks[job].id,
                        host=problem.instance.hosts[option.host].name,
                        start_ms=start * tick_ms,
                        end_ms=(start + option.ticks) * tick_ms,
                        choice=option.choice,
                    )
                )
    episodes = []
    for index, stays in enumerate(variables.stays):
        seat = problem.seats[index]
        host = problem.instance.hosts[seat.host].name
        for stay in stays:
            if value(stay.present):
                start, end = value(stay.load_start), value(stay.end)
                episodes.append(
                    Episode(
                        host=host,
                        model=seat.model,
                        load_start_ms=start * tick_ms,
                        ready_ms=(start + stay.load) * tick_ms,
                        unload_start_ms=(end - seat.unload) * tick_ms,
                        unload_end_ms=end * tick_ms,
                        initial=stay.initial,
                    )
                )
    placements.sort(key=lambda one: (one.start_ms, one.task))
    return Plan(
        strategy="optimal",
        episodes=_kept(problem.instance, episodes, placements),
        placements=tuple(placements),
        detail=detail,
    )


def _kept(instance: Instance, episodes: list[Episode], placements: Iterable[Placement]) -> tuple[Episode, ...]:
    """The same episodes, unloaded only where something needs the room: the last stay of a model stays if it can."""
    tasks = {task.id: task for task in instance.tasks}
    own = [(one, tasks[one.task].choices[one.choice].memory_bytes) for one in placements]
    kept = list(episodes)
    for index, episode in sorted(enumerate(episodes), key=lambda pair: -(pair[1].unload_start_ms or 0)):
        again = any(
            (one.host, one.model) == (episode.host, episode.model) and one.load_start_ms > episode.load_start_ms
            for one in kept
        )
        if again or episode.unload_start_ms is None:
            continue
        kept[index] = _staying(episode)
        if not _fits(instance, episode.host, kept, own):
            kept[index] = episode
    return tuple(sorted(kept, key=lambda one: (one.load_start_ms, one.host, one.model)))


def _staying(episode: Episode) -> Episode:
    return Episode(
        host=episode.host,
        model=episode.model,
        load_start_ms=episode.load_start_ms,
        ready_ms=episode.ready_ms,
        initial=episode.initial,
    )


def _fits(instance: Instance, name: str, episodes: list[Episode], own: list[tuple[Placement, int]]) -> bool:
    host = instance.host(name)
    here = [one for one in episodes if one.host == name]
    takers = [(one, memory) for one, memory in own if one.host == name and memory]
    for instant in {one.load_start_ms for one in here} | {one.start_ms for one, _ in takers}:
        inside = [
            one
            for one in here
            if one.load_start_ms <= instant and (one.unload_end_ms is None or instant < one.unload_end_ms)
        ]
        if host.max_resident is not None and len(inside) > host.max_resident:
            return False
        memory = sum(host.models[one.model].memory_bytes for one in inside)
        memory += sum(memory for one, memory in takers if one.start_ms <= instant < one.end_ms)
        if host.memory_bytes is not None and memory > host.memory_bytes:
            return False
    return True
