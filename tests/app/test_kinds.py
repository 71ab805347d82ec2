"""What comes with the program about types of work: as the script makes it, and as good as it says."""

import pytest

from ostler.app.kinds import shipped_kinds, shipped_reader
from ostler.domain.tasks import TaskSpec
from ostler.learning.kinds import learn_kinds, read
from ostler.routing.classify import classify
from scripts import train_types

TYPES = {
    *("architecture", "bugfix", "code-review", "content", "deployment", "docs", "feature"),
    *("planning", "refactor", "research", "security", "seo", "summarization", "testing"),
}


def test_the_file_is_what_the_script_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody edits weights by hand."""
    monkeypatch.setattr("sys.argv", ["train_types.py", "--check"])
    assert train_types.main() == 0
    assert set(shipped_kinds().weights) == TYPES


def test_sentences_that_were_held_out_are_mostly_told_right() -> None:
    """Of the sentences by hand, by the phrases alone: three in four right, nine in ten of those that are answered."""
    hand = train_types.by_hand()
    right, answered, good = train_types.judged(train_types.pruned(learn_kinds(train_types.filled())), hand)
    assert right / len(hand) > 0.75
    assert answered / len(hand) > 0.7
    assert good / answered > 0.85


def test_every_phrase_is_of_a_type_that_has_sentences() -> None:
    """Both files speak of the same types, and each has enough of both."""
    hand, made = train_types.by_hand(), train_types.filled()
    assert {kind for kind, _ in hand} == {kind for kind, _ in made} == TYPES
    for kind in TYPES:
        assert sum(one == kind for one, _ in hand) >= 30
        assert sum(one == kind for one, _ in made) >= 75
    assert not any("{" in text for _, text in made)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("fix the crash when the config file is missing", "bugfix"),
        ("write unit tests for the tokenizer", "testing"),
        ("summarise the attached report in five bullets", "summarization"),
        ("check our login for vulnerabilities", "security"),
        ("write a blog post about our new office", "content"),
    ],
)
def test_plain_requests_are_told_by_the_shipped_weights(words: str, kind: str) -> None:
    """As a new hub does it."""
    found = classify(TaskSpec(id="t", prompt=words), reader=shipped_reader())
    assert (found.task_type, found.type_source) == (kind, "learned")
    assert found.type_confidence >= 0.6


@pytest.mark.parametrize("words", ["hello", "zebra umbrella Lisbon seventeen", "ok thanks"])
def test_what_is_like_nothing_known_stays_unknown(words: str) -> None:
    """The answer is the default type, its source `none`, with what came nearest among the signals."""
    found = classify(TaskSpec(id="t", prompt=words), reader=shipped_reader())
    assert (found.task_type, found.type_source) == ("general", "none")
    assert found.type_confidence < 0.6
    assert any("too little to go by" in signal for signal in found.signals)


def test_reading_costs_no_more_than_a_millisecond() -> None:
    """A bound on the work, not on the clock: a long text is read as far as a short one."""
    long, short = "fix the crash " * 5_000, "fix the crash " * 80
    assert len(read(long)) <= 2 * len(read(short))
