"""What an agent may ask of its loop, and what is no wish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.working_set import WorkingState
from ostler.loops.wishes import Wishes, fingerprint, wishes


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", Wishes()),
        ("All is well.", Wishes()),
        ("LOOP: continue", Wishes(go_on=True)),
        ("done\n  loop: CONTINUE  \n", Wishes(go_on=True)),
        ("LOOP: end", Wishes(end=True)),
        ("LOOP: stop", Wishes(stop=True)),
        ("LOOP: stop the roof is mended", Wishes(stop=True, why="the roof is mended")),
        ("`LOOP: end`", Wishes(end=True)),
        ("**LOOP: stop** ", Wishes(stop=True)),
        ("- LOOP: end", Wishes(end=True)),
        ("> LOOP: objective mend it", Wishes(kept=(("objectives", "mend it"),))),
        ("I will not say LOOP: stop now", Wishes()),
        ("LOOP: dance", Wishes()),
        ("LOOP: objective", Wishes()),
        ("LOOP:end", Wishes(end=True)),
        (
            "LOOP: decision slate\nLOOP: error ladder broke\nLOOP: reached feed the cat",
            Wishes(kept=(("decisions", "slate"), ("errors", "ladder broke")), reached=("feed the cat",)),
        ),
    ],
)
def test_lines_that_begin_with_the_word_are_wishes(answer: str, expected: Wishes) -> None:
    """Case, spaces, list marks and back ticks aside; in the middle of a line it is only talk."""
    assert wishes(answer) == expected


@given(st.text(max_size=400))
def test_any_answer_can_be_read(answer: str) -> None:
    """Whatever a model says: nothing breaks, and without the word there is no wish."""
    found = wishes(answer)
    if "loop:" not in answer.lower():
        assert found == Wishes()
    assert len(fingerprint(answer)) == 16


def test_wishes_change_the_working_set_in_their_order() -> None:
    """What was kept and reached in one answer is gone."""
    asked = wishes("LOOP: objective a\nLOOP: objective b\nLOOP: reached a")
    assert asked.applied(WorkingState(objectives=("c",))) == WorkingState(objectives=("c", "b"))


@given(st.lists(st.sampled_from(["Nothing", "new", "42."]), min_size=1, max_size=8))
def test_white_space_and_case_make_no_other_answer(words: list[str]) -> None:
    """A loop that says the same in other line breaks has made no progress."""
    assert fingerprint(" ".join(words)) == fingerprint("\n\t".join(words).upper() + "\n")
    assert fingerprint(" ".join(words)) != fingerprint(" ".join([*words, "more"]))
