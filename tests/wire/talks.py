"""Generated talks: requests and answers made of what all formats share, for properties over codecs."""

import json

from hypothesis import strategies as st

from ostler.wire.talk import (
    Answer,
    Ask,
    Finish,
    Image,
    Json,
    Part,
    Text,
    Thinking,
    Tokens,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)
from tests.wire.talking import JSON_VALUES

# Text that a provider takes: not empty, no white space at its ends, and anything else, quotes and braces above all.
words = st.one_of(
    st.sampled_from(
        ['say "message_stop"', '{"done":true}', "data: [DONE]", "a\nb\r\nc", "ключ \u2028 \U0001f40e", "\\"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(lambda text: f"<{text}>"),
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
scalars = st.one_of(words, st.integers(-1000, 1000), st.booleans(), st.none())
arguments = st.dictionaries(names, scalars, max_size=3).map(lambda value: json.dumps(value, separators=(",", ":")))
images = st.builds(Image, media_type=st.just("image/png"), data=st.just("iVBORw0KGgo="))
texts = st.builds(Text, text=words)


@st.composite
def talks(draw: st.DrawFn) -> tuple[Turn, ...]:
    """Turns in the order that every format allows: at most one system turn, first; then user and assistant in turn."""
    turns = []
    if draw(st.booleans()):
        turns.append(Turn(role="system", parts=(draw(texts),)))
    calls = 0
    for _ in range(draw(st.integers(0, 3))):
        turns.append(Turn(role="user", parts=(draw(texts),)))
        used = [
            ToolUse(id=f"call_{calls + at}", name=draw(names), arguments=draw(arguments))
            for at in range(draw(st.integers(0, 2)))
        ]
        calls += len(used)
        turns.append(Turn(role="assistant", parts=(draw(texts), *used)))
        if used:
            results = [ToolResult(tool_use_id=use.id, parts=(draw(texts),), name=use.name) for use in used]
            turns += [Turn(role="user", parts=tuple(results)), Turn(role="assistant", parts=(draw(texts),))]
    last: tuple[Part, ...] = (draw(texts), draw(images)) if draw(st.booleans()) else (draw(texts),)
    return (*turns, Turn(role="user", parts=last))


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Requests made of what formats share."""
    schema: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    tools = tuple(
        Tool(name=name, description=draw(words), schema=schema)
        for name in draw(st.lists(names, max_size=2, unique=True))
    )
    return Ask(
        model=draw(names),
        turns=draw(talks()),
        tools=tools,
        tool_choice=draw(st.sampled_from([None, ToolChoice(mode="auto")])) if tools else None,
        max_output_tokens=draw(st.integers(1, 9000)),
        temperature=draw(st.none() | st.sampled_from([0.0, 0.25, 1.0])),
        top_p=draw(st.none() | st.sampled_from([0.5, 1.0])),
        stop=tuple(draw(st.lists(words, max_size=2))),
        stream=draw(st.booleans()),
    )


counts = st.integers(0, 10_000)


@st.composite
def answers(draw: st.DrawFn, *, thinking: bool = True) -> Answer:
    """Answers with whole counts, thinking first, then text, then calls."""
    parts: list[Part] = []
    if thinking and draw(st.booleans()):
        parts.append(Thinking(text=draw(words), signature=draw(st.sampled_from(["", "c2ln"]))))
    if draw(st.booleans()):
        parts.append(draw(texts))
    uses = [
        ToolUse(id=f"call_{at}", name=draw(names), arguments=draw(arguments)) for at in range(draw(st.integers(0, 2)))
    ]
    return Answer(
        id="an_1",
        model="m",
        parts=(*parts, *uses),
        finish=Finish.TOOLS if uses else draw(st.sampled_from([Finish.STOP, Finish.LENGTH])),
        tokens=Tokens(input_tokens=draw(counts), output_tokens=draw(counts)),
        created_s=1_700_000_000,
    )


def near(*fields: str, types: tuple[str, ...] = ()) -> st.SearchStrategy[object]:
    """JSON that is nearly what a format means: its own field names and words, with anything in them."""
    leaves = st.sampled_from(types) if types else st.text(max_size=5)
    keys = st.sampled_from(fields)
    return st.recursive(
        leaves | JSON_VALUES,
        lambda inner: st.dictionaries(keys, inner, max_size=6) | st.lists(inner, max_size=3),
        max_leaves=20,
    )


cuts = st.lists(st.integers(0, 5_000), max_size=12)
