"""Waiters by reason: what is counted is what a walk over all of them would find."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import Wait, WaitCode
from ostler.scheduling.tally import SLACK, Tally, Waiting

WAITS = st.builds(
    Wait,
    code=st.sampled_from([WaitCode.CAPACITY, WaitCode.DEPS, WaitCode.BUDGET]),
    since_ms=st.integers(0, 3),
    detail=st.sampled_from(["", "a", "b"]),
)
WAITERS = st.sampled_from("abcde")
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), WAITERS, st.integers(0, 3), WAITS, st.sampled_from([None, "low"])),
        st.tuples(st.just("change"), WAITERS, st.integers(0, 2)),
        st.tuples(st.just("drop"), WAITERS),
    ),
    max_size=60,
)


@given(CHANGES)
def test_groups_are_what_a_walk_finds(changes: list[tuple[object, ...]]) -> None:
    """How many wait for each reason, and who has waited longest; of several who came first. After any history."""
    tally = Tally()
    there: dict[str, tuple[int, Wait, str | None]] = {}
    for change in changes:
        match change:
            case ("put", str(name), int(number), Wait() as wait, (None | str()) as tier):
                tally.put(name, number, wait, tier)
                there.pop(name, None)
                there[name] = (number, wait, tier)
            case ("change", str(name), int(by)):
                tally.change(name, by)
                if name in there:
                    there[name] = (there[name][0] + by, *there[name][1:])
            case (_, str(name)):
                tally.drop(name)
                there.pop(name, None)

        assert sorted(tally.groups(), key=str) == sorted(by_hand(there), key=str)
        assert all(tally.wait_of(name) is (there[name][1] if name in there else None) for name in "abcde")


def by_hand(there: dict[str, tuple[int, Wait, str | None]]) -> list[Waiting]:
    reasons: dict[tuple[WaitCode, str, str | None], list[str]] = {}
    for name, (_, wait, tier) in there.items():
        reasons.setdefault((wait.code, "" if wait.code is WaitCode.DEPS else wait.detail, tier), []).append(name)
    found = []
    for (_, _, tier), names in reasons.items():
        shown = [name for name in names if there[name][0]]
        if shown:
            first = min(shown, key=lambda name: there[name][1].since_ms)
            found.append(Waiting(first, sum(there[name][0] for name in names), there[first][1], tier))
    return found


def test_a_waiter_that_comes_again_and_again_leaves_nothing_behind() -> None:
    """What is stale is cleared away, however often one class is held anew."""
    tally = Tally()
    for turn in range(1_000):
        tally.put("a", 1, Wait(code=WaitCode.CAPACITY, since_ms=turn))
        tally.put("b", 1, Wait(code=WaitCode.CAPACITY, since_ms=0))
    (group,) = tally.groups()

    assert group == Waiting("b", 2, Wait(code=WaitCode.CAPACITY, since_ms=0), None)
    assert all(len(one.heap) <= 2 * 2 + SLACK + 1 for one in tally._groups.values())


def test_a_look_walks_reasons_not_waiters() -> None:
    """A hundred thousand that wait for one thing are one group, and its first is at hand."""
    tally = Tally()
    for number in range(10_000):
        tally.put(number, 10, Wait(code=WaitCode.CAPACITY, since_ms=number))

    assert list(tally.groups()) == [Waiting(0, 100_000, Wait(code=WaitCode.CAPACITY, since_ms=0), None)]
