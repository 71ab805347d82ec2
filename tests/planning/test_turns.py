"""Whose turn it is: list scheduling, held against a plain simulation that goes from instant to instant."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.layout import laid_out
from ostler.planning.phases import Group
from ostler.planning.turns import Turns


def task(name: str, *needs: str, release_ms: int = 0, lasts: int = 10) -> PlanTask:
    choice = Choice(models=("m",), duration_ms=lasts)
    return PlanTask(id=name, choices=(choice,), needs=needs, release_ms=release_ms)


def one_model(tasks: list[PlanTask], slots: int) -> Instance:
    """One model that is there from the start: nothing but slots and needs."""
    host = PlanHost(name="h", memory_bytes=1, models={"m": Serving(memory_bytes=1, slots=slots)}, resident=("m",))
    return Instance(hosts=(host,), tasks=tuple(tasks))


def by_instants(instance: Instance, order: list[str]) -> dict[str, int]:
    """Starts by the plain rule: whenever a slot is free, the foremost task in the list that is ready takes it."""
    tasks = {row.id: row for row in instance.tasks}
    slots = instance.hosts[0].models["m"].slots
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    now_ms = 0
    while len(starts) < len(tasks):
        for name in order:
            row = tasks[name]
            running = sum(start <= now_ms < ends[other] for other, start in starts.items())
            ready = row.release_ms <= now_ms and all(ends.get(need, now_ms + 1) <= now_ms for need in row.needs)
            if name not in starts and ready and running < slots:
                starts[name] = now_ms
                ends[name] = now_ms + row.choices[0].duration_ms
        now_ms += 1
    return starts


def turns_of(tasks: list[PlanTask], busy_until_ms: int = 0) -> list[str]:
    """The turns when every task starts as soon as it is ready, but none before an instant."""
    ends: dict[str, int] = {}

    def ready_ms(row: PlanTask) -> int:
        return max((row.release_ms, *(ends[need] for need in row.needs)))

    turns = Turns(tasks, 0, ready_ms)
    taken = []
    while (turn := turns.next(lambda row: max(busy_until_ms, ready_ms(row)))) is not None:
        place, row = turn
        start_ms = max(busy_until_ms, ready_ms(row))
        ends[row.id] = start_ms + row.choices[0].duration_ms
        turns.done(place, start_ms)
        taken.append(row.id)
    return taken


def test_the_foremost_of_those_that_are_ready_has_the_turn() -> None:
    """Needs and releases make others wait, whatever their place in the list."""
    assert turns_of([task("a", "c"), task("b", release_ms=5), task("c")]) == ["c", "b", "a"]


def test_who_stands_ahead_and_gets_ready_before_a_slot_does_goes_first() -> None:
    """Nobody can start before 8: the one released at 5 is ready by then, the one released at 9 is not."""
    tasks = [task("late", release_ms=9), task("ahead", release_ms=5), task("ready")]

    assert turns_of(tasks, busy_until_ms=8) == ["ahead", "ready", "late"]
    assert turns_of(tasks) == ["ready", "ahead", "late"]


def test_what_is_needed_from_outside_of_the_group_makes_nobody_wait() -> None:
    """Those have had their turn before; `ready_ms` knows their ends."""
    rows = Turns([task("a", "outside")], 3, lambda _: 7)

    turn = rows.next(lambda _: 7)
    assert turn is not None
    assert turn[1].id == "a"
    rows.done(turn[0], 7)
    assert rows.next(lambda _: 7) is None


def test_no_task_has_no_turn() -> None:
    """An empty group is over at once."""
    assert turns_of([]) == []


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[PlanTask], int]:
    made: list[PlanTask] = []
    for index in range(draw(st.integers(1, 9))):
        earlier = [row.id for row in made]
        needs = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        release_ms = draw(st.sampled_from((0, 0, 3, 11)))
        made.append(task(f"t{index}", *needs, release_ms=release_ms, lasts=draw(st.integers(1, 12))))
    return draw(st.permutations(made)), draw(st.integers(1, 3))


@given(drawn=lists())
def test_a_group_is_scheduled_like_the_plain_rule_says(drawn: tuple[list[PlanTask], int]) -> None:
    """For every list, every graph of needs and every number of slots: the same starts as instant by instant."""
    tasks, slots = drawn
    instance = one_model(tasks, slots)
    order = [row.id for row in tasks]

    plan = laid_out(instance, (Group(name="all", tasks=tuple(order)),), strategy="test")

    assert {row.task: row.start_ms for row in plan.placements} == by_instants(instance, order)


@given(drawn=lists())
def test_everybody_has_one_turn_and_none_before_what_it_needs(drawn: tuple[list[PlanTask], int]) -> None:
    """Each task once, behind all its needs."""
    tasks, _ = drawn
    taken = turns_of(tasks)

    assert sorted(taken) == sorted(row.id for row in tasks)
    assert all(taken.index(need) < taken.index(row.id) for row in tasks for need in row.needs)
