"""Classes that wait alike: of one kin, for the same names, with the same places. What is true of one is true of all.

Tasks of one class get the same verdict at any instant. Classes of one *kin* differ only in whose limits count them, so
as long as no limit is asked they get the same one as well. Those of a kin that wait for the same things stand in a
*line*, first the one whose head is first. A place that becomes free is offered to the first of each line; that it is of
no use to that one says that it is of none to the others. So an event costs what lines there are for its place, however
many classes (one for each batch, where batches have a limit) stand in them.

Invariants: a class stands in one line or none; a name is known here while some line waits for it.
Cost: joining and leaving O(log classes) when the line is there, O(names) for its first and last class.
"""

import heapq
from collections.abc import Collection, Hashable, Iterator

import msgspec

ClassKey = Hashable
Head = tuple[int, int, str]
"""(priority, arrival, task id): the order of service."""


class Apart(msgspec.Struct, frozen=True):
    """The key of a class that differs from others of its kin only in whose limits count it."""

    kin: Hashable
    charged: Hashable


def kin_of(key: ClassKey) -> Hashable:
    """What classes that differ only in whose limits count them have in common."""
    return key.kin if isinstance(key, Apart) else key


class Line:
    """Classes that wait alike."""

    __slots__ = ("_heap", "again", "all_names", "kin", "members", "names", "places", "tried")

    def __init__(self, kin: Hashable, names: tuple[str, ...], places: tuple[str, ...]) -> None:
        self.kin = kin
        self.names = names
        self.all_names = frozenset(names)
        self.places = frozenset(places)
        """Where its heads could run: what matters is a slot there, and a worker that reaches it."""
        self.members: dict[ClassKey, Head | None] = {}
        """Its classes, with their heads; `None` of one whose tasks are all parked."""
        self.tried: set[ClassKey] = set()
        """Those that were offered what is free now; a round that is made in parts goes on behind them."""
        self.again = False
        """Whether more became free since: when each was offered it, the first is again."""
        self._heap: list[tuple[Head, int, ClassKey]] = []

    def put(self, key: ClassKey, head: Head | None) -> None:
        """Add a class."""
        self.members[key] = head
        if head is not None:
            if len(self._heap) > 2 * len(self.members) + 16:
                self._heap = [entry for entry in self._heap if self.members.get(entry[2]) == entry[0]]
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, (head, id(key), key))

    def next(self) -> tuple[Head, ClassKey] | None:
        """The class that is to be offered what is free now, each once; `None` when none is left."""
        found = self.first(self.tried)
        if found is None and self.again:
            self.rest()
            found = self.first(self.tried)
        if found is None:
            self.rest()
        else:
            self.tried.add(found[1])
        return found

    def rest(self) -> None:
        """Nobody in it can use what is free now, or each was offered it."""
        self.tried.clear()
        self.again = False

    def first(self, besides: Collection[ClassKey]) -> tuple[Head, ClassKey] | None:
        """The class whose head is the first, of those that are not among `besides`."""
        heap, aside = self._heap, []
        found = None
        while heap:
            head, _, key = heap[0]
            if self.members.get(key) != head:
                heapq.heappop(heap)
            elif key in besides:
                aside.append(heapq.heappop(heap))
            else:
                found = head, key
                break
        for entry in aside:
            heapq.heappush(heap, entry)
        return found


class Lines:
    """All lines, by what they wait for."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Hashable, tuple[str, ...], tuple[str, ...]], Line] = {}
        self._of: dict[ClassKey, tuple[Hashable, tuple[str, ...], tuple[str, ...]]] = {}
        self._waiting: dict[str, dict[int, Line]] = {}
        """Name -> the lines that wait for it, by their identity, the oldest first."""

    def of(self, key: ClassKey) -> Line | None:
        """Where a class stands."""
        at = self._of.get(key)
        return None if at is None else self._lines[at]

    def put(
        self, key: ClassKey, kin: Hashable, names: tuple[str, ...], places: tuple[str, ...], head: Head | None
    ) -> None:
        """Have a class stand in the line of its kin for these names and places, and in no other one."""
        at = (kin, names, places)
        if self._of.get(key) != at:
            self.drop(key)
        line = self._lines.get(at)
        if line is None:
            line = self._lines[at] = Line(kin, names, places)
            for name in names:
                self._waiting.setdefault(name, {})[id(line)] = line
        self._of[key] = at
        line.put(key, head)

    def drop(self, key: ClassKey) -> None:
        """Take a class out of its line, if it stands in one."""
        at = self._of.pop(key, None)
        if at is None:
            return
        line = self._lines[at]
        del line.members[key]
        if line.members:
            return
        del self._lines[at]
        for name in line.names:
            waiting = self._waiting[name]
            waiting.pop(id(line), None)
            if not waiting:
                del self._waiting[name]

    def waiting_for(self, name: str) -> Iterator[Line]:
        """The lines that wait for a name."""
        return iter(tuple(self._waiting.get(name, {}).values()))

    def names(self) -> frozenset[str]:
        """All that anybody waits for."""
        return frozenset(self._waiting)
