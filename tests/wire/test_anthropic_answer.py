"""Answers and errors of the Messages API, whole."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from anthropic.types.shared import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.anthropic import Anthropic
from ostler.wire.anthropic_encode import tool_id
from ostler.wire.classify import classify_answer
from ostler.wire.codec import Fault
from ostler.wire.talk import Answer, Ask, Finish, Refusal, Text, Thinking, Tokens, ToolUse
from tests.wire.talks import answers, near, words

CODEC = Anthropic()
ASK = Ask(model="m")
WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHh4"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": [1, 2.50]}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 2000,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    },
}


def read(**fields: object) -> Answer:
    return CODEC.decode_answer(json.dumps(WHOLE | fields).encode())


def written(answer: Answer) -> dict[str, Any]:
    """The body, once the vendor's own type has taken it."""
    body = CODEC.encode_answer(answer, ASK)
    Message.model_validate_json(body)
    value: dict[str, Any] = json.loads(body)
    return value


def test_an_answer_is_understood_with_totals() -> None:
    """Thinking, text and calls in order; what was read from and written to the cache is part of the input."""
    assert read() == Answer(
        id="msg_1",
        model="claude-x",
        parts=(
            Thinking(text="hm", signature="c2ln"),
            Thinking(redacted="eHh4"),
            Text(text="Let me look."),
            ToolUse(id="toolu_1", name="look", arguments='{"x": [1, 2.5]}'),
        ),
        finish=Finish.TOOLS,
        tokens=Tokens(
            input_tokens=2103,
            cache_read_tokens=2000,
            cache_write_tokens=100,
            output_tokens=50,
            reasoning_tokens=20,
        ),
    )


def test_an_answer_is_written_as_it_was_read() -> None:
    """Reading and writing lose nothing."""
    assert written(read()) == WHOLE


@given(answer=answers())
def test_what_formats_share_survives_there_and_back(answer: Answer) -> None:
    """An answer is the same after it was written and read; this format says no time of creation."""
    body = CODEC.encode_answer(answer, ASK)
    Message.model_validate_json(body)
    back = CODEC.decode_answer(body)

    assert (back.id, back.model, back.parts, back.finish) == (answer.id, answer.model, answer.parts, answer.finish)
    assert (back.tokens.input_tokens, back.tokens.output_tokens) == (
        answer.tokens.input_tokens,
        answer.tokens.output_tokens,
    )


counts = st.integers(0, 10_000)


@given(plain=counts, read_tokens=counts, written_tokens=counts, output=counts)
def test_counts_are_converted_exactly_both_ways(plain: int, read_tokens: int, written_tokens: int, output: int) -> None:
    """Their counts exclude the cache, ours include it; none is lost by going back and forth."""
    usage = {
        "input_tokens": plain,
        "cache_read_input_tokens": read_tokens,
        "cache_creation_input_tokens": written_tokens,
        "output_tokens": output,
    }
    answer = read(usage=usage)

    assert answer.tokens.input_tokens == plain + read_tokens + written_tokens
    assert written(answer)["usage"] == usage


def test_counts_that_nobody_knows_are_zero_where_a_number_is_demanded() -> None:
    """The API's own types demand input and output."""
    assert written(Answer(id="a", model="m", parts=(Text(text="x"),)))["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": None,
        "output_tokens": 0,
    }


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("max_tokens", Finish.LENGTH),
        ("model_context_window_exceeded", Finish.CONTEXT),
        ("tool_use", Finish.TOOLS),
        ("refusal", Finish.REFUSAL),
        ("pause_turn", Finish.PAUSE),
        ("a_word_of_tomorrow", Finish.STOP),
        (None, Finish.STOP),
    ],
)
def test_each_stop_reason_has_its_meaning(reason: str | None, finish: Finish) -> None:
    """Known reasons are told apart; one that nobody knows yet is an end."""
    assert read(stop_reason=reason).finish is finish


@pytest.mark.parametrize("finish", list(Finish))
def test_each_finish_has_a_stop_reason(finish: Finish) -> None:
    """What is written means the same when it is read."""
    assert read(**written(Answer(id="a", model="m", parts=(Text(text="x"),), finish=finish))).finish is finish


def test_a_stop_sequence_is_named() -> None:
    """A client learns which of its sequences ended the answer, even an empty one."""
    body = written(Answer(id="a", model="m", stop_sequence="END"))

    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")
    assert read(**body).stop_sequence == "END"


def test_calls_of_tools_are_never_called_an_end() -> None:
    """Clients go by the stop reason: some engines end a call with a plain `stop`."""
    assert written(Answer(id="a", model="m", parts=(ToolUse(id="t", name="x"),)))["stop_reason"] == "tool_use"


def test_a_refusal_of_another_format_becomes_text() -> None:
    """The words reach the client and the stop reason says what they are."""
    body = written(Answer(id="a", model="m", parts=(Refusal(text="I will not."),)))

    assert body["content"] == [{"type": "text", "text": "I will not."}]
    assert body["stop_reason"] == "refusal"


def test_a_refusal_without_content_is_told_in_its_explanation() -> None:
    """An empty answer says nothing; its stop details do."""
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    refused = read(content=[], stop_reason="refusal", stop_details=details)

    assert (refused.parts, refused.finish) == ((Refusal(text="Not this."),), Finish.REFUSAL)
    assert read(content=[], stop_reason="refusal", stop_details=None).parts == ()


def test_blocks_of_the_providers_own_tools_are_passed_over() -> None:
    """What it did with its own tools has no place in other formats; what it says does."""
    content = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s1",
            "content": [{"type": "web_search_result", "url": "https://x", "title": "X", "encrypted_content": "y"}],
        },
        {"type": "text", "text": "found", "citations": [{"type": "char_location"}]},
    ]

    assert read(content=content, stop_reason="end_turn").parts == (Text(text="found"),)


@given(arguments=st.one_of(words, st.sampled_from(["", "[1]", '{"a":1}', '{"a"', "null"])))
def test_any_arguments_are_an_object_for_the_client(arguments: str) -> None:
    """A model's broken JSON never breaks the answer."""
    (block,) = written(Answer(id="a", model="m", parts=(ToolUse(id="f:0", name="x", arguments=arguments),)))["content"]

    assert isinstance(block["input"], dict)
    assert block["id"] == tool_id("f:0")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"content":"x"}', b'{"type":"message","usage":[]}', b"\xff\xfe", b"[" * 99_999],
)
def test_what_is_no_answer_is_a_malformed_one(body: bytes) -> None:
    """Another program answered, or a proxy: that is a failure of the endpoint."""
    with pytest.raises(CallError) as caught:
        CODEC.decode_answer(body)
    assert caught.value.kind is FailureClass.MALFORMED


@given(body=near("type", "content", "usage", "id", "text", "input", types=("message", "text", "tool_use", "error")))
def test_any_json_is_an_answer_or_a_failure_of_the_call(body: object) -> None:
    """Nothing but `CallError` comes out of an answer, whatever it is."""
    try:
        CODEC.decode_answer(json.dumps(body).encode())
    except CallError:
        return


def test_an_error_with_a_good_status_is_still_an_error() -> None:
    """Some proxies say 200 and then the error, in their own words."""
    with pytest.raises(CallError, match="slow down") as caught:
        CODEC.decode_answer(b'{"error":{"code":"rate_limit_exceeded","message":"slow down"}}')
    assert caught.value.kind is FailureClass.RATE_LIMIT
    with pytest.raises(CallError, match="Overloaded") as caught:
        CODEC.decode_answer(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert caught.value.kind is FailureClass.OVERLOADED


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (FailureClass.CAPABILITY, 400, "invalid_request_error"),
        (FailureClass.CONTEXT_TOO_LONG, 400, "invalid_request_error"),
        (FailureClass.AUTH, 401, "authentication_error"),
        (FailureClass.QUOTA, 402, "billing_error"),
        (FailureClass.POLICY, 403, "permission_error"),
        (FailureClass.MODEL_MISSING, 404, "not_found_error"),
        (FailureClass.RATE_LIMIT, 429, "rate_limit_error"),
        (FailureClass.SERVER, 500, "api_error"),
        (FailureClass.AUTH, 502, "api_error"),
        (FailureClass.NO_ENDPOINT, 503, "overloaded_error"),
        (FailureClass.TIMEOUT, 504, "timeout_error"),
        (FailureClass.OVERLOADED, 529, "overloaded_error"),
    ],
)
def test_a_failure_is_told_in_the_apis_own_words(kind: FailureClass, status: int, said: str) -> None:
    """The vendor's client raises the right exception, and shows our message and our word for it."""
    body = CODEC.encode_fault(Fault(kind=kind, status=status, message="It failed.", code="no_route"))
    error = ErrorResponse.model_validate_json(body).error

    assert (error.type, error.message) == (said, "It failed.")
    assert json.loads(body)["error"]["code"] == "no_route"


def test_a_body_that_is_too_large_has_its_own_word() -> None:
    """413 is `request_too_large` in the API's documentation."""
    body = CODEC.encode_fault(Fault(kind=FailureClass.CONTEXT_TOO_LONG, status=413, message="too big"))

    assert json.loads(body)["error"] == {"type": "request_too_large", "message": "too big"}


@pytest.mark.parametrize(
    "kind", [FailureClass.RATE_LIMIT, FailureClass.QUOTA, FailureClass.AUTH, FailureClass.OVERLOADED]
)
def test_a_failure_means_the_same_to_the_next_gateway(kind: FailureClass) -> None:
    """Another of our kind that stands before us reads the class that we meant."""
    status = {
        FailureClass.RATE_LIMIT: 429,
        FailureClass.QUOTA: 402,
        FailureClass.AUTH: 401,
        FailureClass.OVERLOADED: 529,
    }
    body = CODEC.encode_fault(Fault(kind=kind, status=status[kind], message="It failed."))

    assert classify_answer(status[kind], {}, body, 0).kind is kind
