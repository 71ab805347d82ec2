"""Older messages become a summary that says what mattered, in the room it was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.context.compaction import extracted, instruction, is_due, split, transcript
from ostler.context.measure import usual
from ostler.context.messages import Message
from tests.context.talks import answered, asked, talks


def test_compaction_is_due_at_ticks_10_20_and_so_on() -> None:
    """Never at tick 0, and never with an interval of 0."""
    assert [tick for tick in range(41) if is_due(tick, 10)] == [10, 20, 30, 40]
    assert not any(is_due(tick, 0) for tick in range(41))


@given(talks(), st.integers(1, 12))
def test_a_split_loses_nothing_and_parts_nothing(talk: list[Message], keep: int) -> None:
    """Every message is on one side; calls are on the side of their results; the newest exchange stays."""
    halves = split(talk, keep)
    assert len(halves.older) + len(halves.kept) == len(talk)
    for side in (list(halves.older), list(halves.kept)):
        assert asked(side) == answered(side)
    assert str(halves.kept[-1]) == str(talk[-1])
    assert not any(message["role"] == "system" for message in halves.older)


@given(talks(), st.integers(0, 300), st.text(max_size=400))
def test_an_extract_keeps_to_its_room_and_is_the_same_each_time(
    talk: list[Message], tokens: int, previous: str
) -> None:
    """Deterministic, and never longer than it may be."""
    found = extracted(talk, previous, tokens, usual)
    assert usual(found) <= max(0, tokens)
    assert found == extracted(talk, previous, tokens, usual)


@given(talks())
def test_an_extract_only_says_what_was_said(talk: list[Message]) -> None:
    """Its lines are sentences of the talk."""
    said = " ".join(str(message["content"]) for message in talk)
    assert all(line in said for line in extracted(talk, "", 200, usual).splitlines())


def test_what_was_decided_and_what_failed_outlives_small_talk() -> None:
    """Words of decisions and errors, figures and paths are what is kept when there is little room."""
    talk: list[Message] = [
        {"role": "user", "content": "Good morning. I hope you slept well."},
        {"role": "assistant", "content": "Thank you, very kind of you."},
        {"role": "user", "content": "We decided on port 8443 because 8080 was taken."},
        {"role": "assistant", "content": "Lovely weather. The build failed in src/app.py with error 12."},
    ]
    found = extracted(talk, "", 27, usual)
    assert "port 8443" in found
    assert "src/app.py" in found
    assert "weather" not in found


def test_an_earlier_summary_is_summarised_again() -> None:
    """So a summary of summaries does not grow, and old decisions have their chance."""
    found = extracted([{"role": "user", "content": "ok"}], "We must keep the old gate.\nHello.", 7, usual)
    assert found == "We must keep the old gate."


def test_a_model_is_asked_with_the_summary_before_and_a_bounded_transcript() -> None:
    """Its prompt names the limit and stays in its room."""
    long: list[Message] = [{"role": "user", "content": "word " * 20_000}]
    asked_for = instruction(long, "Old summary.", 600, room=1_000, count=usual)
    assert "at most 450 words" in asked_for
    assert "Old summary." in asked_for
    assert usual(asked_for) < 1_200


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"role": "user", "content": "hi"}, "User: hi"),
        ({"role": "assistant", "content": [{"type": "text", "text": "yes"}]}, "Assistant: yes"),
        ({"role": "tool", "content": "42"}, "Tool: 42"),
        ({"role": "assistant", "content": None}, ""),
    ],
)
def test_a_transcript_says_who_said_what(message: Message, line: str) -> None:
    """In every form that content takes."""
    assert transcript([message]) == line
