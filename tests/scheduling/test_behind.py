"""Trees of tasks that wait for one another: root and size are what following each link would find."""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from ostler.scheduling.behind import Behind
from ostler.scheduling.dependencies import Dependencies

NAMES = [f"t{number}" for number in range(12)]


def way_up(before: dict[str, str], name: str) -> list[str]:
    """A task, the one it stands behind, and so on to the root."""
    way = [name]
    while way[-1] in before:
        way.append(before[way[-1]])
    return way


def root_of(before: dict[str, str], name: str) -> str:
    return way_up(before, name)[-1]


@given(st.lists(st.tuples(st.integers(0, 11), st.one_of(st.none(), st.integers(0, 11))), max_size=60))
def test_trees_are_what_following_each_link_finds(moves: list[tuple[int, int | None]]) -> None:
    """Whatever comes to stand behind whatever, with all that stands behind it, or behind nothing any more."""
    behind, before = Behind(), dict[str, str]()
    for one, other in moves:
        if other is not None and NAMES[one] in way_up(before, NAMES[other]):
            continue  # needs make no circle
        behind.stand(NAMES[one], None if other is None else NAMES[other])
        before.pop(NAMES[one], None)
        if other is not None:
            before[NAMES[one]] = NAMES[other]

        sizes = Counter(root_of(before, name) for name in before)
        assert dict(behind.roots()) == sizes
        assert {name: behind.size(name) for name in NAMES} == {name: sizes[name] for name in NAMES}
        assert len(behind) == len(before)
        assert set(behind._trees) == {*before, *before.values()}, "what stands alone is in no tree"


NEEDS = st.lists(st.sets(st.integers(0, 8), max_size=4), min_size=1, max_size=9)


@given(NEEDS, st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=20))
def test_each_task_stands_behind_the_first_of_its_needs_by_name(
    needs: list[set[int]], ends: list[tuple[int, bool]]
) -> None:
    """As needs are met, or tasks are given up, in any order."""
    book, missing = Dependencies(), dict[str, set[str]]()
    for number, of in enumerate(needs):
        missing[NAMES[number]] = {NAMES[need] for need in of if need < number}
        book.add(NAMES[number], missing[NAMES[number]])
    for number, is_met in ends:
        name = NAMES[number]
        book.drop(name)
        missing.pop(name, None)
        if is_met:
            book.met(name)
            for left in missing.values():
                left.discard(name)

        before = {one: min(left) for one, left in missing.items() if left}
        assert dict(book.behind.roots()) == Counter(root_of(before, one) for one in before)


class Counting(Behind):
    """Counts the steps of all walks."""

    steps = 0

    def _walk(self, root: str) -> Iterator[str]:
        for name in super()._walk(root):
            self.steps += 1
            yield name


def test_a_chain_costs_a_few_steps_for_each_task_that_comes_or_ends() -> None:
    """However long it is: the smaller of two parts is walked, and that is the one task."""
    behind, length = Counting(), 2_000
    for number in range(1, length):
        behind.stand(f"c{number}", f"c{number - 1}")
    assert dict(behind.roots()) == {"c0": length - 1}
    assert behind.steps <= 2 * length
    behind.steps = 0
    for number in range(1, length):
        behind.stand(f"c{number}", None)
        assert behind.size(f"c{number}") == length - number - 1
    assert behind.steps <= 4 * length


def test_many_behind_one_cost_a_few_steps_each() -> None:
    """When it has ended, each stands alone."""
    behind, many = Counting(), 2_000
    for number in range(many):
        behind.stand(f"w{number}", "hub")
    assert dict(behind.roots()) == {"hub": many}
    for number in range(many):
        behind.stand(f"w{number}", None)
    assert (dict(behind.roots()), len(behind)) == ({}, 0)
    assert behind.steps <= 8 * many


def test_a_task_with_many_needs_is_not_looked_through_for_each_that_is_met() -> None:
    """It stands behind the first that is left; those are in order."""
    book, many = Dependencies(), 3_000
    needs = [f"n{number:04}" for number in range(many)]
    book.add("sum", needs)
    for number, need in enumerate(needs[:-1]):
        assert book.met(need) == []
        assert dict(book.behind.roots()) == {needs[number + 1]: 1}
    assert book.met(needs[-1]) == ["sum"]
    assert dict(book.behind.roots()) == {}
