"""The waiting queue: order of service, what opens a class, parking; against a naive model of lists and sets."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ostler.domain.catalog import CostClass
from ostler.domain.decision import Decision, Hold, TargetType
from ostler.domain.states import Wait, WaitCode
from ostler.domain.tasks import Classification, Complexity
from ostler.scheduling.queue import WORKERS, PendingFallback, WaitingQueue
from tests.scheduling.rig import Rig, cloud, local

FOUND = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="general", source="heuristic"
)
DECISION = Decision(
    task_id="t",
    decided_ms=0,
    classification=FOUND,
    classification_reason="",
    requested_tier="standard",
    minimum_tier="standard",
    effective_tier="standard",
    target_type=TargetType.LOCAL,
    estimated_cost_tier=CostClass.LOCAL,
)
HOLD = Hold(wait=Wait(code=WaitCode.CAPACITY, since_ms=0), decision=DECISION)
FALLBACK = Wait(code=WaitCode.FALLBACK_WAIT, since_ms=0, next_check_ms=5_000)


def pending(task_id: str, priority: int, seq: int) -> PendingFallback:
    """A task of the standard tier that may use the complex one later."""
    return PendingFallback(
        task_id=task_id,
        original_tier="standard",
        fallback_tier="complex",
        queued_ms=0,
        due_ms=5_000,
        wait=FALLBACK,
        head=(priority, seq, task_id),
    )


def served(queue: WaitingQueue, key: str) -> list[str]:
    """Everything of a class in the order in which it is served."""
    names = []
    while (head := queue.head(key)) is not None:
        names.append(head[2])
        queue.remove(head[2])
    return names


def test_the_order_is_priority_then_arrival() -> None:
    """Whatever the order in which tasks were put in."""
    queue = WaitingQueue()
    for name, priority, seq in (("late", 2, 9), ("low", 3, 1), ("urgent", 0, 8), ("early", 2, 3)):
        queue.push(name, "k", priority, seq)

    assert served(queue, "k") == ["urgent", "early", "late", "low"]
    assert (len(queue), queue.classes, queue.take_open()) == (0, {}, set())


def test_behind_the_head_of_a_held_class_nothing_is_new_but_a_new_head_is() -> None:
    """So a hundred thousand tasks that arrive behind a held head cost no decision."""
    queue = WaitingQueue()
    queue.push("a", "k", 2, 5)
    assert queue.take_open() == {"k"}
    queue.hold("k", HOLD, ("gpu",))
    queue.push("b", "k", 2, 6)
    assert queue.take_open() == set()
    assert queue.wait_of("b") == HOLD.wait
    queue.push("c", "k", 1, 7)

    assert queue.take_open() == {"k"}
    assert queue.wait_of("c") is None, "nobody has looked at it yet"


def test_a_class_is_opened_by_what_it_is_blocked_on_and_by_nothing_else() -> None:
    """Another endpoint's slot is no reason to decide again."""
    queue = WaitingQueue()
    for name, key in (("a", "k"), ("b", "other")):
        queue.push(name, key, 2, 1)
    queue.take_open()
    queue.hold("k", HOLD, ("gpu", WORKERS))
    queue.hold("other", HOLD, ("cloud",))
    queue.open_blocked_on("nobody")
    assert queue.take_open() == set()
    queue.open_blocked_on("gpu")
    assert queue.take_open() == {"k"}
    queue.open_blocked_on(WORKERS)
    assert queue.take_open() == set(), "once opened, it must be held again to wait for anything"


def test_the_removal_of_the_head_opens_a_held_class_and_of_another_does_not() -> None:
    """The next one may have entered the queue at another time."""
    queue = WaitingQueue()
    for seq, name in enumerate("abc"):
        queue.push(name, "k", 2, seq)
    queue.take_open()
    queue.hold("k", HOLD, ())
    queue.remove("b")
    assert queue.take_open() == set()
    queue.remove("a")

    assert queue.take_open() == {"k"}
    assert queue.head("k") == (2, 2, "c")
    queue.remove("nobody")
    assert len(queue) == 1


def test_a_parked_task_is_passed_over_and_comes_back_to_its_place() -> None:
    """It stays queued, with a wait of its own."""
    queue = WaitingQueue()
    for seq, name in enumerate("ab"):
        queue.push(name, "k", 2, seq)
    queue.park(pending("a", 2, 0), "k")
    assert queue.head("k") == (2, 1, "b")
    assert queue.wait_of("a") == FALLBACK
    assert len(queue) == queue.classes["k"].size == 2
    unparked = queue.unpark("a")

    assert unparked is not None
    assert queue.unpark("a") is None
    assert queue.wait_of("a") is None
    assert served(queue, "k") == ["a", "b"]


def test_what_a_parked_task_waits_for_brings_it_back_also_after_its_class_was_looked_at_again() -> None:
    """Opening the class for another task must not make it deaf."""
    queue = WaitingQueue()
    queue.push("a", "k", 2, 0)
    queue.park(pending("a", 2, 0), "k")
    queue.watch("k", ("gpu",))
    queue.push("b", "k", 2, 1)
    assert queue.take_open() == {"k"}
    queue.remove("b")
    queue.open_blocked_on("gpu")

    assert queue.pending_fallbacks == {}
    assert queue.head("k") == (2, 0, "a")


def test_recovery_reaches_tasks_that_stay_parked_when_an_earlier_one_has_fallen_back() -> None:
    """The second task is back on its own tier at once, not at its own fallback instant, and no fallback is told."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=4))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.chat("first")
    rig.pass_ms(3_000)
    rig.chat("second")
    rig.pass_ms(2_000)
    assert rig.rows["first"].tier == "complex"
    rig.up(local("gpu", slots=4))

    assert rig.rows["second"].endpoint == "gpu"
    assert [event.task_id for event in rig.named("scheduler.fallback")] == ["first"]


KEYS = st.sampled_from(["k", "l"])
THINGS = st.sampled_from(["gpu", "cloud", WORKERS])


class Queue(RuleBasedStateMachine):
    """The queue beside a model that scans everything."""

    @initialize()
    def begin(self) -> None:
        self.queue = WaitingQueue()
        self.count = 0
        self.order: dict[str, tuple[int, int, str]] = {}
        self.key_of: dict[str, str] = {}
        self.parked: set[str] = set()
        self.held: set[str] = set()
        self.open: set[str] = set()
        self.watched: dict[str, set[str]] = {}

    def ready(self, key: str) -> list[tuple[int, int, str]]:
        return sorted(self.order[name] for name, own in self.key_of.items() if own == key and name not in self.parked)

    def opened(self, key: str) -> None:
        self.held.discard(key)
        self.open.add(key)
        if not any(self.key_of[name] == key for name in self.parked):
            self.watched[key] = set()

    def unparked(self, key: str) -> None:
        self.parked -= {name for name in self.parked if self.key_of[name] == key}
        self.opened(key)

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(key=KEYS, priority=st.integers(0, 3), back=st.booleans())
    def push(self, key: str, priority: int, back: bool) -> None:
        gone = sorted(name for name in self.order if name not in self.key_of)
        if back and gone:
            name = gone[0]
        else:
            self.count += 1
            name = f"t{self.count}"
            self.order[name] = (priority, self.count, name)
        self.queue.push(name, key, *self.order[name][:2])
        self.key_of[name] = key
        if key not in self.held or self.ready(key)[0][2] == name:
            self.opened(key)

    @precondition(lambda self: self.key_of)
    @rule(pick=st.integers(0, 99))
    def remove(self, pick: int) -> None:
        name = sorted(self.key_of)[pick % len(self.key_of)]
        key = self.key_of[name]
        was_head = self.ready(key)[:1] == [self.order[name]]
        self.queue.remove(name)
        del self.key_of[name]
        self.parked.discard(name)
        if key not in self.key_of.values():
            self.held.discard(key)
            self.open.discard(key)
            self.watched.pop(key, None)
        elif key in self.held and was_head:
            self.opened(key)

    @rule(data=st.data())
    def round(self, data: st.DataObject) -> None:
        """As the scheduler goes through the open classes."""
        taken = self.queue.take_open()
        assert taken == self.open
        self.open = set()
        for key in sorted(str(one) for one in taken):
            while (head := self.queue.head(key)) is not None:
                assert [head] == self.ready(key)[:1]
                what = data.draw(st.sampled_from(["assign", "park", "hold"]))
                names = tuple(sorted(data.draw(st.sets(THINGS, max_size=2))))
                if what == "assign":
                    self.queue.remove(head[2])
                    del self.key_of[head[2]]
                    if key not in self.key_of.values():
                        self.watched.pop(key, None)
                elif what == "park":
                    self.queue.park(pending(head[2], head[0], head[1]), key)
                    self.queue.watch(key, names)
                    self.parked.add(head[2])
                    self.watched[key] |= set(names)
                else:
                    self.queue.hold(key, HOLD, names)
                    self.held.add(key)
                    is_parked = any(self.key_of[name] == key for name in self.parked)
                    self.watched[key] = set(names) | (self.watched[key] if is_parked else set())
                    break

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 99))
    def fallback_is_due(self, pick: int) -> None:
        name = sorted(self.parked)[pick % len(self.parked)]
        assert self.queue.unpark(name) is not None
        self.parked.discard(name)
        self.opened(self.key_of[name])

    @rule(name=THINGS)
    def changed(self, name: str) -> None:
        self.queue.open_blocked_on(name)
        for key in [key for key, names in self.watched.items() if name in names]:
            self.unparked(key)

    @rule(key=KEYS)
    def timer(self, key: str) -> None:
        self.queue.open(key)
        if key in self.key_of.values():
            self.opened(key)

    @rule()
    def everything_changed(self) -> None:
        self.queue.open_all()
        for key in set(self.key_of.values()):
            self.unparked(key)

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def it_holds_what_is_queued(self) -> None:
        assert len(self.queue) == len(self.key_of)
        assert all(name in self.queue for name in self.key_of)
        sizes = {key: one.size for key, one in self.queue.classes.items()}
        assert sizes == {key: list(self.key_of.values()).count(key) for key in set(self.key_of.values())}

    @invariant()
    def the_head_is_the_first_that_is_not_parked(self) -> None:
        for key in set(self.key_of.values()):
            ready = self.ready(key)
            assert self.queue.head(key) == (ready[0] if ready else None)

    @invariant()
    def parked_and_held_tasks_say_why(self) -> None:
        assert set(self.queue.pending_fallbacks) == self.parked
        for name, key in self.key_of.items():
            held = HOLD.wait if key in self.held else None
            assert self.queue.wait_of(name) == (FALLBACK if name in self.parked else held)

    @invariant()
    def nothing_is_left_of_what_is_gone(self) -> None:
        blocked = {name: {key for key, names in self.watched.items() if name in names} for name in ("gpu", "cloud")}
        assert {name: keys for name, keys in blocked.items() if keys} == {
            name: {key for line in self.queue.lines.waiting_for(name) for key in line.members}
            for name in self.queue.lines.names() - {WORKERS}
        }
        assert self.queue._open == self.open <= set(self.queue.classes)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_task_that_was_put_back_elsewhere_is_not_found_at_its_old_place() -> None:
    """A plan may move a waiting task behind others of its class: the entry it left in the heap is stale."""
    queue = WaitingQueue()
    queue.push("a", "class", 2, 1)
    queue.push("b", "class", 2, 2)
    queue.remove("a")
    queue.push("a", "class", 2, 3)

    assert queue.head("class") == (2, 2, "b")
    assert queue.place("a") == (2, 3, "a")
    queue.remove("b")
    assert queue.head("class") == (2, 3, "a")
