"""Needs: rings are found and named, needs are counted down, and order of arrival is kept."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import CycleError
from ostler.scheduling.dependencies import Dependencies, check_cycle, find_cycle

graphs = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=8)


def test_a_ring_is_named_in_order_with_its_first_task_repeated() -> None:
    """The user reads the ring, not only that there is one."""
    with pytest.raises(CycleError) as caught:
        check_cycle({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})

    assert caught.value.cycle == ("a", "b", "c", "a")
    assert "a -> b -> c -> a" in str(caught.value)


def test_a_task_that_needs_itself_is_a_ring() -> None:
    """The smallest ring."""
    assert find_cycle({"a": ["a"]}) == ("a", "a")


def test_a_diamond_is_no_ring() -> None:
    """Two ways to one task are fine."""
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) is None


def test_a_long_chain_is_searched_without_recursion() -> None:
    """Ten thousand tasks in a row do not overflow a stack."""
    chain = {str(i): [str(i + 1)] for i in range(10_000)}
    assert find_cycle(chain) is None
    chain["10000"] = ["0"]
    assert find_cycle(chain) is not None


def _reaches(needs: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, todo = set[str](), list(needs.get(start, ()))
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo += needs.get(name, ())
    return False


@given(graphs)
def test_a_ring_is_found_exactly_when_some_task_needs_itself_in_the_end(needs: dict[str, list[str]]) -> None:
    """Against the definition, and the ring that is named is really one."""
    ring = find_cycle(needs)

    assert (ring is not None) == any(_reaches(needs, name, name) for name in needs)
    if ring is not None:
        assert ring[0] == ring[-1]
        assert all(needed in needs[name] for name, needed in pairwise(ring))


def test_the_last_met_need_frees_a_task() -> None:
    """Not the first one."""
    book = Dependencies()
    book.add("c", ["a", "b"])

    assert book.met("a") == []
    assert book.missing("c") == {"b"}
    assert book.met("b") == ["c"]
    assert book.missing("c") == frozenset()


def test_freed_tasks_come_in_the_order_of_their_arrival() -> None:
    """First in, first out also through needs."""
    book = Dependencies()
    for name in ("z", "m", "a"):
        book.add(name, ["root"])

    assert book.met("root") == ["z", "m", "a"]


def test_a_dropped_task_is_not_freed_later() -> None:
    """A cancelled task stays cancelled when its need is met."""
    book = Dependencies()
    book.add("b", ["a"])
    book.drop("b")

    assert book.met("a") == []
    assert book.dependents("a") == ()
