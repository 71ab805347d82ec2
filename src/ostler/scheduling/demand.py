"""What waits, in the terms of the residency rule: wants by (model, hosts), hosts as they are, who has lost patience.

Urgency is how long the head of a class has waited, its priority, and the longest chain of work that hangs on it.

A waiting class wants the model of its best place on every host that could serve it. Another model of its tier is wanted
beside it only on hosts that the first one cannot use, and only if the queue outlasts that load.

Patience counts while a model that work waits for is usable on none of its hosts: from when its oldest head was queued,
or from when the model had last left for another one, whichever is later. So two long queues take turns of one patience
each, instead of changing places with each task. Work that a plan has start later is not kept waiting before then.

A patience that is short beside what a change costs would spend the time on changes: it is stretched to
`turn_per_change` times that cost. What calls cost is learned: how many times as long as it should a model's call takes.

Cost: O(classes that wait for managed hosts + models held), independent of how many tasks wait in a class.
"""

from typing import NamedTuple

from ostler.domain.decision import Wish
from ostler.domain.fleet import HeldPhase, ModelAt
from ostler.domain.states import LEASED_STATES, TaskState, WaitCode
from ostler.domain.tasks import Priority, Task
from ostler.residency import state as rule
from ostler.scheduling.books import Books
from ostler.scheduling.followed import patient_from_ms
from ostler.scheduling.hosts import Held, HostBook
from ostler.scheduling.queue import TaskClass

URGENT_PATIENCE_SHARE = 10
"""Urgent work waits a tenth of the patience."""
PRIORITY_MS = {Priority.URGENT: 600_000, Priority.HIGH: 120_000, Priority.NORMAL: 0, Priority.LOW: -120_000}
"""What a priority is worth, in milliseconds of waiting."""
FAR_MS = 3_600_000
UNKNOWN_RUN_MS = 10_000
"""How long a running task of unknown length is taken to go on."""
PHASES = {
    HeldPhase.LOADING: rule.LOADING,
    HeldPhase.READY: rule.READY,
    HeldPhase.LEAVING: rule.DRAINING,
    HeldPhase.UNLOADING: rule.UNLOADING,
}

Group = tuple[str, frozenset[str]]
"""(model, hosts it could be used on)."""


class Demand(NamedTuple):
    """The rule's input, and the way back from its words to ours."""

    state: rule.State
    held: dict[tuple[str, str], Held]
    """(host, the rule's name of a resident) -> the model held there."""
    places: dict[tuple[str, str], str]
    """(host, model) -> endpoint to load it on. What is not here, nobody wants there."""
    unserved_ms: dict[Group, int]
    """See `Hosts.unserved_ms`, as of now."""
    patience_ms: int | None
    """When the next waiter loses its patience; `None` = nobody does."""


class Waiter(NamedTuple):
    """The first in line of a class: a task, or a live call, on which nothing else hangs."""

    queued_ms: int
    patient_from_ms: int
    priority: Priority
    chain_ms: int = 0


def waiter(books: Books, name: str) -> Waiter:
    """What waits under a name in the queue."""
    live = books.calls.waiting.get(name)
    if live is not None:
        return Waiter(live.call.offered_ms, live.call.offered_ms, live.call.priority)
    task = books.tasks[name]
    queued_ms = task.queued_ms if task.queued_ms is not None else task.created_ms
    patient_ms = patient_from_ms(books.following, task, queued_ms)
    return Waiter(queued_ms, patient_ms, task.priority, books.paths.chain_ms(task.id))


class _Wanted:
    """Wants while they are put together."""

    __slots__ = ("oldest_ms", "soon", "urgency", "urgent", "waiting", "work_ms")

    def __init__(self) -> None:
        self.waiting = self.work_ms = 0
        self.urgency: int | None = None
        self.oldest_ms: int | None = None
        self.urgent = False
        self.soon: list[rule.Soon] = []


class _Gathering:
    """One pass over what waits."""

    def __init__(self, books: Books, now_ms: int) -> None:
        self.books = books
        self.now_ms = now_ms
        self.groups: dict[Group, _Wanted] = {}
        self.places: dict[tuple[str, str], str] = {}

    def wanted(self, wishes: tuple[Wish, ...], model: str) -> tuple[_Wanted, frozenset[str]]:
        """The group of a model, with the places of these wishes known."""
        found = [wish for wish in wishes if wish.model == model]
        names = frozenset(wish.host for wish in found)
        for wish in found:
            place = (wish.host, model)
            self.places[place] = min(wish.endpoint, self.places.get(place, wish.endpoint))
        return self.groups.setdefault((model, names), _Wanted()), names

    def waiting(self, task_class: TaskClass) -> None:
        """A class that is held for managed hosts."""
        books = self.books
        head = books.queue.head(task_class.key)
        wishes = self._managed(task_class.hold.wishes if task_class.hold is not None else ())
        if head is None or not wishes:
            return
        first_in_line = waiter(books, head[2])
        used: frozenset[str] = frozenset()
        for model in dict.fromkeys(wish.model for wish in wishes):
            first = next(wish for wish in wishes if wish.model == model)
            work_ms = task_class.size * max(1, books.hosts.stretched_ms(model, first.call_ms))
            names = frozenset(wish.host for wish in wishes if wish.model == model)
            if used and (names & used or work_ms <= first.swap_ms):
                continue
            used |= names
            group, _ = self.wanted(wishes, model)
            group.waiting += task_class.size
            group.work_ms += work_ms
            urgency = (
                self.now_ms - first_in_line.queued_ms + PRIORITY_MS[first_in_line.priority] + first_in_line.chain_ms
            )
            group.urgency = urgency if group.urgency is None else max(group.urgency, urgency)
            since_ms = first_in_line.patient_from_ms
            group.oldest_ms = since_ms if group.oldest_ms is None else min(group.oldest_ms, since_ms)
            group.urgent = group.urgent or first_in_line.priority is Priority.URGENT

    def coming(self, task: Task, wishes: tuple[Wish, ...], at_ms: int) -> None:
        """A task whose needs are all running."""
        wishes = self._managed(wishes)
        if not wishes:
            return
        group, _ = self.wanted(wishes, wishes[0].model)
        urgency = PRIORITY_MS[task.priority] + self.books.paths.chain_ms(task.id)
        group.soon.append(rule.Soon(at_ms, urgency, max(1, wishes[0].call_ms)))

    def preload(self, book: HostBook, model: str, endpoint: str) -> None:
        """A model that the profile wants loaded from the start."""
        self.places.setdefault((book.name, model), endpoint)
        group = self.groups.setdefault((model, frozenset({book.name})), _Wanted())
        group.soon.append(rule.Soon(self.now_ms, PRIORITY_MS[Priority.LOW], 1))

    def _managed(self, wishes: tuple[Wish, ...]) -> tuple[Wish, ...]:
        return tuple(wish for wish in wishes if wish.host in self.books.hosts.books)


def gather(books: Books, now_ms: int) -> Demand:
    """The rule's input at this instant; changes nothing."""
    found = _Gathering(books, now_ms)
    for key in books.queue.wishing:
        found.waiting(books.queue.classes[key])
    for task_id, wishes in books.hosts.coming.items():
        task = books.tasks.get(task_id)
        at_ms = None if task is None else starts_ms(books, task, now_ms)
        if task is not None and at_ms is not None:
            found.coming(task, wishes or (), at_ms)
    for book in books.hosts.books.values():
        for model in book.preload:
            endpoint = next((name for name in book.endpoints if books.endpoints.views[name].serves(model)), None)
            if endpoint is not None:
                found.preload(book, model, endpoint)
    wants, unserved_ms, patience_ms = _wants(books, found, now_ms)
    held: dict[tuple[str, str], Held] = {}
    states = [_host(books, book, found, held, now_ms) for _, book in sorted(books.hosts.books.items())]
    excluded = [
        (book.name, model)
        for book in books.hosts.books.values()
        for model, (until_ms, _) in book.failed.items()
        if until_ms > now_ms
    ]
    return Demand(rule.State(states, wants, excluded=excluded), held, found.places, unserved_ms, patience_ms)


def starts_ms(books: Books, task: Task, now_ms: int) -> int | None:
    """When a task that waits for others will be ready, if all of them run; `None` = not foreseeable, or not waiting."""
    waits = task.state is TaskState.QUEUED and task.wait is not None and task.wait.code is WaitCode.DEPS
    missing = books.dependencies.missing(task.id)
    if not waits or task.paused or not missing:
        return None
    latest_ms = now_ms
    for need in missing:
        needed = books.tasks.get(need)
        if needed is None or needed.state not in LEASED_STATES:
            return None
        latest_ms = max(latest_ms, books.hosts.due_ms.get(need, now_ms + UNKNOWN_RUN_MS))
    return latest_ms


def _wants(books: Books, found: _Gathering, now_ms: int) -> tuple[list[rule.Want], dict[Group, int], int | None]:
    hosts, policy = books.hosts, books.policy.residency
    wants: list[rule.Want] = []
    unserved: dict[Group, int] = {}
    next_ms: int | None = None
    for (model, names), group in sorted(found.groups.items(), key=lambda item: (item[0][0], sorted(item[0][1]))):
        overdue = False
        since_ms = group.oldest_ms if group.oldest_ms is not None else now_ms
        if group.waiting and not _is_served(books, model, names):
            since_ms = max(hosts.unserved_ms.get((model, names), since_ms), hosts.left_ms.get(model, since_ms))
            unserved[model, names] = since_ms
            patience_ms = policy.patience_ms // URGENT_PATIENCE_SHARE
            if not group.urgent:
                change_ms = _change_ms(books, found, model, names)
                patience_ms = max(policy.patience_ms, int(policy.turn_per_change * change_ms))
            overdue = now_ms - since_ms >= patience_ms
            if not overdue:
                next_ms = min(next_ms or since_ms + patience_ms, since_ms + patience_ms)
        # Those that a load under way will serve want nothing more.
        waiting = max(0, group.waiting - _slots_to_come(books, model, names))
        if group.waiting and not waiting and not group.soon:
            continue
        want = rule.Want(
            (model,),
            waiting=waiting,
            work_ms=group.work_ms * waiting // max(1, group.waiting),
            urgency=group.urgency or 0,
            overdue=overdue,
            oldest_ms=since_ms,
            soon=group.soon,
        )
        want.hosts = names
        wants.append(want)
    return wants, unserved, next_ms


def _change_ms(books: Books, found: _Gathering, model: str, names: frozenset[str]) -> int:
    """What it costs to change to a model: the longest kind of call that has to end, the slowest unload, its load."""
    call_ms = max(
        (
            other.work_ms // other.waiting
            for (_, hosts), other in found.groups.items()
            if other.waiting and hosts & names
        ),
        default=0,
    )
    load_ms = unload_ms = 0
    for name in names:
        book = books.hosts.books[name]
        load_ms = max(load_ms, footprint(books, book, ModelAt(book.endpoints[0], model)).load_ms)
        unload_ms = max([unload_ms, *(footprint(books, book, at).unload_ms for at in book.held)])
    return call_ms + unload_ms + load_ms


def _is_served(books: Books, model: str, names: frozenset[str]) -> bool:
    """Whether the model is usable on one of the hosts, or on its way there."""
    for name in names:
        book = books.hosts.books[name]
        if book.swap is not None and book.swap.at.model == model:
            return True
        if any(held.at.model == model and held.phase is HeldPhase.READY for held in book.held.values()):
            return True
    return False


def _slots_to_come(books: Books, model: str, names: frozenset[str]) -> int:
    """Slots of the model on hosts that are changing to it."""
    swaps = (books.hosts.books[name].swap for name in sorted(names))
    coming = (swap.at for swap in swaps if swap is not None and swap.kind == "load" and swap.at.model == model)
    return sum(slots_of(books, at) for at in coming)


def slots_of(books: Books, at: ModelAt) -> int:
    """Calls that a model on an endpoint works on at once."""
    spec = books.endpoints.views[at.endpoint].spec
    return max(1, min(spec.slots, spec.slots_per_model.get(at.model, spec.slots)))


def footprint(books: Books, book: HostBook, at: ModelAt, memory_bytes: int | None = None) -> rule.Footprint:
    """What a model takes on a host, by measured figures where there are any."""
    hosts, catalog = books.hosts, books.policy.catalog
    speeds = hosts.speeds_of(book.name, at.model, catalog)
    return rule.Footprint(
        hosts.memory_bytes(at, catalog, book.capacity_bytes) if memory_bytes is None else memory_bytes,
        int(speeds.load_s * 1000),
        int(speeds.unload_s * 1000),
        slots_of(books, at),
        book.is_pinned(at.model),
    )


def _host(
    books: Books, book: HostBook, found: _Gathering, names: dict[tuple[str, str], Held], now_ms: int
) -> rule.HostState:
    hosts, catalog = books.hosts, books.policy.catalog
    models = {
        model: footprint(books, book, ModelAt(endpoint, model))
        for (host, model), endpoint in found.places.items()
        if host == book.name
    }
    residents = []
    for held in sorted(book.held.values(), key=lambda held: held.at):
        key = book.key_of(held, hosts.context_of(held.at, catalog))
        names[book.name, key] = held
        size = footprint(books, book, held.at, held.memory_bytes)
        models[key] = size
        resident = rule.Resident(
            key,
            size,
            phase=PHASES[held.phase],
            since_ms=held.ready_ms,
            ready_ms=held.ready_ms,
            busy=hosts.busy(held.at),
            drained_ms=max(now_ms + 1, hosts.drained_ms(held.at, now_ms)) if hosts.busy(held.at) else now_ms,
            hold_until_ms=held.hold_until_ms,
        )
        if held.credit_ms is not None:
            resident.credit_ms = held.credit_ms
        residents.append(resident)
    host = rule.HostState(
        book.name, book.capacity_bytes, models, residents=residents, max_resident=book.spec.max_resident_models
    )
    if not any(books.endpoints.is_usable(name) for name in book.endpoints):
        host.closed_until_ms = now_ms + FAR_MS  # its return is an event
    if book.swap is not None:
        coming = (book.swap.at.model,) if book.swap.kind == "load" else ()
        host.swap = rule.Swap(coming, tuple(at.model for at in book.swap.evict), book.swap.ready_ms)
    return host
