"""Keywords are found as whole words and phrases, in their regular inflections, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.routing import phrases
from ostler.routing.keywords import KEYWORDS

ALL = (*KEYWORDS.complex, *KEYWORDS.trivial, *(word for kind in KEYWORDS.types for word in kind.words))


def found(text: str, *entries: str) -> tuple[str, ...]:
    return phrases.find(phrases.words(text), phrases.index(entries))


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("give me information", "format"),
        ("explain the planet", "plan"),
        ("decode the message", "code"),
        ("a functional language", "function"),
        ("splinter cell", "lint"),
        ("the subscription ship its code", "ship it"),
        ("codecs and barcodes", "code"),
        ("he was planing the board", "plan"),
    ],
)
def test_a_keyword_inside_another_word_is_not_found(text: str, keyword: str) -> None:
    """What merely contains the letters of a keyword does not match."""
    assert found(text, keyword) == ()


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("Planning the week", "plan"),
        ("it was planned", "plan"),
        ("formatted output", "format"),
        ("Refactoring, then tests", "refactor"),
        ("coded by hand", "code"),
        ("several strategies", "strategy"),
        ("memories of it", "memory"),
        ("we are debugging", "debug"),
        ("recapped daily", "recap"),
        ("the plan's weak point", "plan"),
        ("RENAMES", "rename"),
        ("deploy_production", "deploy"),
    ],
)
def test_regular_inflections_are_found(text: str, keyword: str) -> None:
    """Plural, past and progressive of a keyword match, in any case and beside any punctuation."""
    assert found(text, keyword) == (keyword,)


@pytest.mark.parametrize("text", ["a version bump", "VERSION-BUMP", "two version\nbumps", "version_bump."])
def test_phrases_are_found_across_separators(text: str) -> None:
    """A phrase matches whatever separates its words."""
    assert found(text, "version bump") == ("version bump",)


def test_a_phrase_needs_its_words_in_order_and_together() -> None:
    """The words of a phrase alone, apart or in another order are no match."""
    assert found("bump the version; version of a bump; version", "version bump") == ()


@pytest.mark.parametrize(("word", "count"), [("it", 1), ("api", 1), ("ship", 4), ("format", 6), ("try", 1), ("fix", 1)])
def test_short_words_have_no_inflections(word: str, count: int) -> None:
    """Below four letters only the word itself is found: its inflections would be other words."""
    assert len(phrases.inflections(word)) == count


def test_other_spellings_count_as_the_same_keyword() -> None:
    """Derived words listed with a keyword are reported under it, once."""
    assert found("the migration migrated", "migrate|migration") == ("migrate",)


@pytest.mark.parametrize(
    "text", ["fix src/plan.py", "see https://plan.example/plan", "in ./plan", "under plan/ today", "(plan.yaml)"]
)
def test_names_of_files_and_addresses_are_no_words(text: str) -> None:
    """A keyword in a path does not say what the work is."""
    assert found(text, "plan") == ()


def test_alternatives_with_a_slash_are_words() -> None:
    """`code/plan` in prose is two words, not a path."""
    assert found("code/plan", "plan", "code") == ("plan", "code")


@pytest.mark.parametrize("entry", ALL)
def test_every_listed_keyword_finds_itself(entry: str) -> None:
    """Each spelling in the tables is found under its entry's name."""
    for spelling in entry.split("|"):
        assert found(f"please {spelling} now", entry) == (entry.split("|", maxsplit=1)[0],)


@given(st.sampled_from([spelling for entry in ALL for spelling in entry.split("|")]), st.text("abcxyz", min_size=1))
def test_a_keyword_glued_to_letters_before_it_is_never_found(keyword: str, prefix: str) -> None:
    """Letters directly before a keyword make another word of it."""
    glued = prefix + keyword
    assert keyword not in found(glued, keyword) or glued == keyword


@given(st.text())
def test_any_text_can_be_searched(text: str) -> None:
    """No text makes the search fail, and what is found is in the table."""
    assert set(phrases.find(phrases.words(text), phrases.index(ALL))) <= {entry.split("|")[0] for entry in ALL}
