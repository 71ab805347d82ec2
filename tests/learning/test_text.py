"""Texts as numbers, a line fitted to them, and the kind of work guessed from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning import features, ridge
from ostler.learning.kinds import UNKNOWN, KindModel, learn_kinds, read
from ostler.learning.vectors import Vector, vocabulary

LABELLED = [
    ("docs", "write the readme section about installing the package"),
    ("docs", "document the options of the command line in the manual"),
    ("docs", "explain in the readme how the configuration file works"),
    ("bugfix", "fix the crash when the input list is empty"),
    ("bugfix", "the parser fails with a traceback on empty lines, repair it"),
    ("bugfix", "fix the wrong total that the report shows after a crash"),
    ("testing", "add unit tests for the parser of dates"),
    ("testing", "cover the retry logic with unit tests"),
    ("testing", "write a test that fails when the cache is cold"),
]


def test_grams_are_the_same_on_every_machine() -> None:
    """Buckets hang on the text alone, not on the process: these were written down once."""
    assert sorted(features.grams("ab ab").items())[:2] == sorted(features.grams("AB  ab").items())[:2]
    assert features.grams("fix it") == features.grams("Fix it")
    assert sum(features.grams("abcd").values()) == 1 + 2 + 1


@given(st.text(max_size=300))
def test_every_text_has_22_finite_counts(text: str) -> None:
    """Whatever is written, there is a figure for it."""
    found = features.counts(text)
    assert len(found) == 22
    assert all(0.0 <= value < 1e4 for value in found)


@given(st.integers(4_001, 20_000))
def test_a_long_text_costs_no_more(length: int) -> None:
    """Its beginning and its end are looked at."""
    text = "a" * (length - 3) + "end"
    seen = features.seen_part(text)
    assert len(seen) <= features.CHARACTERS_MAX + 1
    assert seen.endswith("end")


def test_a_vector_has_length_one_beside_its_counts() -> None:
    """TF-IDF is normed; grams that one text alone has are left out."""
    texts = [text for _, text in LABELLED]
    words = vocabulary(
        [features.grams(text) for text in texts], [features.counts(text) for text in texts], count_share=0
    )
    vector = words.vector(texts[0])
    assert sum(value * value for value in vector.values) == pytest.approx(1.0)
    assert max(vector.places) < words.size
    assert len(set(vector.places)) == len(vector.places)
    assert len(words.vector("qqqq zzzz").places) <= 23


def test_ridge_solves_its_equations() -> None:
    """The weights make the gradient vanish: X^T (y - Xw) = penalty x w."""
    rows = [Vector((0, 1), (1.0, 2.0)), Vector((1, 2), (1.0, -1.0)), Vector((0, 2), (0.5, 3.0)), Vector((1,), (2.0,))]
    targets = [1.0, 2.0, -1.0, 0.5]
    line = ridge.fit(rows, targets, 3, penalty=0.7)
    mean = sum(targets) / 4
    for place in range(3):
        pull = sum(
            (target - line.predict(row)) * dict(zip(row.places, row.values, strict=True)).get(place, 0.0)
            for row, target in zip(rows, targets, strict=True)
        )
        assert pull == pytest.approx(0.7 * line.weights[place], abs=1e-5)
    assert line.mean == mean


def test_equal_targets_are_predicted_as_they_are() -> None:
    """Nothing to learn: the mean, and no weights."""
    line = ridge.fit([Vector((0,), (1.0,)), Vector((1,), (1.0,))], [0.3, 0.3], 2)
    assert line.weights == [0.0, 0.0]
    assert line.predict(Vector((0, 1), (5.0, 5.0))) == 0.3


@pytest.mark.parametrize(
    ("text", "kind"),
    [("fix the crash of the parser on empty lines", "bugfix"), ("add unit tests for the cache", "testing")],
)
def test_a_kind_is_guessed_from_the_words(text: str, kind: str) -> None:
    """Texts that were not learned from, but speak alike."""
    guess = learn_kinds(LABELLED).reader().guess(read(text))
    assert guess.best == kind
    assert guess.kind in (kind, UNKNOWN)


def test_what_is_like_nothing_known_is_unknown() -> None:
    """Below the confidence the answer is unknown, and `best` says what came nearest."""
    guess = learn_kinds(LABELLED).reader().guess(read("1234 5678"))
    assert guess.kind == UNKNOWN
    assert guess.best != UNKNOWN


def test_without_labels_everything_is_unknown() -> None:
    """An empty model says so instead of failing."""
    reader = KindModel().reader()
    assert reader.chances(read("fix it")) == {}
    assert reader.guess(read("fix it")).kind == UNKNOWN


@given(st.text(max_size=120))
def test_chances_are_a_distribution(text: str) -> None:
    """Over all kinds they add up to one, whatever the text."""
    chances = learn_kinds(LABELLED).reader().chances(read(text))
    assert sum(chances.values()) == pytest.approx(1.0)
    assert set(chances) == {"docs", "bugfix", "testing"}


def test_the_order_of_labels_does_not_matter() -> None:
    """Learning is adding up."""
    found = read("fix the manual")
    there = learn_kinds(LABELLED).reader().chances(found)
    back = learn_kinds(LABELLED[::-1]).reader().chances(found)
    assert there == pytest.approx(back)
