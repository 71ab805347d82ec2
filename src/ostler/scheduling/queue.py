"""Waiting work, grouped by route class, so that deciding for a head decides for all behind it.

A *class* is a set of queued tasks that get the same verdict at any instant, apart from when each entered the queue. It
keeps one heap, ordered by (priority, arrival). A class is *open* (to be looked at in the next round) or *held* (its
head could not run; `hold` says why, and what it is blocked on). A task that waits for its own fallback instant is
*parked* beside the heap with its own wait.

Two things end a hold. What it is blocked on *changed*: the class is opened. Or a place there became *free*: it is
*offered* to the lines of classes that wait for it (`lines`), which stay held until their turn, for those before them
may take the place (`rounds`). So an attempt that ends costs the decisions of those who can take its place, not one for
each class that waits for it.

Invariants: a task is in at most one class; entries of the heap that are no longer queued are skipped when they surface.
Cost: push and pop O(log n) of the class; opening, O(classes blocked on the name); offering, O(1).
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from ostler.domain.decision import Hold
from ostler.domain.states import Wait
from ostler.domain.tasks import TaskKind
from ostler.scheduling.lines import ClassKey, Head, Line, Lines, kin_of
from ostler.scheduling.tally import Tally, Waiting

WORKERS = "\0workers"
"""Pseudo-resource: classes blocked on it wait for another worker to join, not for an endpoint."""

BUDGET = "\0budget"
"""Pseudo-resource: classes blocked on it wait for room below a limit of the budget."""


def slot_of(kind: TaskKind) -> str:
    """The pseudo-resource that tasks wait for while every worker slot for their kind is taken."""
    return f"\0workers {kind.value}"


class PendingFallback(msgspec.Struct, frozen=True, kw_only=True):
    """A task that may leave its tier at `due_ms`."""

    task_id: str
    original_tier: str
    fallback_tier: str
    original_model: str | None = None
    """Set with `fallback_model`: another of the task's own models will be used."""
    fallback_model: str | None = None
    queued_ms: int
    due_ms: int
    wait: Wait
    head: Head
    """Its place in the order of service, for when it comes back."""


class TaskClass:
    """One class of waiting tasks."""

    __slots__ = ("heap", "hold", "is_shown", "key", "parked", "passed", "size", "waited")

    def __init__(self, key: ClassKey, *, is_shown: bool = True) -> None:
        self.key = key
        self.is_shown = is_shown
        """Whether it is counted among what waits: tasks are, live calls are elsewhere."""
        self.heap: list[Head] = []
        self.size = 0
        """Queued tasks of the class, parked ones included; stale heap entries are not counted."""
        self.hold: Hold | None = None
        self.parked: dict[str, PendingFallback] = {}
        self.waited: tuple[Hold, Line] | None = None
        """Of one that was woken for a place: its hold before, and where it stood. Gone once it is held again, or opened
        because more may have changed than places.
        """
        self.passed = 0
        """Of a class of tasks: live calls that were let run before it while it was looked at (see `turns`)."""


class WaitingQueue:
    """All waiting tasks by class."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, TaskClass] = {}
        self.pending_fallbacks: dict[str, PendingFallback] = {}
        self._unheld: dict[ClassKey, None] = {}
        """Classes without a hold: to be looked at, or with none but parked tasks."""
        self._held, self._parked = Tally(), Tally()
        """What is shown: classes by their hold, for their tasks that are not parked; and parked tasks."""
        self.watcher: Callable[[str], None] = lambda _: None
        """Told of each task that came, or left."""
        self._class_of: dict[str, ClassKey] = {}
        self._heads: dict[str, Head] = {}
        """The place of each waiting task: an entry of a heap that says another one is stale."""
        self._open: set[ClassKey] = set()
        self.lines = Lines()
        """Where classes stand that are held, or have parked tasks."""
        self._free: dict[str, set[str]] = {}
        """Names with a place that became free -> whose it is."""
        self._left: dict[str, set[str]] = {}
        """The same of places that a round which was broken off did not offer to all who wait for them."""
        self.wishing: dict[ClassKey, None] = {}
        """Held classes that could use a place on a managed host (`Hold.wishes`)."""
        self.wishes_changed = False
        """Whether that set, or what they wish, may have changed since somebody put this back."""

    def __len__(self) -> int:
        return len(self._class_of)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._class_of

    def push(self, task_id: str, key: ClassKey, priority: int, seq: int, *, is_shown: bool = True) -> None:
        """Put a task into its class and open the class if the task becomes its head or the class was not held.
        `is_shown`: as of its class.
        """
        task_class = self.classes.get(key)
        if task_class is None:
            task_class = self.classes[key] = TaskClass(key, is_shown=is_shown)
            self._unheld[key] = None
        self._class_of[task_id] = key
        task_class.size += 1
        self._held.change(key, 1)
        head = self._heads[task_id] = (priority, seq, task_id)
        heapq.heappush(task_class.heap, head)
        # Behind the head of a held class nothing can have changed; a new head may have another fallback instant.
        if task_class.hold is None or task_class.heap[0] == head:
            self.open(key)
        self.watcher(task_id)

    def remove(self, task_id: str) -> None:
        """Take a task out, wherever it is; one that is not here is no error."""
        key = self._class_of.pop(task_id, None)
        if key is None:
            return
        del self._heads[task_id]
        self.pending_fallbacks.pop(task_id, None)
        task_class = self.classes[key]
        if task_class.parked.pop(task_id, None) is None:
            self._held.change(key, -1)
        else:
            self._parked.drop(task_id)
        task_class.size -= 1
        if task_class.size == 0:
            self._release(task_class)
            self._open.discard(key)
            del self.classes[key], self._unheld[key]
        elif task_class.hold is not None and task_class.heap and task_class.heap[0][2] == task_id:
            self.open(key)
        self.watcher(task_id)

    def head(self, key: ClassKey) -> Head | None:
        """The next task of a class that is not parked."""
        task_class = self.classes.get(key)
        if task_class is None:
            return None
        heap = task_class.heap
        while heap and not self._is_live(task_class, heap[0]):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _is_live(self, task_class: TaskClass, head: Head) -> bool:
        name = head[2]
        return (
            self._class_of.get(name) == task_class.key and self._heads[name] == head and name not in task_class.parked
        )

    def place(self, task_id: str) -> Head:
        """The place of a waiting task in the order of service. Raises `KeyError`."""
        return self._heads[task_id]

    def park(self, pending: PendingFallback, key: ClassKey) -> None:
        """Set a task aside until its fallback instant. It stays queued."""
        self.pending_fallbacks[pending.task_id] = pending
        task_class = self.classes[key]
        task_class.parked[pending.task_id] = pending
        self._held.change(key, -1)
        if task_class.is_shown:
            self._parked.put(pending.task_id, 1, pending.wait, pending.original_tier)

    def unpark(self, task_id: str) -> PendingFallback | None:
        """Put a parked task back into the order of its class and open the class; `None` if it is not parked."""
        pending = self.pending_fallbacks.get(task_id)
        if pending is None:
            return None
        key = self._class_of[task_id]
        self._unpark(self.classes[key], pending)
        self.open(key)
        return pending

    def _unpark(self, task_class: TaskClass, pending: PendingFallback) -> None:
        del self.pending_fallbacks[pending.task_id]
        del task_class.parked[pending.task_id]
        self._parked.drop(pending.task_id)
        self._held.change(task_class.key, 1)
        heapq.heappush(task_class.heap, pending.head)

    def watch(self, key: ClassKey, names: tuple[str, ...]) -> None:
        """Have a class opened, and its parked tasks unparked, when one of `names` changes."""
        line = self.lines.of(key)
        names = tuple(dict.fromkeys((*line.names, *names))) if line is not None else names
        # What it waits for is its own: the tasks that are parked came one by one.
        self.lines.put(key, (key,), names, (), self.head(key))

    def hold(self, key: ClassKey, hold: Hold, blocked_on: tuple[str, ...]) -> None:
        """Close a class until one of `blocked_on` changes, a timer opens it, or its head changes."""
        task_class = self.classes[key]
        self._release(task_class)
        task_class.hold, task_class.waited = hold, None
        self._unheld.pop(key, None)
        if task_class.is_shown:
            number = task_class.size - len(task_class.parked)
            self._held.put(key, number, hold.wait, hold.decision.effective_tier)
        if hold.wishes:
            self.wishing[key] = None
            self.wishes_changed = True
        self._open.discard(key)
        if task_class.parked:
            self.watch(key, blocked_on)
        else:
            self.lines.put(key, kin_of(key), blocked_on, hold.places, self.head(key))

    def blocked_on(self, name: str) -> frozenset[ClassKey]:
        """The classes that wait for something. O(those)."""
        return frozenset(key for line in self.lines.waiting_for(name) for key in line.members)

    def waits_for(self, key: ClassKey) -> tuple[str, ...]:
        """What a class waits for."""
        line = self.lines.of(key)
        return () if line is None else line.names

    def open(self, key: ClassKey) -> None:
        """Have the next round look at a class."""
        task_class = self.classes.get(key)
        if task_class is not None:
            self._release(task_class)
            task_class.waited = None
            self._open.add(key)

    def open_blocked_on(self, name: str) -> None:
        """Something about an endpoint (or the workers) changed: open every class that waits for it."""
        for line in self.lines.waiting_for(name):
            for key in tuple(line.members):
                task_class = self.classes[key]
                for pending in tuple(task_class.parked.values()):
                    self._unpark(task_class, pending)
                self.open(key)

    def free(self, name: str, whose: str = "") -> None:
        """A place at an endpoint, or of a worker (`whose`), became free: have the next round offer it to the classes
        that wait for it. Those with parked tasks are opened: these wait for more than a place.
        """
        for line in self.lines.waiting_for(name):
            task_class = self.classes[next(iter(line.members))]
            if not task_class.parked:
                self._free.setdefault(name, set()).add(whose)
                continue
            for pending in tuple(task_class.parked.values()):  # it stands alone
                self._unpark(task_class, pending)
            self.open(task_class.key)

    def take_free(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """The places to offer: those that are left of the round before, and those that came since."""
        left, came = self._left, self._free
        self._left, self._free = {}, {}
        return left, came

    def wake(self, key: ClassKey) -> None:
        """The hold of a class ends, as its head is looked at now: a place became free, nothing else has changed."""
        task_class = self.classes[key]
        line = self.lines.of(key)
        waited = None if task_class.hold is None or line is None else (task_class.hold, line)
        self._release(task_class)
        task_class.waited = waited

    def open_all(self) -> None:
        """Open every class: the rules or the fleet changed as a whole."""
        for key, task_class in self.classes.items():
            for pending in tuple(task_class.parked.values()):
                self._unpark(task_class, pending)
            self.open(key)

    @property
    def is_open(self) -> bool:
        """Whether any class is to be looked at, or any place to be offered."""
        return bool(self._open or self._free or self._left)

    def is_quiet(self, key: ClassKey) -> bool:
        """Whether nothing of a class waits, and no class is to be looked at: who comes now is the first in line."""
        return not self.is_open and key not in self.classes

    def take_open(self) -> set[ClassKey]:
        """The classes to look at; they are closed by `hold`, or left idle when they run empty."""
        opened, self._open = self._open, set()
        return opened

    def put_back(self, opened: Iterable[ClassKey], free: Mapping[str, Iterable[str]]) -> None:
        """A round ends before its time: these were to be looked at, and these places to be offered."""
        self._open.update(key for key in opened if key in self.classes)
        self._left = {name: set(whose) for name, whose in free.items()}

    def class_of(self, task_id: str) -> TaskClass | None:
        """The class of a waiting task."""
        key = self._class_of.get(task_id)
        return None if key is None else self.classes[key]

    def ahead_of(self, task_id: str) -> int:
        """How much of its class comes before a waiting task. O(tasks of the class)."""
        task_class, own = self.class_of(task_id), self._heads.get(task_id)
        if task_class is None or own is None:
            return 0
        return sum(head < own and self._is_live(task_class, head) for head in task_class.heap)

    def order(self, key: ClassKey) -> list[str]:
        """The tasks of a class that are not parked, in the order of service. O(n log n) of the class."""
        task_class = self.classes[key]
        return [head[2] for head in sorted(task_class.heap) if self._is_live(task_class, head)]

    def wait_of(self, task_id: str) -> Wait | None:
        """Why a waiting task waits at this moment; `None` when its class has not been looked at yet."""
        pending = self.pending_fallbacks.get(task_id)
        if pending is not None:
            return pending.wait
        task_class = self.class_of(task_id)
        return task_class.hold.wait if task_class is not None and task_class.hold is not None else None

    def groups(self) -> Iterator[Waiting]:
        """What held classes of tasks wait for; the waiters are classes. O(groups)."""
        return self._held.groups()

    def parked_groups(self) -> Iterator[Waiting]:
        """What parked tasks wait for; the waiters are tasks. O(groups)."""
        return self._parked.groups()

    def unheld(self) -> Iterator[TaskClass]:
        """Classes of tasks that nothing is known of yet, or whose tasks are all parked."""
        return (one for key in self._unheld if (one := self.classes[key]).is_shown)

    def _release(self, task_class: TaskClass) -> None:
        task_class.hold = None
        self._held.drop(task_class.key)
        self._unheld[task_class.key] = None
        if task_class.key in self.wishing:
            del self.wishing[task_class.key]
            self.wishes_changed = True
        if not task_class.parked:  # these still wait for what the class watches, whatever else it is opened for
            self.lines.drop(task_class.key)
