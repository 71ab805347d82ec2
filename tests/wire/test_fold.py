"""Pieces of a stream become one answer, and an answer becomes such pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.wire.fold import Fold, fold, pieces
from ostler.wire.talk import (
    Answer,
    Counted,
    Ended,
    Finish,
    Part,
    Piece,
    Refusal,
    RefusalPiece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
    ToolUse,
)

WORDS = st.text(min_size=1, max_size=12)
COUNT = st.none() | st.integers(0, 10_000)
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=WORDS),
    st.builds(Refusal, text=WORDS),
    st.builds(Thinking, text=WORDS, signature=st.just("") | WORDS),
    st.builds(Thinking, redacted=WORDS),
    st.builds(ToolUse, id=WORDS, name=WORDS, arguments=st.sampled_from(["{}", '{"a": 1}', '{"half'])),
)


def told_apart(parts: list[Part]) -> tuple[Part, ...]:
    """Without the second of two neighbours that a stream would run together."""
    kept: list[Part] = []
    for part in parts:
        last = kept[-1] if kept else None
        same = type(part) is type(last) and not isinstance(part, ToolUse)
        open_thinking = isinstance(last, Thinking) and not last.signature and not last.redacted
        redacted = isinstance(part, Thinking) and bool(part.redacted)
        if not same or (isinstance(part, Thinking) and (redacted or not open_thinking)):
            kept.append(part)
    return tuple(kept)


ANSWERS = st.builds(
    Answer,
    id=st.text(max_size=5),
    model=st.text(max_size=5),
    parts=st.lists(PARTS, max_size=6).map(told_apart),
    finish=st.sampled_from(Finish),
    stop_sequence=st.none() | WORDS,
    tokens=st.builds(Tokens, input_tokens=COUNT, output_tokens=COUNT, cache_read_tokens=COUNT),
    created_s=st.none() | st.integers(0, 2_000_000_000),
)


@given(answer=ANSWERS)
def test_an_answer_cut_into_pieces_folds_to_itself(answer: Answer) -> None:
    """Streaming a whole answer and collecting the stream loses nothing and adds nothing."""
    assert fold(pieces(answer)) == answer


@given(answer=ANSWERS, cuts=st.lists(st.integers(0, 12), max_size=8))
def test_the_size_of_pieces_does_not_show(answer: Answer, cuts: list[int]) -> None:
    """Text, thinking and arguments may come in pieces of any length, also empty ones."""
    small: list[Piece] = []
    for piece in pieces(answer):
        small += shorter(piece, cuts)

    assert fold(small) == answer


def shorter(piece: Piece, cuts: list[int]) -> list[Piece]:
    whole = ""
    if isinstance(piece, TextPiece | RefusalPiece | ThinkingPiece):
        whole = piece.text
    elif isinstance(piece, ToolPiece):
        whole = piece.arguments
    if not whole:
        return [piece]
    marks = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    texts = [whole[a:b] for a, b in pairwise(marks)]
    if isinstance(piece, ToolPiece):
        return [ToolPiece(index=piece.index, arguments=text) for text in texts]
    assert isinstance(piece, TextPiece | RefusalPiece | ThinkingPiece)
    return [type(piece)(text=text) for text in texts]


def test_calls_whose_arguments_alternate_are_told_apart_by_their_index() -> None:
    """Two calls written at the same time keep their own arguments and the order in which they began."""
    answer = fold([
        ToolStarted(index=0, id="a", name="look"),
        ToolStarted(index=1, id="b", name="tell"),
        ToolPiece(index=1, arguments='{"to":'),
        ToolPiece(index=0, arguments='{"at": 1}'),
        ToolPiece(index=1, arguments=" 2}"),
        Ended(finish=Finish.TOOLS),
    ])  # fmt: skip

    assert answer.parts == (
        ToolUse(id="a", name="look", arguments='{"at": 1}'),
        ToolUse(id="b", name="tell", arguments='{"to": 2}'),
    )


def test_a_call_without_arguments_has_the_empty_object() -> None:
    """Servers that send nothing, or an empty text, for a tool without parameters mean an empty object."""
    silent = fold([ToolStarted(index=0, id="a", name="now"), Ended(finish=Finish.TOOLS)])
    empty = fold([ToolStarted(index=0, id="a", name="now"), ToolPiece(index=0, arguments="")])

    assert silent.parts == empty.parts == (ToolUse(id="a", name="now", arguments="{}"),)


def test_a_signature_ends_the_thinking_it_proves() -> None:
    """Two signed thoughts stay two; a signature without shown thinking is a thought of its own."""
    answer = fold([
        ThinkingPiece(text="one"),
        ThinkingPiece(signature="s1"),
        ThinkingPiece(text="two"),
        ThinkingPiece(signature="s2"),
        ThinkingPiece(signature="s3"),
    ])  # fmt: skip

    assert answer.parts == (
        Thinking(text="one", signature="s1"),
        Thinking(text="two", signature="s2"),
        Thinking(signature="s3"),
    )


def test_later_counts_replace_only_what_they_name() -> None:
    """Input counted at the start and output counted at the end are one account."""
    answer = fold([Counted(tokens=Tokens(input_tokens=7)), Counted(tokens=Tokens(output_tokens=3))])

    assert answer.tokens == Tokens(input_tokens=7, output_tokens=3)


@pytest.mark.parametrize(
    ("seen", "ended"),
    [((Started(id="x"), TextPiece(text="half")), False), ((Started(id="x"), Ended(finish=Finish.LENGTH)), True)],
)
def test_a_fold_knows_whether_the_model_was_done(seen: tuple[Piece, ...], ended: bool) -> None:
    """An answer taken early says what came, and that it is not all."""
    whole = Fold()
    for piece in seen:
        whole.add(piece)

    assert whole.ended is ended
    assert whole.answer().id == "x"
