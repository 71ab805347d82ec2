"""From an order of groups to a plan: each task in turn goes where it ends first, and models are swapped for it.

Within a group the tasks that are ready compete by their place in the list (see `turns`). Where one goes is decided by
the worth of its end plus its price, so a cloud is taken when the time it saves is worth more than it costs; ties go to
fewer loads, then to the order in which hosts and choices are given. No task is ever moved again: this is what a person
who follows the order would get.

Invariants: a plan is made only of a whole order that breaks no need; it starts nothing before what it needs has ended,
and memory and slots hold by construction (`floor`). Cost: tasks x (choices x hosts that have the models), and a sort.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from ostler.domain.errors import InvalidInputError
from ostler.planning.floor import Floor, Offer
from ostler.planning.instance import Choice, Instance, PlanTask, can_host, task_ms
from ostler.planning.phases import BrokenOrderError, Group, Order, broken_needs, refuse_unless_whole
from ostler.planning.plan import Placement, Plan
from ostler.planning.turns import Turns

MINUTE_MS = 60_000


def laid_out(instance: Instance, order: Order, *, strategy: str, detail: str = "") -> Plan:
    """The plan of an order. Raises `BrokenOrderError` with every pair that the order breaks.

    Raises `InvalidInputError` for an order that is not whole, and for a task that fits no host beside pinned models.
    """
    refuse_unless_whole(order, instance)
    if broken := broken_needs(order, instance):
        raise BrokenOrderError(broken)
    layout = _Layout(instance)
    for group in order:
        layout.add(group)
    episodes = chain.from_iterable(floor.episodes() for floor in layout.floors)
    return Plan(
        strategy=strategy,
        episodes=tuple(sorted(episodes, key=lambda episode: (episode.load_start_ms, episode.host, episode.model))),
        placements=tuple(sorted(layout.placements, key=lambda placement: (placement.start_ms, placement.task))),
        detail=detail,
    )


class _Seat(NamedTuple):
    """A choice of a task on one host: how long it takes there, and what it costs."""

    choice_index: int
    choice: Choice
    host_index: int
    duration_ms: int


class _Layout:
    """A plan in the making."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.floors = [Floor(host) for host in instance.hosts]
        self.tasks: Mapping[str, PlanTask] = {task.id: task for task in instance.tasks}
        self.placements: list[Placement] = []
        self.ends_ms: dict[str, int] = {}
        self._last_end_ms = 0
        self._hosts_of: dict[tuple[object, ...], tuple[int, ...]] = {}

    def add(self, group: Group) -> None:
        """Lay out a group behind all that were added before."""
        swap_from_ms = self._last_end_ms if group.barrier else 0
        if group.sequential:
            self._one_by_one(group, swap_from_ms)
        else:
            self._side_by_side(group, swap_from_ms)

    def _ready_ms(self, task: PlanTask) -> int:
        """When it is released and all it needs has ended."""
        return max((task.release_ms, *(self.ends_ms[need] for need in task.needs)))

    def _one_by_one(self, group: Group, swap_from_ms: int) -> None:
        before_ms = swap_from_ms
        for name in group.tasks:
            task = self.tasks[name]
            self._place(task, max(before_ms, self._ready_ms(task)), swap_from_ms, group.models)
            before_ms = self.ends_ms[name]

    def _side_by_side(self, group: Group, swap_from_ms: int) -> None:
        def earliest_ms(task: PlanTask) -> int:
            ready_ms = max(swap_from_ms, self._ready_ms(task))
            seats = self._seats(task, group.models)
            starts = (self.floors[row.host_index].earliest_ms(row.choice, ready_ms, swap_from_ms) for row in seats)
            return min((start_ms for start_ms, _ in starts), default=ready_ms)

        turns = Turns([self.tasks[name] for name in group.tasks], swap_from_ms, self._ready_ms)
        while (turn := turns.next(earliest_ms)) is not None:
            place, task = turn
            self._place(task, max(swap_from_ms, self._ready_ms(task)), swap_from_ms, group.models)
            turns.done(place, self.placements[-1].start_ms)

    def _place(self, task: PlanTask, ready_ms: int, swap_from_ms: int, models: tuple[str, ...]) -> None:
        best: tuple[tuple[int, ...], _Seat, Offer] | None = None
        for least, loads, seat in sorted(self._valued(task, ready_ms, swap_from_ms, models), key=itemgetter(0, 1)):
            if best is not None and (least, loads) > (best[0][0], best[0][1] > 0):
                break
            offer = self.floors[seat.host_index].offer(seat.choice, seat.duration_ms, ready_ms, swap_from_ms)
            if offer is None:
                continue
            worth = self._worth(offer.end_ms, seat.choice)
            key = (worth, len(offer.load), offer.end_ms, seat.host_index, seat.choice_index)
            if best is None or key < best[0]:
                best = (key, seat, offer)
        if best is None:
            remedy = "unpin a model, or add a host with room for it"
            raise InvalidInputError("no host has room for it beside its pinned models", where=task.id, remedy=remedy)
        _, seat, offer = best
        self.floors[seat.host_index].take(seat.choice, offer)
        self.ends_ms[task.id] = offer.end_ms
        self._last_end_ms = max(self._last_end_ms, offer.end_ms)
        host = self.instance.hosts[seat.host_index].name
        self.placements.append(
            Placement(task=task.id, host=host, start_ms=offer.start_ms, end_ms=offer.end_ms, choice=seat.choice_index)
        )

    def _worth(self, end_ms: int, choice: Choice) -> int:
        """Time and money together, in micro-dollars times milliseconds per minute."""
        return end_ms * self.instance.minute_price_micro_usd + choice.cost_micro_usd * MINUTE_MS

    def _valued(
        self, task: PlanTask, ready_ms: int, swap_from_ms: int, models: tuple[str, ...]
    ) -> Iterator[tuple[int, bool, _Seat]]:
        """Each seat with the least that it can be worth, and whether something must be loaded for it."""
        for seat in self._seats(task, models):
            start_ms, loads = self.floors[seat.host_index].earliest_ms(seat.choice, ready_ms, swap_from_ms)
            yield self._worth(start_ms + seat.duration_ms, seat.choice), loads, seat

    def _seats(self, task: PlanTask, models: tuple[str, ...]) -> Iterator[_Seat]:
        """Where it could run. Of the local choices only those of the group's models, if it has such a choice."""
        hosts = self.instance.hosts
        bound = bool(models) and any(choice.models == models and self._hosts(choice) for choice in task.choices)
        for index, choice in enumerate(task.choices):
            for host_index in self._hosts(choice):
                host = hosts[host_index]
                if host.cloud or not bound or choice.models == models:
                    yield _Seat(index, choice, host_index, task_ms(choice, host))

    def _hosts(self, choice: Choice) -> tuple[int, ...]:
        key = (choice.models, choice.hosts, choice.memory_bytes)
        found = self._hosts_of.get(key)
        if found is None:
            found = tuple(index for index, host in enumerate(self.instance.hosts) if can_host(choice, host))
            self._hosts_of[key] = found
        return found
