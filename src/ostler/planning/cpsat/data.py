"""The instance as the solver sees it: whole ticks and indices instead of milliseconds and names.

A *seat* is a model on a host; an *option* is one choice of a task on one host. Everything is divided by the greatest
common divisor of all times (and memory by that of all sizes): smaller domains, same plans, because in a plan without
needless waiting each instant is a sum of given times.

How many stays of a model on a host are enough, exactly? Each must serve a task, so never more than its tasks. And two
stays in a row need something loaded between them that took the memory, otherwise they could be one: never more than one
plus the loads of all others there. When that is still too many for the solver, it is capped and the problem says so.
"""

from collections.abc import Sequence
from math import gcd

import msgspec

from ostler.planning.cpsat.heads import Kind, Piece, ancestors, heads, tails
from ostler.planning.instance import Choice, Instance, PlanHost, can_host, task_ms

EXACT_PAIRS_MAX = 3_000
"""Above so many pairs of task and stay on one host, stays are capped."""
CAPPED_EPISODES = 6


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a host."""

    host: int
    model: str
    memory: int
    load: int
    unload: int
    slots: int
    episodes: int
    """Stays that are modelled, the initial one included. 0 = it is always there and needs none."""
    initial: bool = False
    pinned: bool = False


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of a task on one host."""

    choice: int
    host: int
    seats: tuple[int, ...]
    ticks: int
    memory: int
    cost_micro_usd: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task: its options (none = it can only be dropped) and the jobs it needs."""

    options: tuple[Option, ...]
    needs: tuple[int, ...]
    droppable: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. `twins` are chains of jobs that can be exchanged for each other, and so may be ordered freely."""

    instance: Instance
    tick_ms: int
    memory_unit: int
    horizon: int
    jobs: tuple[Job, ...]
    heads: tuple[int, ...]
    """No job starts earlier."""
    tails: tuple[int, ...]
    """After each job so much is still to come."""
    seats: tuple[Seat, ...]
    before: tuple[int, ...]
    """Of each job the bits of those that end before it starts, in any plan."""
    twins: tuple[tuple[int, ...], ...]
    restricted: bool

    def capacity(self, host: int) -> int | None:
        """Memory of a host in units, rounded down; `None` = no limit."""
        return _capacity(self.instance.hosts[host], self.memory_unit)

    def seats_of(self, host: int) -> list[int]:
        """The seats of a host that have stays."""
        return [index for index, seat in enumerate(self.seats) if seat.host == host and seat.episodes]


def prepared(
    instance: Instance, *, episodes_max: int | None = None, episodes_min: int = 0, keep_optional: bool = True
) -> Problem:
    """The problem of an instance. A cap never goes below `episodes_min`, which a known plan may need."""
    tick_ms = _tick_ms(instance)
    unit = _memory_unit(instance)
    used = _used(instance)
    seats, restricted = _seats(instance, used, tick_ms, unit, (episodes_max, episodes_min))
    place = {(seat.host, seat.model): index for index, seat in enumerate(seats)}
    number = {task.id: index for index, task in enumerate(instance.tasks)}
    options = [
        tuple(
            Option(
                choice=index,
                host=host,
                seats=tuple(place[host, model] for model in dict.fromkeys(choice.models)),
                ticks=task_ms(choice, instance.hosts[host]) // tick_ms,
                memory=-(-choice.memory_bytes // unit),
                cost_micro_usd=choice.cost_micro_usd,
            )
            for host, index, choice in _ways(instance, task_index)
        )
        for task_index in range(len(instance.tasks))
    ]
    jobs = [
        Job(
            options=options[index],
            needs=tuple(sorted({number[need] for need in task.needs})),
            droppable=task.optional and (not keep_optional or not options[index]),
        )
        for index, task in enumerate(instance.tasks)
    ]
    pieces, kinds, exclusive = _pieces(instance, seats, jobs, tick_ms, unit)
    return Problem(
        instance=instance,
        tick_ms=tick_ms,
        memory_unit=unit,
        horizon=_horizon(instance, options, seats, tick_ms),
        jobs=tuple(jobs),
        heads=tuple(heads(pieces, kinds, exclusive=exclusive)),
        tails=tuple(tails(pieces, kinds, exclusive=exclusive)),
        seats=tuple(seats),
        before=tuple(ancestors(pieces)),
        twins=_twins(instance),
        restricted=restricted,
    )


def _capacity(host: PlanHost, unit: int) -> int | None:
    return None if host.cloud or host.memory_bytes is None else host.memory_bytes // unit


def _ways(instance: Instance, task: int) -> list[tuple[int, int, Choice]]:
    return [
        (host_index, index, choice)
        for index, choice in enumerate(instance.tasks[task].choices)
        for host_index, host in enumerate(instance.hosts)
        if can_host(choice, host)
    ]


def _used(instance: Instance) -> dict[tuple[int, str], int]:
    """How many tasks could use each model on each host; residents that none can use are there with 0."""
    used: dict[tuple[int, str], int] = {}
    for index, host in enumerate(instance.hosts):
        for model in host.resident:
            if model in host.models:
                used[index, model] = 0
    for task in range(len(instance.tasks)):
        for key in dict.fromkeys((host, model) for host, _, choice in _ways(instance, task) for model in choice.models):
            used[key] = used.get(key, 0) + 1
    return dict(sorted(used.items()))


def _tick_ms(instance: Instance) -> int:
    times = [task.release_ms for task in instance.tasks]
    times += [time for host in instance.hosts for one in host.models.values() for time in (one.load_ms, one.unload_ms)]
    for task in range(len(instance.tasks)):
        times += [task_ms(choice, instance.hosts[host]) for host, _, choice in _ways(instance, task)]
    return gcd(*times) or 1


def _memory_unit(instance: Instance) -> int:
    sizes = [choice.memory_bytes for task in instance.tasks for choice in task.choices]
    sizes += [serving.memory_bytes for host in instance.hosts for serving in host.models.values()]
    return gcd(*sizes) or 1


def _seats(
    instance: Instance,
    used: dict[tuple[int, str], int],
    tick_ms: int,
    unit: int,
    caps: tuple[int | None, int],
) -> tuple[list[Seat], bool]:
    seats: list[Seat] = []
    restricted = False
    for index, host in enumerate(instance.hosts):
        here = {model: count for (place, model), count in used.items() if place == index}
        enough = _enough(instance, host, here)
        cap = _cap(enough, here, caps)
        for model in here:
            serving = host.models[model]
            episodes = min(enough[model], cap)
            restricted = restricted or episodes < enough[model]
            seats.append(
                Seat(
                    host=index,
                    model=model,
                    memory=serving.memory_bytes // unit,
                    load=0 if host.cloud else serving.load_ms // tick_ms,
                    unload=0 if host.cloud else serving.unload_ms // tick_ms,
                    slots=serving.slots,
                    episodes=episodes,
                    initial=model in host.resident,
                    pinned=serving.pinned,
                )
            )
    return seats, restricted


def _cap(enough: dict[str, int], used: dict[str, int], caps: tuple[int | None, int]) -> int:
    asked, least = caps
    if asked is not None:
        return max(asked, least, 1)
    pairs = sum(count * used[model] for model, count in enough.items())
    return max(enough.values(), default=0) if pairs <= EXACT_PAIRS_MAX else max(CAPPED_EPISODES, least + 1)


def _enough(instance: Instance, host: PlanHost, used: dict[str, int]) -> dict[str, int]:
    """Stays of each model on the host that are always enough; a cloud needs none."""
    if host.cloud:
        return dict.fromkeys(used, 0)
    own = [
        max((choice.memory_bytes for choice in task.choices if can_host(choice, host)), default=0)
        for task in instance.tasks
    ]
    together = sum(host.models[model].memory_bytes for model in used) + sum(own)
    fits = host.memory_bytes is None or together <= host.memory_bytes
    if fits and (host.max_resident is None or len(used) <= host.max_resident):
        return dict.fromkeys(used, 1)
    initial = {model: int(model in host.resident) for model in used}
    enough = {model: 1 if host.models[model].pinned else used[model] + initial[model] for model in used}
    loads = {model: enough[model] - initial[model] for model in used}
    takers = sum(memory > 0 for memory in own)
    everything = sum(loads.values()) + takers
    return {model: max(1, min(enough[model], 1 + everything - loads[model])) for model in used}


def exclusive_seats(seats: Sequence[Seat], host: PlanHost, capacity: int | None, places: Sequence[int]) -> list[int]:
    """Of the seats `places`, all on one host, some of which no two can be resident together; the largest first."""
    if host.max_resident == 1:
        return list(places)
    clique: list[int] = []
    for seat in sorted(places, key=lambda one: (-seats[one].memory, one)):
        if capacity is not None and all(seats[seat].memory + seats[other].memory > capacity for other in clique):
            clique.append(seat)
    return clique


def _pieces(
    instance: Instance, seats: list[Seat], jobs: list[Job], tick_ms: int, unit: int
) -> tuple[list[Piece], list[Kind], bool]:
    """What heads and tails need to know, and whether its kinds exclude each other."""
    alone = len(instance.hosts) == 1 and not instance.hosts[0].cloud
    first = instance.hosts[0]
    clique = exclusive_seats(seats, first, _capacity(first, unit), range(len(seats))) if alone else []
    exclusive = len(clique) > 1
    chosen = clique if exclusive else range(len(seats))
    names = sorted({seats[index].model for index in chosen})
    kinds = []
    for name in names:
        places = [seats[index] for index in chosen if seats[index].model == name]
        load = min(0 if seat.initial else seat.load for seat in places)
        kinds.append(
            Kind(load=load, unload=min(seat.unload for seat in places), slots=sum(seat.slots for seat in places))
        )
    pieces = []
    for index, job in enumerate(jobs):
        certain = set(names)
        for option in job.options:
            certain &= {seats[seat].model for seat in option.seats}
        loads = (sum(0 if seats[s].initial else seats[s].load for s in option.seats) for option in job.options)
        fixed = bool(certain) and bool(job.options) and not job.droppable
        pieces.append(
            Piece(
                model=names.index(min(certain)) if fixed else -1,
                ticks=0 if job.droppable else min((option.ticks for option in job.options), default=0),
                floor=max(instance.tasks[index].release_ms // tick_ms, min(loads, default=0)),
                needs=() if job.droppable else tuple(need for need in job.needs if not jobs[need].droppable),
            )
        )
    return pieces, kinds, exclusive


def _horizon(instance: Instance, options: list[tuple[Option, ...]], seats: list[Seat], tick_ms: int) -> int:
    """No plan without needless waiting is longer: each task alone, with its own loads and unloads."""
    release = max((task.release_ms for task in instance.tasks), default=0) // tick_ms
    work = sum(
        max((o.ticks + sum(seats[s].load + seats[s].unload for s in o.seats) for o in ways), default=0)
        for ways in options
    )
    return release + work + sum(seat.unload for seat in seats if seat.initial)


def _twins(instance: Instance) -> tuple[tuple[int, ...], ...]:
    dependents: dict[str, list[str]] = {}
    for task in instance.tasks:
        for need in set(task.needs):
            dependents.setdefault(need, []).append(task.id)
    groups: dict[object, list[int]] = {}
    for index, task in enumerate(instance.tasks):
        if not task.optional:
            after = tuple(sorted(dependents.get(task.id, ())))
            key = (msgspec.json.encode(task.choices), tuple(sorted(set(task.needs))), after, task.release_ms)
            groups.setdefault(key, []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
