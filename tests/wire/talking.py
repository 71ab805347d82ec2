"""Generated requests and answers in the shared form, and cuts of streams, for the tests of every codec."""

import string
from itertools import pairwise

import msgspec
from hypothesis import strategies as st

from ostler.wire.codec import StreamReader
from ostler.wire.talk import (
    Answer,
    Ask,
    Document,
    Effort,
    Finish,
    Image,
    Json,
    Part,
    Piece,
    Shape,
    Text,
    Thinking,
    Tokens,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)

WORDS = st.text(min_size=1, max_size=12)
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
COUNTS = st.integers(0, 100_000)
SCHEMAS = st.sampled_from([
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    {"type": "object", "properties": {"model": {"enum": ["a", "b"]}}},
])  # fmt: skip
ARGUMENTS = st.sampled_from(["{}", '{"city": "Ulm"}', '{"quote": "\\"}"}', '{"deep": {"a": [1, {"b": null}]}}'])

TEXTS = st.builds(Text, text=WORDS)
IMAGES = st.builds(
    Image, media_type=st.sampled_from(["image/png", "image/webp"]), data=st.just("aGFsbG8=")
) | st.builds(Image, url=NAMES.map(lambda name: f"https://example.org/{name}.png"))
DOCUMENTS = st.builds(Document, media_type=st.just("application/pdf"), data=st.just("JVBERg=="), name=NAMES)
CALLS = st.builds(ToolUse, id=NAMES, name=NAMES, arguments=ARGUMENTS)
RESULTS = st.builds(ToolResult, tool_use_id=NAMES, parts=st.lists(TEXTS, max_size=2).map(tuple))
EFFORTS = st.just(Effort(enabled=False)) | st.builds(Effort, level=st.sampled_from(["low", "medium", "high"]))
SHAPES = st.just(Shape()) | st.builds(Shape, schema=SCHEMAS, name=NAMES, strict=st.booleans())
TOOLS = st.builds(
    Tool, name=NAMES, description=st.just("") | WORDS, schema=SCHEMAS, strict=st.sampled_from([None, True, False])
)
CHOICES = st.builds(ToolChoice, mode=st.sampled_from(["auto", "none", "required"])) | st.builds(
    ToolChoice, mode=st.just("tool"), name=NAMES
)


@st.composite
def turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    """A talk as all formats can have it: no user turn stands right behind results of tools, as they are one."""
    found: list[Turn] = []
    if draw(st.booleans()):
        found.append(Turn(role="system", parts=(draw(TEXTS),)))
    for _ in range(draw(st.integers(1, 3))):
        said: list[Part] = draw(st.lists(TEXTS | IMAGES | DOCUMENTS, min_size=1, max_size=3))
        found.append(Turn(role="user", parts=tuple(said)))
        if draw(st.booleans()):
            calls = draw(st.lists(CALLS, min_size=1, max_size=2))
            opening: list[Part] = draw(st.lists(TEXTS, max_size=1))
            found.append(Turn(role="assistant", parts=(*opening, *calls)))
            results: list[Part] = draw(st.lists(RESULTS, min_size=1, max_size=2))
            found.append(Turn(role="user", parts=(*results, *draw(st.lists(TEXTS, max_size=1)))))
            found.append(Turn(role="assistant", parts=(draw(TEXTS),)))
    return tuple(found)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """A request that uses what the formats share."""
    stream = draw(st.booleans())
    return Ask(
        model=draw(NAMES),
        turns=draw(turns()),
        tools=tuple(draw(st.lists(TOOLS, max_size=2))),
        tool_choice=draw(st.none() | CHOICES),
        parallel_tools=draw(st.none() | st.booleans()),
        max_output_tokens=draw(st.none() | st.integers(1, 10_000)),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        shape=draw(st.none() | SHAPES),
        effort=draw(st.none() | EFFORTS),
        stream=stream,
        stream_counts=draw(st.booleans()) if stream else True,
        user=draw(st.just("") | NAMES),
    )


TOKENS = st.just(Tokens()) | st.builds(
    Tokens,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=st.none() | COUNTS,
    reasoning_tokens=st.none() | COUNTS,
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """An answer as all formats can have it: thinking, then text, then calls."""
    parts: list[Part] = []
    if draw(st.booleans()):
        parts.append(Thinking(text=draw(WORDS)))
    if draw(st.booleans()):
        parts.append(Text(text=draw(WORDS)))
    calls = draw(st.lists(CALLS, max_size=2, unique_by=lambda call: call.id))
    return Answer(
        id=draw(NAMES),
        model=draw(NAMES),
        created_s=draw(st.integers(1, 2_000_000_000)),
        parts=(*parts, *calls),
        finish=Finish.TOOLS if calls else draw(st.sampled_from([Finish.STOP, Finish.LENGTH])),
        tokens=draw(TOKENS),
    )


CUTS = st.lists(st.integers(0, 4_000), max_size=8)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in chunks, cut at these positions."""
    marks = sorted({mark % (len(data) + 1) for mark in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


def read(reader: StreamReader, chunks: list[bytes]) -> list[Piece]:
    """All pieces of a stream that came in these chunks."""
    pieces = [piece for chunk in chunks for piece in reader.feed(chunk)]
    return pieces + reader.end()


def events_of(data: bytes) -> list[Json]:
    """The events of a stream in which each has a name."""
    return [msgspec.json.decode(block.split(b"\ndata: ")[1]) for block in data.split(b"\n\n") if block]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
