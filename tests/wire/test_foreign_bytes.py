"""The codecs on bytes that were not made by them: written by hand after the documentation of each format's maker.

The same bytes play behind the gateway (`tests.gateway`); here it is seen at once which side a mistake is on.
"""

import json

import pytest

from ostler.domain.calls import CallError
from ostler.wire.codec import Codec, Format
from ostler.wire.fold import fold
from ostler.wire.formats import codec
from ostler.wire.talk import Answer, Finish, Piece, Text, Thinking, Tokens, ToolUse
from tests.gateway.dialects import ANSWER_TOKENS, CACHED_TOKENS, DIALECTS, PROMPT_TOKENS, AnswerDialect, Said, Tool
from tests.gateway.plays import SERVER

TOOLS = (Tool("call_1", "weather", {"city": "Bonn"}), Tool("call_2", "weather", {"city": "Köln"}))
RICH = Said(text="I look.", thinking="What is asked?", tools=TOOLS, finish="tools")
FORMATS = {"openai": Format.OPENAI_CHAT, "anthropic": Format.ANTHROPIC, "ollama": Format.OLLAMA_CHAT}


def spoken() -> list[str]:
    """The upstreams whose format has a codec."""
    names = []
    for name, form in FORMATS.items():
        try:
            codec(form)
        except LookupError:
            continue
        names.append(name)
    return names


@pytest.fixture(params=spoken())
def dialect(request: pytest.FixtureRequest) -> AnswerDialect:
    return DIALECTS[request.param]


def codec_of(dialect: AnswerDialect) -> Codec:
    return codec(FORMATS[dialect.name])


def read(dialect: AnswerDialect, raw: bytes, step: int) -> tuple[list[Piece], bool]:
    """The pieces of a stream that comes in chunks of `step` bytes, and whether it ended well."""
    reader = codec_of(dialect).reader()
    pieces = [piece for at in range(0, len(raw), step) for piece in reader.feed(raw[at : at + step])]
    return pieces + reader.end(), reader.done


def assert_rich(answer: Answer, dialect: AnswerDialect) -> None:
    calls = [part for part in answer.parts if isinstance(part, ToolUse)]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [(t.name, t.arguments) for t in TOOLS]
    assert len({call.id for call in calls}) == 2
    assert "".join(part.text for part in answer.parts if isinstance(part, Text)) == RICH.text
    assert "".join(part.text for part in answer.parts if isinstance(part, Thinking)) == RICH.thinking
    assert answer.finish is Finish.TOOLS
    assert (answer.tokens.input_tokens, answer.tokens.output_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
    if dialect.name != "ollama":
        assert answer.tokens.cache_read_tokens == CACHED_TOKENS


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_stream_is_read_however_it_is_cut(dialect: AnswerDialect, step: int) -> None:
    """Thinking, text, parallel tools, finish and counts, byte by byte or all at once."""
    pieces, done = read(dialect, b"".join(dialect.frames(RICH)), step)

    assert done
    assert_rich(fold(pieces), dialect)


def test_a_whole_answer_is_read(dialect: AnswerDialect) -> None:
    """The same as its stream."""
    assert_rich(codec_of(dialect).decode_answer(json.dumps(dialect.whole(RICH)).encode()), dialect)


def test_a_stream_without_its_end_marker_is_not_done(dialect: AnswerDialect) -> None:
    """For who reads it and for who only watches it."""
    raw = b"".join(dialect.frames(RICH)[: -dialect.end_markers])
    tap = codec_of(dialect).tap()

    _, done = read(dialect, raw, 50)
    tap.feed(raw)

    assert not done
    assert not tap.done


def test_a_watcher_sees_what_a_reader_sees(dialect: AnswerDialect) -> None:
    """End, finish and counts, without a piece being made."""
    tap = codec_of(dialect).tap()

    for frame in dialect.frames(RICH):
        tap.feed(frame)

    assert tap.done
    assert tap.content
    assert tap.finish == Finish.TOOLS
    assert tap.tokens.over(Tokens()).output_tokens == ANSWER_TOKENS


def test_openings_are_no_content(dialect: AnswerDialect) -> None:
    """A head and a ping are not the first token: until it comes another endpoint may still answer."""
    tap = codec_of(dialect).tap()

    for frame in dialect.frames(RICH)[: dialect.opening_frames]:
        tap.feed(frame)

    assert not tap.content


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("broken", ["error", "malformed"])
def test_an_error_and_nonsense_in_a_stream_are_raised(dialect: AnswerDialect, broken: str, *, watched: bool) -> None:
    """Not passed over, by neither side."""
    bad = dialect.error_frame(SERVER) if broken == "error" else dialect.malformed_frame()
    side = codec_of(dialect).tap() if watched else codec_of(dialect).reader()
    for frame in dialect.frames(RICH)[:4]:
        side.feed(frame)

    with pytest.raises(CallError):
        side.feed(bad)
