"""Whether an agent gets on: what repeats itself is counted, what changes is not, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.workers.runners.agents.repeats import Repeats, fingerprint

ACTIONS = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))


def counted(actions: list[tuple[str, str]]) -> int:
    """The count at the end of these (asked, answered)."""
    repeats = Repeats()
    for number, (asked, answer) in enumerate(actions):
        repeats.called(str(number), fingerprint(asked))
        repeats.answered(str(number), fingerprint(answer))
    return repeats.count


def test_the_same_thing_with_the_same_answer_repeats() -> None:
    """Eight times in a row are eight."""
    assert counted([("make", "failed")] * 8) == 8


def test_two_things_in_turn_repeat() -> None:
    """Edit, test, edit, test: each round counts once."""
    assert counted([("edit", "ok"), ("make", "failed")] * 5) == 5


def test_another_answer_is_progress() -> None:
    """Who asks again until the answer changes is not stuck."""
    assert counted([("poll", str(number)) for number in range(20)]) == 1


def test_the_whole_question_counts() -> None:
    """Two long texts that differ at their end alone are two."""
    assert counted([("a" * 5_000 + str(number), "ok") for number in range(9)]) == 1


def test_a_call_without_an_answer_is_no_action() -> None:
    """Nor is an answer that nobody asked for."""
    repeats = Repeats()
    for number in range(9):
        repeats.called(str(number), fingerprint("make"))
        repeats.answered(f"other {number}", fingerprint("ok"))

    assert repeats.count == 0


@given(st.lists(ACTIONS, max_size=30))
def test_the_count_is_the_longest_end_that_repeats_with_a_period_of_one_or_two(actions: list[tuple[str, str]]) -> None:
    """As counted by hand from the end: equal ones, or rounds of two different ones."""
    same = 0
    while same < len(actions) and actions[-1 - same] == actions[-1]:
        same += 1
    rounds = 0
    if len(actions) >= 2 and actions[-1] != actions[-2]:
        pair = 2
        while pair < len(actions) and actions[-1 - pair] == actions[1 - pair]:
            pair += 1
        rounds = pair // 2 if pair > 2 else 0

    assert counted(actions) == max(same, rounds)


@given(st.lists(ACTIONS, min_size=1, max_size=30))
def test_something_new_starts_the_count_again(actions: list[tuple[str, str]]) -> None:
    """Whatever came before."""
    assert counted([*actions, ("new", "new")]) == 1
