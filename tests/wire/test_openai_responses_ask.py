"""Requests of Responses: read from clients, written to endpoints, looked at."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format, Peek
from ostler.wire.extra import own_extra
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_responses import OpenAIResponses
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
from tests.wire.talking import JSON_VALUES, asks

CODEC = OpenAIResponses()
CALL: Json = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":1}', "id": "fc_1"}


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "auto", "input": "hello"} | fields)


def written(ask: Ask) -> Json:
    fields: Json = msgspec.json.decode(CODEC.encode_ask(ask).body)
    return fields


AGENT: Json = {
    "model": "auto",
    "instructions": "be brief",
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 400,
    "parallel_tool_calls": False,
    "tool_choice": {"type": "function", "name": "look"},
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "out", "schema": {"a": 1}, "strict": True}},
    "tools": [
        {"type": "function", "name": "look", "description": "Look", "parameters": {"type": "object"}, "strict": None},
        {"type": "web_search"},
    ],
    "input": [
        {"role": "developer", "content": "no jokes"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "what is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
                {"type": "input_file", "file_url": "https://example.org/a.pdf"},
                {"type": "input_file", "filename": "n.txt", "file_data": "data:text/plain;base64,NDI="},
            ],
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
            "encrypted_content": "proof",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look", "annotations": []}],
        },
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"role": "user", "content": "and now?"},
    ],
}


def test_a_request_of_an_agent_is_read_whole() -> None:
    """Items of one side are one turn; what only this format knows is kept under its path."""
    ask = CODEC.decode_ask(msgspec.json.encode(AGENT))

    assert ask == Ask(
        model="auto",
        turns=(
            Turn(role="system", parts=(Text(text="be brief"),)),
            Turn(role="system", parts=(Text(text="no jokes"),)),
            Turn(
                role="user",
                parts=(
                    Text(text="what is this?"),
                    Image(media_type="image/png", data="aGk="),
                    Document(url="https://example.org/a.pdf"),
                    Document(media_type="text/plain", data="42", name="n.txt"),
                ),
            ),
            Turn(
                role="assistant",
                parts=(
                    Thinking(text="a\n\nb", signature="proof"),
                    Text(text="I look"),
                    ToolUse(id="c1", name="look", arguments='{"at":1}'),
                ),
            ),
            Turn(
                role="user",
                parts=(ToolResult(tool_use_id="c1", parts=(Text(text="a cat"),)), Text(text="and now?")),
            ),
        ),
        tools=(Tool(name="look", description="Look", schema={"type": "object"}),),
        tool_choice=ToolChoice(mode="tool", name="look"),
        parallel_tools=False,
        max_output_tokens=400,
        shape=Shape(schema={"a": 1}, name="out", strict=True),
        effort=Effort(level="high", summary="auto"),
        stream=True,
        extra={
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "text": {"verbosity": "low"},
            "tools": [{"type": "web_search"}],
            "input[2]": {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        },
        origin=Format.OPENAI_RESPONSES,
    )


def test_what_has_no_place_is_sent_on_in_its_own_format() -> None:
    """Read and written again, hosted tools, their items and unknown fields stand where they stood."""
    ask = CODEC.decode_ask(msgspec.json.encode(AGENT))
    encoded = CODEC.encode_ask(ask)
    fields = msgspec.json.decode(encoded.body)

    assert encoded.dropped == ()
    assert fields["input"][2] == {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert fields["tools"][1] == {"type": "web_search"}
    assert fields["text"] == AGENT["text"]
    assert fields["store"] is False
    assert CODEC.decode_ask(encoded.body) == ask


def test_what_another_format_cannot_take_is_named() -> None:
    """Wishes of this format alone are left out for an endpoint of another, and told."""
    ask = CODEC.decode_ask(msgspec.json.encode(AGENT | {"input": AGENT["input"][2:]}))  # type: ignore[index]

    assert OpenAIChat().encode_ask(ask).dropped == (
        "include",
        "input[0] (web_search_call)",
        "store",
        "text",
        "tools (web_search)",
        "thinking.signature",
        "effort.summary",
    )


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the earlier turns in `input`"),
        ({"conversation": "conv_1"}, "conversation", "send the earlier turns in `input`"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "send the text of the prompt"),
        ({"background": True}, "background", "without `background`"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "send it as a message"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c"}]}, "input[0]", "served in this format"),
    ],
)
def test_what_holds_part_of_the_talk_is_refused_for_another_format(fields: Json, where: str, says: str) -> None:
    """A model that never saw the earlier turns would answer something else; its own format takes them."""
    ask = CODEC.decode_ask(body(**fields))

    assert CODEC.encode_ask(ask).dropped == ()
    with pytest.raises(InvalidInputError, match="served in another format") as caught:
        OpenAIChat().encode_ask(ask)
    assert caught.value.where == where
    assert says in caught.value.remedy


def test_wishes_of_another_format_hold_no_talk() -> None:
    """A field that is called the same elsewhere is only left out."""
    ask = Ask(model="m", origin=Format.ANTHROPIC, extra={"prompt": "x"})

    assert own_extra(ask, Format.OPENAI_CHAT) == ({}, ("prompt",))


def told(ask: Ask) -> Ask:
    """As this format tells it: a tool always says whether it is strict, and counts always come."""
    tools = tuple(msgspec.structs.replace(tool, strict=bool(tool.strict)) for tool in ask.tools)
    return msgspec.structs.replace(ask, tools=tools, stream_counts=True)


@given(ask=asks())
def test_a_request_that_formats_share_survives_there_and_back(ask: Ask) -> None:
    """Written for an endpoint and read as a server would, it is the same request, and nothing was left out."""
    encoded = CODEC.encode_ask(ask)
    back = CODEC.decode_ask(encoded.body)

    assert encoded.dropped == ()
    assert back == msgspec.structs.replace(told(ask), origin=Format.OPENAI_RESPONSES)


PARAMS: TypeAdapter[object] = TypeAdapter(response_create_params.ResponseCreateParamsNonStreaming)


@given(ask=asks())
def test_a_written_request_is_what_the_official_client_would_send(ask: Ask) -> None:
    """Every request has the types of the official package, and no field that it does not know."""
    fields = written(msgspec.structs.replace(ask, stream=False))

    PARAMS.validate_python(fields)
    assert set(fields) <= set(response_create_params.ResponseCreateParamsBase.__annotations__)


def test_what_cannot_be_said_here_is_named() -> None:
    """Stop sequences, samplers and the proofs of other providers' thinking have no place."""
    ask = Ask(
        model="m",
        stop=("x",),
        seed=1,
        top_k=4,
        presence_penalty=0.5,
        turns=(
            Turn(role="user", parts=(Text(text="a"),), name="Ann"),
            Turn(role="assistant", parts=(Thinking(text="hm", signature="s"), Text(text="b"), Refusal(text="no"))),
        ),
        effort=Effort(budget_tokens=1_000),
        origin=Format.ANTHROPIC,
    )
    encoded = CODEC.encode_ask(ask)
    fields = msgspec.json.decode(encoded.body)

    assert set(encoded.dropped) == {
        "name", "thinking", "thinking.signature", "effort.budget_tokens", "top_k", "seed", "presence_penalty", "stop",
    }  # fmt: skip
    assert fields["reasoning"] == {"effort": "low"}
    assert fields["input"][1]["content"] == [
        {"type": "output_text", "text": "b", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ]


def test_thinking_shown_for_another_provider_is_known_when_it_returns() -> None:
    """Redacted thinking was told as encrypted content; read back it is what it was."""
    item: Json = {"type": "reasoning", "summary": [], "encrypted_content": "redacted:abc"}
    ask = CODEC.decode_ask(body(input=[item, {"type": "reasoning", "summary": []}, {"role": "user", "content": "x"}]))

    assert ask.turns[0].parts == (Thinking(redacted="abc"),)


def test_pictures_and_files_of_a_result_are_part_of_it() -> None:
    """Results may hold more than text here."""
    parts = (Text(text="see"), Image(url="https://example.org/a.png", detail="high"))
    ask = Ask(model="m", turns=(Turn(role="user", parts=(ToolResult(tool_use_id="c", parts=parts),)),))

    assert CODEC.decode_ask(CODEC.encode_ask(ask).body).turns == ask.turns


WRONG = [
    ({"model": ""}, "model", "is empty"),
    ({"input": None}, "input", "is missing or empty"),
    ({"input": []}, "input", "is missing or empty"),
    ({"input": 3}, "input", "a string or a list of items"),
    ({"input": ["x"]}, "input[0]", "must be an object"),
    ({"input": [{"role": "usr", "content": ""}]}, "input[0].role", "did you mean 'user'"),
    ({"input": [{"type": "function_cal"}]}, "input[0].type", "did you mean 'function_call'"),
    ({"input": [{"role": "user", "content": 1}]}, "input[0].content", "a string or a list of parts"),
    ({"input": [{"role": "user", "content": [{"type": "input_txt"}]}]}, "input[0].content[0].type", "'input_text'"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "is missing"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0].file_id",
        "send it as image_url",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain;base64,/w=="}]}]},
        "input[0].content[0].file_data",
        "text in UTF-8",
    ),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "the id that its result refers to"),
    ({"input": [{"type": "function_call_output"}]}, "input[0].call_id", "the call that this is the result of"),
    ({"max_output_tokens": 0}, "max_output_tokens", "at least 1"),
    ({"tools": [{}]}, "tools[0].type", "is missing"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "is missing"),
    ({"tool_choice": "any"}, "tool_choice", "valid: auto, none, required"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "is missing"),
    ({"text": {"format": {"type": "jsn_object"}}}, "text.format.type", "did you mean 'json_object'"),
    ({"reasoning": {"effort": 3}}, "reasoning.effort", "must be a string"),
]


@pytest.mark.parametrize(("fields", "where", "says"), WRONG, ids=[f"{where} {says[:9]}" for _, where, says in WRONG])
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(fields: Json, where: str, says: str) -> None:
    """The field by its path, and the nearest thing that is valid."""
    with pytest.raises(InvalidInputError) as caught:
        CODEC.decode_ask(body(**fields))

    assert caught.value.where == where
    assert says in str(caught.value)


FIELD_NAMES = st.sampled_from([
    "input", "instructions", "stream", "tools", "tool_choice", "max_output_tokens", "text", "reasoning", "user",
    "previous_response_id", "input[0]", "input[x]", "prompt",
])  # fmt: skip
PART_NAMES = st.sampled_from([
    "role", "type", "content", "text", "image_url", "file_data", "output", "call_id", "name", "arguments", "summary",
    "encrypted_content", "refusal", "format", "schema", "effort",
])  # fmt: skip
PART_WORDS = st.sampled_from([
    "user", "assistant", "message", "function_call", "function_call_output", "reasoning", "input_text", "input_image",
    "output_text", "web_search_call", "data:,", "json_schema", "function",
])  # fmt: skip
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
        where = error.where.split(".")[0].split("[")[0]
        assert where in fields or error.where in ("input", "body")  # noqa: PT017
    else:
        CODEC.encode_ask(ask)


def test_a_look_finds_what_a_decision_needs() -> None:
    """Model, stream, limit, tools, pictures, thinking and size, without reading the whole."""
    data = msgspec.json.encode(AGENT)

    peek = CODEC.peek(data)

    assert msgspec.structs.replace(peek, prompt_chars=0) == Peek(
        model="auto", stream=True, max_output_tokens=400, tools=True, images=True, thinking=True
    )
    assert 150 < peek.prompt_chars < len(data)
    assert CODEC.peek(body()) == Peek(model="auto", prompt_chars=5)


@pytest.mark.parametrize(
    ("data", "where"),
    [(b"{}", "model"), (b'{"model":""}', "model"), (b'{"model":"m","input":[3]}', "input[0]"), (b"x", "body")],
)
def test_a_look_names_the_field_that_is_wrong(data: bytes, where: str) -> None:
    """A request that cannot even be routed is refused with the place of its mistake."""
    with pytest.raises(InvalidInputError) as caught:
        CODEC.peek(data)

    assert caught.value.where == where


def test_renaming_changes_the_name_alone() -> None:
    """All other values stay."""
    assert CODEC.renamed(b'{"input":[ "model" ],"model":"a"}', "b") == b'{"input":[ "model" ],"model":"b"}'
