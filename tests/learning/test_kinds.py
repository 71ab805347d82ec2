"""Kinds of texts: adding up, forgetting nothing, sure only of what is like something known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning.features import BUCKETS, cues
from ostler.learning.kinds import OPENING_CHARACTERS, KindModel, learn_kinds, opening, read

LABELLED = [
    ("docs", "write the manual of the editor"),
    ("docs", "describe the settings in the manual"),
    ("bugfix", "the editor crashes, fix it"),
    ("bugfix", "fix the wrong settings"),
]


def test_a_copy_learns_by_itself() -> None:
    """What comes with the program is the same for whoever learns more."""
    model = learn_kinds(LABELLED)
    before = model.reader().chances(read("fix the manual"))
    copy = model.copy()
    copy.learn_text("docs", "fix the manual")
    assert model.reader().chances(read("fix the manual")) == before
    assert copy.reader().chances(read("fix the manual"))["docs"] > before["docs"]


def test_a_text_of_unknown_words_is_unknown() -> None:
    """One word that is known among many that are not makes nobody sure."""
    reader = learn_kinds(LABELLED).reader()
    alike, strange = "describe the manual", "the zebra quietly ate seventeen purple umbrellas near Lisbon"
    assert reader.guess(read(alike)).confidence > reader.guess(read(strange)).confidence
    assert reader.guess(read(strange)).kind == "unknown"


def test_other_signs_move_the_chances() -> None:
    """Even odds move nothing; great ones decide; a kind that is not known is not made up."""
    reader = learn_kinds(LABELLED).reader()
    found = read("settings of the editor")
    plain = reader.chances(found)
    assert reader.chances(found, odds={"docs": 1.0}) == pytest.approx(plain)
    assert reader.chances(found, odds={"docs": 1e6})["docs"] > 0.99
    assert set(reader.chances(found, odds={"poetry": 50.0})) == {"docs", "bugfix"}


def test_a_kind_can_be_one_of_the_users_own() -> None:
    """Names are free; three texts are enough to tell one that is like them."""
    model = learn_kinds(LABELLED)
    for animal in ("cat", "dog", "parrot"):
        model.learn_text("pets", f"feed the {animal} every morning")
    guess = model.reader().guess(read("feed the hamster every morning"))
    assert guess.kind == "pets"


@given(st.text(max_size=4_000))
def test_only_the_opening_is_read(text: str) -> None:
    """However long a text is, what is looked at is bounded."""
    assert len(opening(text)) <= OPENING_CHARACTERS + 1
    assert all(0 <= key < BUCKETS and times > 0 for key, times in cues(text).items())


@given(st.permutations(LABELLED))
def test_order_does_not_matter(labelled: list[tuple[str, str]]) -> None:
    """The same texts teach the same."""
    found = read("fix the manual of the editor")
    there, here = learn_kinds(labelled).reader(), learn_kinds(LABELLED).reader()
    assert there.chances(found) == pytest.approx(here.chances(found))


def test_half_a_weight_is_half_a_text() -> None:
    """Twice a half is one."""
    whole, halves = KindModel(), KindModel()
    whole.learn_text("docs", "write the manual")
    for _ in range(2):
        halves.learn_text("docs", "write the manual", weight=0.5)
    assert halves.texts == whole.texts
    assert halves.seen == whole.seen
    assert halves.weights["docs"] == pytest.approx(whole.weights["docs"])
