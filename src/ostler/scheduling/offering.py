"""Places that became free, offered to the lines of classes that wait for them.

A line's first class stays held until its head is the next to be served. Then it is woken if one of the places is still
there and could be its own: for who waits for a worker, an endpoint with a free slot and a free worker that suits and
reaches it. What is of no use to the first of a line is of none to the others.

Where hosts are managed every class of the lines is offered the places, and takes the offer up: what a class wishes for
there is stale after each call. While live calls wait every class is offered them as well, as turns are counted for each
(`turns`).
"""

from collections.abc import Collection, Mapping

from ostler.domain.tasks import TaskFacts, TaskKind
from ostler.scheduling.books import Books
from ostler.scheduling.lines import ClassKey, Line
from ostler.scheduling.queue import WORKERS, slot_of


class Offers:
    """The offers of one round. O(lines that wait for the places) to make."""

    def __init__(self, books: Books) -> None:
        self._books = books
        left, came = books.queue.take_free()
        self.places: Mapping[str, Collection[str]] = left | came
        """Names with a free place -> whose it is."""
        self._each = bool(books.hosts or books.calls.waiting)
        self._in_vain: set[tuple[object, ...]] = set()
        """What was looked for and not there: places and workers only become fewer within a round."""
        self._open: list[str] | None = None
        """Endpoints that had a free slot when this was first asked for."""
        self.keys: dict[ClassKey, Line] = {}
        """Classes that are held and offered a place, with their lines."""
        lines: dict[int, Line] = {}
        for name in self.places:
            for line in books.queue.lines.waiting_for(name):
                line.again = line.again or (name in came and bool(line.tried))
                lines[id(line)] = line
        for line in lines.values():
            if self._each:
                line.rest()
                self.keys.update(dict.fromkeys(line.members, line))
            else:
                self.next_of(line)

    def next_of(self, line: Line) -> ClassKey | None:
        """Offer the places to the next class of a line; `None` when each of them was offered them."""
        found = None if self._each else line.next()
        if found is None:
            return None
        self.keys[found[1]] = line
        return found[1]

    def break_off(self) -> None:
        """The round ends before its time: who was not looked at is offered the places in the next one."""
        for key, line in self.keys.items():
            line.tried.discard(key)

    def taken_up(self, key: ClassKey) -> bool:
        """Whether a class is to be looked at now; one that is woken counts as opened from now on."""
        line = self.keys.get(key)
        if line is None:
            return True
        queue = self._books.queue
        if queue.classes[key].hold is not None:
            if not self._is_of_use(key, line):
                return False
            queue.wake(key)
        del self.keys[key]
        return True

    def _is_of_use(self, key: ClassKey, line: Line) -> bool:
        books = self._books
        if books.hosts:
            return True
        head = books.queue.head(key)
        task = books.tasks.get(head[2]) if head is not None else None
        if task is None:
            return any(self._books.has_slot(name) for name in self.places if name in line.all_names)
        if WORKERS in self.places and WORKERS in line.all_names:
            return True  # what it is told why it waits is of the workers there are
        if slot_of(task.facts.kind) in line.all_names:
            return self.help(task.facts, line.places)
        return any(self._books.has_slot(name) for name in self.places if name in line.all_names)

    def help(self, facts: TaskFacts, places: frozenset[str]) -> bool:
        """Whether somebody is free for it now who reaches a free slot of one of these places; without any, whether
        somebody is. O(endpoints) once in a round for all that want the same.
        """
        wanted = (facts.kind, facts.requires, facts.worker, facts.repo, places)
        if wanted in self._in_vain:
            return False
        found = (
            self._is_anybody_free(facts) if not places or facts.kind is TaskKind.AGENT else self._pair(facts, places)
        )
        if not found:
            self._in_vain.add(wanted)
        return found

    def _pair(self, facts: TaskFacts, places: frozenset[str]) -> bool:
        """Looked for from the side that is the shorter one: free workers, or free slots."""
        books = self._books
        few = books.workers.few_free(facts)
        if few is None:
            return any(name in places and self._is_reached(name, facts) for name in self._with_slot())
        if not few:
            return False
        reached = {name for session_id in few for name in books.reached_from(session_id)}
        if any(name in places and books.has_slot(name) for name in reached):
            return True
        return any(books.has_slot(name) for name in places - books.endpoints.tied_names)

    def _with_slot(self) -> list[str]:
        if self._open is None:
            self._open = [name for name in self._books.endpoints.views if self._books.has_slot(name)]
        return [name for name in self._open if self._books.has_slot(name)]

    def _is_reached(self, name: str, facts: TaskFacts) -> bool:
        spec = self._books.endpoints.tied.get(name)
        return self._is_anybody_free(facts) if spec is None else self._books.workers.any_at(spec, facts)

    def _is_anybody_free(self, facts: TaskFacts) -> bool:
        wanted = (facts.kind, facts.requires, facts.worker, facts.repo)
        if wanted in self._in_vain:
            return False
        if self._books.workers.any_suits(facts):
            return True
        self._in_vain.add(wanted)
        return False
