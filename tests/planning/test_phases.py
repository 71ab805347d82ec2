"""Declared orders of phases: what they break, what they leave out, and how they are mended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.phases import (
    BrokenNeed,
    BrokenOrderError,
    Group,
    broken_needs,
    declared,
    left_out,
    refuse_unless_whole,
    repaired,
)

CHOICE = Choice(models=("m",), duration_ms=1)
HOST = PlanHost(name="h", models={"m": Serving()})


def graph(phases: dict[str, str] | None = None, **needs: str) -> Instance:
    """Tasks of one letter each, with what they need: `graph(a="", b="a")`."""
    tasks = [
        PlanTask(id=name, choices=(CHOICE,), needs=tuple(before), phase=(phases or {}).get(name, ""))
        for name, before in needs.items()
    ]
    return Instance(hosts=(HOST,), tasks=tuple(tasks))


def order(*groups: str, sequential: bool = False) -> tuple[Group, ...]:
    """One group for each word, its letters the tasks."""
    return tuple(Group(name=f"p{n}", tasks=tuple(group), sequential=sequential) for n, group in enumerate(groups))


def letters(groups: tuple[Group, ...]) -> list[str]:
    return ["".join(group.tasks) for group in groups]


def test_an_order_that_respects_needs_breaks_nothing() -> None:
    """Needs inside a group that runs side by side are kept by the layout: they are no break."""
    instance = graph(a="", b="a", c="b")

    assert broken_needs(order("ba", "c"), instance) == ()
    assert repaired(order("ba", "c"), instance) == order("ba", "c")


def test_every_broken_pair_is_listed_with_both_phases() -> None:
    """Each pair names the task, the need and where both stand."""
    assert broken_needs(order("c", "ab"), graph(a="", b="", c="ab")) == (
        BrokenNeed(task="c", need="a", group="p0", need_group="p1"),
        BrokenNeed(task="c", need="b", group="p0", need_group="p1"),
    )


def test_a_sequential_phase_can_break_needs_within_itself() -> None:
    """One after the other, a task ahead of its need never starts; mended, only those two change places."""
    instance = graph(a="", b="c", c="", d="")
    row = order("abcd", sequential=True)

    assert [str(pair) for pair in broken_needs(row, instance)] == ["b runs before c in p0"]
    assert letters(repaired(row, instance)) == ["acbd"]


def test_a_task_that_comes_too_early_moves_right_behind_its_last_need() -> None:
    """It goes no further than it must, and what needs it in turn stays where it is if it can."""
    instance = graph(a="", b="", c="b", d="", e="c")

    mended = repaired(order("ac", "b", "d", "e"), instance)

    assert letters(mended) == ["a", "b", "c", "d", "e"]
    assert mended[2].name == "p0 behind p1"


def test_what_depends_on_a_moved_task_moves_along() -> None:
    """Tasks of one phase moved to one place stay together; those of another phase follow as a group of their own."""
    instance = graph(a="f", b="a", c="b", d="a", f="")

    assert letters(repaired(order("ab", "cd", "f"), instance)) == ["f", "ab", "cd"]


def test_more_pairs_than_can_be_read_are_counted() -> None:
    """The message shows twenty and says how many more there are; the data has all."""
    broken = tuple(BrokenNeed(task=f"t{n}", need="n", group="p", need_group="q") for n in range(25))

    error = BrokenOrderError(broken)

    assert "breaks 25 needs" in error.what
    assert "and 5 more" in error.what
    assert len(error.broken) == 25


@pytest.mark.parametrize(
    ("groups", "said"),
    [(("ax", "b"), "no task 'x'"), (("ab", "a"), "also in phase p0"), (("a",), "leave out b")],
)
def test_an_order_that_is_not_whole_is_refused(groups: tuple[str, ...], said: str) -> None:
    """A task that is unknown, twice or in no phase is named."""
    with pytest.raises(InvalidInputError, match=said):
        refuse_unless_whole(order(*groups), graph(a="", b=""))


def test_what_an_order_leaves_out_is_listed() -> None:
    """In the order of the instance."""
    assert left_out(order("b"), graph(a="", b="", c="")) == ("a", "c")


def test_the_phases_that_tasks_declare_make_an_order() -> None:
    """By first appearance; with one task that declares none there is no order."""
    assert letters(declared(graph({"a": "p", "b": "q", "c": "p"}, a="", b="", c=""))) == ["ac", "b"]
    assert declared(graph({"a": "p"}, a="", b="")) == ()


@given(data=st.data())
def test_repairing_breaks_nothing_loses_nothing_and_is_done_once(data: st.DataObject) -> None:
    """For every order and graph: all needs hold, each task is there once, and a second repair changes nothing."""
    names = "abcdefgh"[: data.draw(st.integers(1, 8))]
    needs = {
        name: "".join(sorted(data.draw(st.sets(st.sampled_from(names[:n]))))) if n else ""
        for n, name in enumerate(names)
    }
    instance = graph(None, **needs)
    dealt = data.draw(st.lists(st.integers(0, 3), min_size=len(names), max_size=len(names)))
    shuffled = data.draw(st.permutations(names))
    groups = ["".join(name for name, place in zip(shuffled, dealt, strict=True) if place == n) for n in range(4)]
    made = order(*groups, sequential=data.draw(st.booleans()))

    mended = repaired(made, instance)

    assert broken_needs(mended, instance) == ()
    assert sorted("".join(letters(mended))) == sorted(names)
    assert repaired(mended, instance) == mended
    assert broken_needs(made, instance) or letters(mended) == [group for group in groups if group]
