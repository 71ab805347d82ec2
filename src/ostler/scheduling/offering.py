"""Places that became free, offered to the classes that wait for them.

An offered class stays held until its head is the next to be served. Then it is woken if one of the places is still
there and it could be its own: an endpoint with a free slot; a worker whose slot became free, and that suits the head.
While no worker that suits is free, or none that is free reaches a place of the head, a place at an endpoint is of no
use to who waits for a worker too.

Where hosts are managed every offer is taken up: what a class wishes for there is stale after each call.
"""

from ostler.domain.tasks import Task, TaskFacts
from ostler.scheduling.books import Books
from ostler.scheduling.queue import ClassKey, slot_of


class Offers:
    """The offers of one round. O(classes that wait for the places) to make."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._free = books.queue.take_free()
        self.keys: set[ClassKey] = set()
        """Classes that are held and were offered a place."""
        self._suited: dict[tuple[object, ...], bool] = {}
        self._unreached: dict[tuple[object, ...], frozenset[str]] = {}
        for name in self._free:
            self.keys |= books.queue.blocked_on(name)

    def taken_up(self, key: ClassKey) -> bool:
        """Whether a class is to be looked at now; one that is woken counts as opened from now on."""
        if key not in self.keys:
            return True
        queue = self._books.queue
        if queue.classes[key].hold is not None:
            if not self._is_of_use(key):
                return False
            queue.wake(key)
        self.keys.discard(key)
        return True

    def _is_of_use(self, key: ClassKey) -> bool:
        books = self._books
        if books.hosts:
            return True
        head, names = books.queue.head(key), books.queue.classes[key].blocked_on
        task = books.tasks.get(head[2]) if head is not None else None
        if task is not None and slot_of(task.facts.kind) in names:
            return self._helps_by_worker(task, names) and self._is_a_place_at_hand(key, task.facts)
        return any(name in self._free and self._has_slot(name) for name in names)

    def _helps_by_worker(self, task: Task, names: tuple[str, ...]) -> bool:
        """Of one that waits for a worker: whether one of those with a new place suits, or its endpoint has one while
        somebody who suits is free: then its route may have moved to where they are.
        """
        workers, kind = self._books.workers, task.facts.kind
        if any(workers.suits(session_id, task.facts) for session_id in self._free.get(slot_of(kind), ())):
            return True
        return any(name in self._free and self._has_slot(name) for name in names) and self._is_anybody_free(task.facts)

    def _is_anybody_free(self, facts: TaskFacts) -> bool:
        """Asked once in a round for all that need the same of a worker: the answer only ever becomes no, which costs a
        decision too many.
        """
        wanted = _wanted(facts)
        if wanted not in self._suited:
            self._suited[wanted] = self._books.workers.any_suits(facts)
        return self._suited[wanted]

    def _is_a_place_at_hand(self, key: ClassKey, facts: TaskFacts) -> bool:
        """Whether any of its places has a free slot and is reached by somebody who is free; as it was when this was
        first asked in the round.
        """
        hold = self._books.queue.classes[key].hold
        if hold is None or not hold.places:
            return True
        wanted = _wanted(facts)
        if wanted not in self._unreached:
            tied = self._books.endpoints.tied.values()
            self._unreached[wanted] = self._books.workers.unreached(facts, tied)
        return any(self._has_slot(name) and name not in self._unreached[wanted] for name in hold.places)

    def _has_slot(self, name: str) -> bool:
        endpoints = self._books.endpoints
        return endpoints.is_usable(name) and self._books.in_flight.get(name, 0) < endpoints.views[name].slots


def _wanted(facts: TaskFacts) -> tuple[object, ...]:
    """What a task needs of its worker: equal for tasks that suit the same ones."""
    return (facts.kind, facts.requires, facts.worker, facts.repo)
