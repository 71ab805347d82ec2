"""A gateway that is always full leaves tasks their turn: within a stated number of calls."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.states import TaskState
from ostler.domain.tasks import Priority
from ostler.scheduling.turns import TURN
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import local

LINE = 6
"""Calls that always wait."""


class Full(LiveRig):
    """An endpoint whose slots are all taken by calls, with more of them in line."""

    def __init__(self, slots: int = 2, **terms: object) -> None:
        super().__init__()
        self.terms = terms
        self.made = 0
        self.worker(chat=16)
        self.up(local("gpu", slots=slots))
        self.fill(slots)

    def fill(self, slots: int = 0) -> None:
        """Bring the line back to its length."""
        while len(self.offered) < LINE or (slots and len(self.running) < slots):
            self.made += 1
            self.call(f"c{self.made}", wait_ms=10_000_000, **self.terms)

    def end_oldest(self) -> None:
        """The call that has run longest ends; another one joins the line at once."""
        self.end_call(next(iter(self.running)))
        self.fill()
        self.now_ms += 10

    def started(self) -> set[str]:
        """Tasks that have begun."""
        return {row.id for row in self.rows.values() if row.state is not TaskState.QUEUED}


def given_out(rig: Full) -> int:
    """Slots that were given to calls so far."""
    return len(rig.order)


@settings(max_examples=60)
@given(
    slots=st.integers(1, 4),
    prompts=st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True),
    priority=st.sampled_from([Priority.HIGH, Priority.NORMAL, Priority.LOW]),
    late=st.integers(0, 20),
)
def test_a_task_starts_within_the_bound_however_full_the_gateway_is(
    slots: int, prompts: list[int], priority: Priority, late: int
) -> None:
    """The first of its class after at most `TURN + 2 n` slots that were given out since it came, n being the classes of
    tasks that wait, and each further one after as many again.
    """
    rig = Full(slots)
    for _ in range(late):
        rig.end_oldest()
    names = [rig.chat(f"t{size}", prompt="x" * size * 400, priority=priority) for size in prompts]
    classes: dict[object, list[str]] = {}
    for name in names:
        task_class = rig.scheduler.books.queue.class_of(name)
        assert task_class is not None
        classes.setdefault(task_class.key, []).append(name)
    turn = TURN + 2 * len(classes)
    bounds = {name: turn * (place + 1) for line in classes.values() for place, name in enumerate(line)}
    before, begun = given_out(rig), dict.fromkeys(names, 0)
    for _ in range(max(bounds.values()) + slots):
        rig.end_oldest()
        tasks = rig.started() & set(names)
        slots_out = given_out(rig) - before + len(tasks)
        for name in tasks:
            begun[name] = begun[name] or slots_out
        for name in list(tasks):
            if rig.state(name) is TaskState.ASSIGNED:
                rig.finish(name)

    assert all(0 < at <= bounds[name] for name, at in begun.items()), (begun, bounds)


@settings(max_examples=30)
@given(slots=st.integers(1, 3), tasks=st.integers(5, 30))
def test_calls_keep_at_least_every_second_place(slots: int, tasks: int) -> None:
    """However many tasks wait, in however many classes."""
    rig = Full(slots)
    names = [rig.chat(f"t{number}", prompt="x" * 200 * number) for number in range(1, tasks + 1)]
    runs: list[str] = []
    calls, seen = given_out(rig), set[str]()
    for _ in range(3 * tasks):
        rig.end_oldest()
        new = (rig.started() & set(names)) - seen
        seen |= new
        runs += ["task"] * len(new) + ["call"] * (given_out(rig) - calls)
        calls = given_out(rig)
        for name in new:
            rig.finish(name)

    assert runs.count("call") >= runs.count("task") - 1


def test_one_class_of_tasks_has_every_fifth_place() -> None:
    """Four calls pass it, then it goes; one after the other, in its own order."""
    rig = Full(1)
    for number in range(4):
        rig.chat(f"t{number}")
    order: list[str] = []
    for _ in range(30):
        before, calls = rig.started(), given_out(rig)
        if rig.running:
            rig.end_oldest()
        else:
            (name,) = [row.id for row in rig.rows.values() if row.state is TaskState.ASSIGNED]
            rig.finish(name)
        order += sorted(rig.started() - before) or ["call"] * (given_out(rig) - calls)

    places = [index for index, name in enumerate(order) if name != "call"]
    assert [order[index] for index in places] == ["t0", "t1", "t2", "t3"]
    assert {later - earlier for earlier, later in pairwise(places)} == {TURN + 1}


def test_without_tasks_calls_have_every_place() -> None:
    """Nothing is kept free for work that does not wait."""
    rig = Full(2)
    for _ in range(40):
        rig.end_oldest()

    assert given_out(rig) == 42
    assert len(rig.running) == 2


def test_urgent_calls_are_never_made_to_wait() -> None:
    """Who may say so is of the key's making."""
    rig = Full(2, priority=Priority.URGENT)
    rig.chat("t")
    for _ in range(10 * TURN):
        rig.end_oldest()

    assert rig.started() == set()


def test_a_task_that_could_not_use_the_place_does_not_hold_it() -> None:
    """Its turn comes, no worker is there for it, and the call behind it runs."""
    rig = Full(2)
    rig.chat("t", requires=["something-nobody-has"])
    for _ in range(5 * TURN):
        rig.end_oldest()

    assert rig.started() == set()
    assert len(rig.running) == 2


@pytest.mark.parametrize("ends", [1, TURN - 1])
def test_a_call_still_goes_first_most_of_the_time(ends: int) -> None:
    """Somebody waits for it."""
    rig = Full(1)
    rig.chat("t")
    for _ in range(ends):
        rig.end_oldest()

    assert rig.started() == set()
