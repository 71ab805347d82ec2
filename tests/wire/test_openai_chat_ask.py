"""Requests of chat completions: read from clients, written to endpoints."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_chat_request import STRICT, Dialect
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
    Image,
    Json,
    Refusal,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)
from tests.wire.openai_requests import AGENT, HELLO, body
from tests.wire.talking import JSON_VALUES, asks

CODEC = OpenAIChat()


def written(ask: Ask, codec: OpenAIChat = CODEC) -> Json:
    fields: Json = msgspec.json.decode(codec.encode_ask(ask).body)
    return fields


def ask_with(*parts: object, **fields: object) -> Ask:
    turn = {"role": "user", "parts": [{"type": "text", "text": "hello"}]}
    return msgspec.convert({"model": "auto", "turns": [turn]} | fields, Ask)


def test_a_request_of_an_agent_is_read_whole() -> None:
    """Roles, pictures, files, calls with their results and every wish find their place in the shared form."""
    ask = CODEC.decode_ask(msgspec.json.encode(AGENT))

    assert ask == Ask(
        model="auto",
        turns=(
            Turn(role="system", parts=(Text(text="be brief"),)),
            Turn(
                role="user",
                parts=(
                    Text(text="what is this?"),
                    Image(media_type="image/png", data="aGk=", detail="low"),
                    Image(url="https://example.org/a.png"),
                    Document(media_type="application/pdf", data="JVBE", name="a.pdf"),
                ),
            ),
            Turn(
                role="assistant",
                parts=(
                    Thinking(text="hm"),
                    ToolUse(id="c1", name="look", arguments='{"at": 1}'),
                    ToolUse(id="c2", name="look", arguments="{}"),
                ),
            ),
            Turn(
                role="user",
                parts=(
                    ToolResult(tool_use_id="c1", parts=(Text(text="a cat"),)),
                    ToolResult(tool_use_id="c2", parts=(Text(text="a dog"),)),
                    Text(text="and now?"),
                ),
            ),
        ),
        tools=(Tool(name="look", description="Look", schema={"type": "object"}),),
        tool_choice=ToolChoice(mode="tool", name="look"),
        parallel_tools=False,
        max_output_tokens=400,
        stop=("END",),
        shape=Shape(schema={"a": 1}, name="out", strict=True),
        effort=Effort(level="low"),
        stream=True,
        stream_counts=True,
        extra={
            "service_tier": "flex",
            "tools": [{"type": "custom", "custom": {"name": "shell"}}],
            "stream_options": {"include_obfuscation": False},
        },
        origin=Format.OPENAI_CHAT,
    )


def test_what_has_no_place_is_sent_on_in_its_own_format() -> None:
    """Read and written again, a request keeps its tools of other kinds and the fields nobody here knows."""
    ask = CODEC.decode_ask(msgspec.json.encode(AGENT))
    encoded = CODEC.encode_ask(ask)
    fields = msgspec.json.decode(encoded.body)

    assert encoded.dropped == ()
    assert fields["service_tier"] == "flex"
    assert fields["tools"][1] == {"type": "custom", "custom": {"name": "shell"}}
    assert fields["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert CODEC.decode_ask(encoded.body) == ask


def test_what_another_format_had_is_named_when_it_is_left_out() -> None:
    """Fields and tools of another format are not passed off as this one's."""
    ask = ask_with(
        origin=Format.ANTHROPIC.value,
        extra={"container": "c", "tools": [{"type": "web_search_20250305"}]},
        keep_alive="5m",
        effort={"budget_tokens": 4_000, "summary": "omitted"},
    )
    encoded = CODEC.encode_ask(ask)

    assert encoded.dropped == (
        "container", "tools (web_search_20250305)", "effort.budget_tokens", "effort.summary", "keep_alive",
    )  # fmt: skip
    assert msgspec.json.decode(encoded.body) == {
        "model": "auto",
        "messages": [HELLO],
        "reasoning_effort": "medium",
    }


@given(ask=asks())
def test_a_request_that_formats_share_survives_there_and_back(ask: Ask) -> None:
    """Written for an endpoint and read as a server would, it is the same request, and nothing was left out."""
    encoded = CODEC.encode_ask(ask)
    back = CODEC.decode_ask(encoded.body)

    assert encoded.dropped == ()
    assert back == msgspec.structs.replace(ask, origin=Format.OPENAI_CHAT)


PARAMS: TypeAdapter[object] = TypeAdapter(completion_create_params.CompletionCreateParamsNonStreaming)


@given(ask=asks())
def test_a_written_request_is_what_the_official_client_would_send(ask: Ask) -> None:
    """Every request written strictly has the types of the official package, and no field that it does not know."""
    fields = written(msgspec.structs.replace(ask, stream=False), OpenAIChat(STRICT))

    PARAMS.validate_python(fields)
    assert set(fields) <= set(completion_create_params.CompletionCreateParamsBase.__annotations__)


def test_an_endpoint_is_written_to_in_its_own_dialect() -> None:
    """Limit, samplers, thinking and lists of texts are said as the endpoint takes them."""
    ask = Ask(
        model="m",
        max_output_tokens=5,
        top_k=40,
        turns=(
            Turn(role="user", parts=(Text(text="a"), Text(text="b"))),
            Turn(role="assistant", parts=(Thinking(text="hm"), Text(text="c"))),
        ),
    )
    loose = written(ask)
    strict = OpenAIChat(STRICT).encode_ask(ask)
    flat = written(ask, OpenAIChat(Dialect(flat_text=True)))

    assert (loose["max_tokens"], loose["top_k"]) == (5, 40)
    assert msgspec.json.decode(strict.body)["max_completion_tokens"] == 5
    assert strict.dropped == ("thinking", "top_k")
    assert flat["messages"] == [
        {"role": "user", "content": "a\n\nb"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
    ]


def test_pictures_of_a_result_follow_it_in_a_message_of_the_user() -> None:
    """A tool message holds text alone; nothing may stand between a call and its results."""
    picture = Image(media_type="image/png", data="aGk=")
    ask = Ask(
        model="m",
        turns=(
            Turn(
                role="user",
                parts=(
                    Text(text="look"),
                    ToolResult(tool_use_id="c1", parts=(Text(text="done"), picture), is_error=True),
                    ToolResult(tool_use_id="c2"),
                ),
            ),
        ),
    )
    encoded = CODEC.encode_ask(ask)

    assert encoded.dropped == ("is_error",)
    assert msgspec.json.decode(encoded.body)["messages"] == [
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        },
    ]


def test_a_document_that_cannot_be_sent_is_refused_not_dropped() -> None:
    """An answer about a document that the model never saw would be worse than none."""
    ask = Ask(model="m", turns=(Turn(role="user", parts=(Document(url="https://example.org/a.pdf"),)),))

    with pytest.raises(InvalidInputError, match="send the content of the document"):
        CODEC.encode_ask(ask)


def test_plain_text_documents_are_written_as_text() -> None:
    """Every server reads text; few read files."""
    ask = Ask(
        model="m",
        turns=(Turn(role="user", parts=(Document(media_type="text/plain", data="42", name="notes"),)),),
    )

    assert written(ask)["messages"] == [{"role": "user", "content": "notes\n\n42"}]


def test_the_older_form_of_tools_is_read_as_tools() -> None:
    """`functions`, `function_call` and results by name become tools, a choice, and calls with ids that match."""
    ask = CODEC.decode_ask(
        body(
            functions=[{"name": "now", "parameters": {"type": "object"}}],
            function_call={"name": "now"},
            messages=[
                HELLO,
                {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
                {"role": "function", "name": "now", "content": "noon"},
            ],
        )
    )

    assert ask.legacy_functions
    assert ask.tools == (Tool(name="now", schema={"type": "object"}),)
    assert ask.tool_choice == ToolChoice(mode="tool", name="now")
    assert ask.turns[1].parts == (ToolUse(id="call_1", name="now", arguments="{}"),)
    assert ask.turns[2].parts == (ToolResult(tool_use_id="call_1", name="now", parts=(Text(text="noon"),)),)


@pytest.mark.parametrize(
    ("form", "shape"),
    [({"type": "text"}, None), ({"type": "json_object"}, Shape()), (None, None)],
)
def test_the_form_of_an_answer_is_read(form: object, shape: Shape | None) -> None:
    """Text is no form; any JSON object is one without a schema."""
    assert CODEC.decode_ask(body(response_format=form)).shape == shape


def test_counts_are_asked_for_only_where_the_client_did() -> None:
    """A stream without `include_usage` ends without counts."""
    assert CODEC.decode_ask(body(stream=True)).stream_counts is False
    assert CODEC.decode_ask(body(stream=True, stream_options={"include_usage": True})).stream_counts is True
    assert "stream_options" not in written(CODEC.decode_ask(body(stream=True)))


def test_a_refusal_in_the_history_stays_one() -> None:
    """Both places in which clients send it back are read."""
    said = CODEC.decode_ask(
        body(
            messages=[
                HELLO,
                {"role": "assistant", "refusal": "no"},
                HELLO,
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            ]
        )
    )

    assert said.turns[1].parts == said.turns[3].parts == (Refusal(text="no"),)
    assert written(said)["messages"][1] == {"role": "assistant", "content": None, "refusal": "no"}  # type: ignore[index]


WRONG = [
    ({"model": None}, "model", "is missing"),
    ({"model": 3}, "model", "must be a string, not a number"),
    ({"messages": []}, "messages", "at least one message"),
    ({"messages": ["hi"]}, "messages[0]", "must be an object"),
    ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0].role", "did you mean 'user'"),
    ({"messages": [HELLO, {"role": "user", "content": 4}]}, "messages[1].content", "a string or a list of parts"),
    ({"messages": [{"role": "user", "content": [{"type": "txt"}]}]}, "messages[0].content[0].type", "'text'"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "is missing"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages[0].content[0].type",
        "use a model that is served in this format",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:oops"}}]}]},
        "messages[0].content[0].image_url.url",
        "data:image/png;base64",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "messages[0].content[0].file.file_id",
        "send its content",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "the call that this is"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]}]},
        "messages[0].tool_calls[0].type",
        "cannot be translated",
    ),
    ({"max_tokens": 0}, "max_tokens", "at least 1"),
    ({"max_completion_tokens": 2.5}, "max_completion_tokens", "must be an integer"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"seed": 2**70}, "seed", "out of range"),
    ({"stream": "yes"}, "stream", "true or false"),
    ({"stop": [1]}, "stop", "a string or a list of strings"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "is empty"),
    ({"tool_choice": "always"}, "tool_choice", "valid: auto, none, required"),
    ({"tool_choice": {"type": "functon"}}, "tool_choice.type", "did you mean 'function'"),
    ({"response_format": {"type": "json_objct"}}, "response_format.type", "did you mean 'json_object'"),
]


@pytest.mark.parametrize(("fields", "where", "says"), WRONG, ids=[where for _, where, _ in WRONG])
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(fields: Json, where: str, says: str) -> None:
    """The field by its path, and the nearest thing that is valid."""
    with pytest.raises(InvalidInputError) as caught:
        CODEC.decode_ask(body(**fields))

    assert caught.value.where == where
    assert says in str(caught.value)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"\xff", b'"x"', b"[" * 5_000])
def test_a_body_that_is_no_json_object_is_refused_by_all(junk: bytes) -> None:
    """Reading, looking and renaming say that the body is wrong; nothing else is ever raised."""
    for read in (CODEC.decode_ask, CODEC.peek, lambda data: CODEC.renamed(data, "m")):
        with pytest.raises(InvalidInputError):
            read(junk)


FIELD_NAMES = st.sampled_from([
    "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call", "max_tokens", "stop",
    "response_format", "reasoning_effort", "user", "n", "seed", "top_k",
])  # fmt: skip
PART_NAMES = st.sampled_from([
    "role", "type", "content", "text", "image_url", "url", "file", "tool_calls", "function", "name", "id", "arguments",
    "tool_call_id", "refusal", "reasoning", "json_schema", "schema", "detail", "file_data",
])  # fmt: skip
PART_WORDS = st.sampled_from(["user", "assistant", "tool", "text", "image_url", "file", "function", "data:,", "data:x"])
SHAPED = st.recursive(
    JSON_VALUES | PART_WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PART_NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(fields=st.dictionaries(FIELD_NAMES, SHAPED, max_size=5))
def test_no_request_breaks_the_reader(fields: Json) -> None:
    """For arbitrary JSON the reader reads, or names the field that is wrong; what it has read can be written."""
    data = msgspec.json.encode({"model": "m"} | fields)
    try:
        ask = CODEC.decode_ask(data)
    except InvalidInputError as error:
        assert error.where.split(".")[0].split("[")[0] in fields or error.where in ("messages", "body")  # noqa: PT017
    else:
        CODEC.encode_ask(ask)


@given(data=st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever a client sends, it is told that its request is wrong."""
    with pytest.raises(InvalidInputError):
        CODEC.decode_ask(data)
