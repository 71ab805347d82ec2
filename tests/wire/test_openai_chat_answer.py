"""Whole chat completions: read from servers of every temper, written as the official client expects."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.classify import classify_answer
from ostler.wire.codec import Fault
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.talk import Answer, Ask, Finish, Json, Refusal, Text, Thinking, Tokens, ToolUse
from tests.wire.talking import JSON_VALUES, answers

CODEC = OpenAIChat()
ASK = Ask(model="auto")


def reply(message: Json, finish: str | None = "stop", **fields: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    base = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice]}
    return msgspec.json.encode(base | fields)


@given(answer=answers())
def test_an_answer_survives_there_and_back(answer: Answer) -> None:
    """Written for a client and read as an endpoint's, it is the same answer."""
    assert CODEC.decode_answer(CODEC.encode_answer(answer, ASK)) == answer


@given(answer=answers())
def test_a_written_answer_is_what_the_official_client_reads(answer: Answer) -> None:
    """Every answer is valid for the official package's own types, strictly."""
    data = CODEC.encode_answer(answer, ASK)

    completion = ChatCompletion.model_validate_json(data, strict=True)

    assert completion.choices[0].message.content == (
        "".join(p.text for p in answer.parts if isinstance(p, Text)) or None
    )
    assert [call.id for call in completion.choices[0].message.tool_calls or []] == [
        part.id for part in answer.parts if isinstance(part, ToolUse)
    ]


@pytest.mark.parametrize(
    ("finish", "word"),
    [(Finish.STOP, "stop"), (Finish.LENGTH, "length"), (Finish.CONTEXT, "length"), (Finish.TOOLS, "tool_calls"),
     (Finish.REFUSAL, "content_filter"), (Finish.PAUSE, "stop")],
)  # fmt: skip
def test_every_end_has_a_word_in_this_format(finish: Finish, word: str) -> None:
    """Clients know five reasons; ours are told in them."""
    answer = Answer(id="a", model="m", created_s=1, parts=(Refusal(text="no"),), finish=finish)

    completion = ChatCompletion.model_validate_json(CODEC.encode_answer(answer, ASK), strict=True)

    assert completion.choices[0].finish_reason == word
    assert completion.choices[0].message.refusal == "no"
    assert completion.usage is None


def test_a_client_of_the_older_form_is_told_of_its_function() -> None:
    """Who asked with `functions` reads `function_call`, not a list of tool calls."""
    answer = Answer(id="a", parts=(ToolUse(id="c", name="now", arguments="{}"),), finish=Finish.TOOLS)

    fields = msgspec.json.decode(CODEC.encode_answer(answer, Ask(model="auto", legacy_functions=True)))

    choice = fields["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "now", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]


DEEPSEEK: Json = {
    "prompt_tokens": 16,
    "completion_tokens": 10,
    "total_tokens": 26,
    "prompt_tokens_details": {"cached_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 4},
    "prompt_cache_hit_tokens": 8,
    "prompt_cache_miss_tokens": 8,
}


def test_counts_and_thinking_of_deepseek_are_read() -> None:
    """Cached tokens have a name of their own there; thinking is `reasoning_content`."""
    answer = CODEC.decode_answer(reply({"content": "4", "reasoning_content": "2+2"}, usage=DEEPSEEK))

    assert answer.parts == (Thinking(text="2+2"), Text(text="4"))
    assert answer.tokens == Tokens(input_tokens=16, cache_read_tokens=8, output_tokens=10, reasoning_tokens=4)


def test_times_of_llama_cpp_are_read() -> None:
    """Its own measurements stand beside the counts."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    answer = CODEC.decode_answer(reply({"content": "x"}, usage=usage, timings={"prompt_ms": 12.6, "predicted_ms": 40}))

    assert answer.tokens == Tokens(input_tokens=3, output_tokens=2, prefill_ms=13, decode_ms=40)


def test_parts_of_mistral_are_read() -> None:
    """Content may be a list in which thinking is a list again."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}]

    assert CODEC.decode_answer(reply({"content": content})).parts == (Thinking(text="hm"), Text(text="4"))


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}]}, "stop", "c"),
        ({"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}, "tool_calls",
         "call_chatcmpl-1_0"),
        ({"function_call": {"name": "f", "arguments": '{"a":1}'}}, "function_call", "call_chatcmpl-1_0"),
    ],
    ids=["says stop", "no id, object", "older form"],
)  # fmt: skip
def test_calls_are_calls_however_a_server_tells_them(message: Json, finish: str, expected: str) -> None:
    """An answer with calls waits for their results, and each call has an id."""
    answer = CODEC.decode_answer(reply(message, finish))

    assert answer.finish is Finish.TOOLS
    assert answer.parts == (ToolUse(id=expected, name="f", arguments='{"a":1}'),)


@pytest.mark.parametrize(
    ("word", "finish"),
    [("eos", Finish.STOP), (None, Finish.STOP), ("model_length", Finish.CONTEXT), ("content_filter", Finish.REFUSAL)],
)
def test_reasons_of_other_servers_are_understood(word: str | None, finish: Finish) -> None:
    """A reason that is not known is a stop; no reason is one too."""
    assert CODEC.decode_answer(reply({"content": "x"}, word)).finish is finish


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", FailureClass.MALFORMED),
        (b"<html>", FailureClass.MALFORMED),
        (b"[]", FailureClass.MALFORMED),
        (b'{"id": "x"}', FailureClass.MALFORMED),
        (b'{"choices": []}', FailureClass.MALFORMED),
        (b'{"choices": [{"message": 3}]}', FailureClass.MALFORMED),
        (b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', FailureClass.RATE_LIMIT),
        (b'{"object": "error", "message": "the model `x` does not exist", "code": 404}', FailureClass.MODEL_MISSING),
        (reply({"content": "half"}, "insufficient_system_resource"), FailureClass.OVERLOADED),
        (reply({"content": "half"}, "error"), FailureClass.SERVER),
    ],
)
def test_what_is_no_answer_is_a_failure_of_its_class(data: bytes, kind: FailureClass) -> None:
    """Errors that come with success, reasons that tell of the server, and nonsense."""
    with pytest.raises(CallError) as caught:
        CODEC.decode_answer(data)

    assert caught.value.kind is kind


@given(data=st.binary(max_size=80) | JSON_VALUES.map(msgspec.json.encode))
def test_no_bytes_break_the_reader_of_answers(data: bytes) -> None:
    """Whatever an endpoint sends that is no answer is a failed call."""
    with pytest.raises(CallError):
        CODEC.decode_answer(data)


TOLD_APART = [
    (FailureClass.RATE_LIMIT, 429), (FailureClass.QUOTA, 429), (FailureClass.OVERLOADED, 503),
    (FailureClass.TIMEOUT, 504), (FailureClass.MODEL_MISSING, 404), (FailureClass.CONTEXT_TOO_LONG, 400),
    (FailureClass.AUTH, 401), (FailureClass.REFUSAL, 400), (FailureClass.SERVER, 500), (FailureClass.CAPABILITY, 400),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status"), TOLD_APART)
def test_an_error_we_tell_is_classified_as_what_it_is(kind: FailureClass, status: int) -> None:
    """A proxy behind us that reads the error as we read others' comes to the same class."""
    data = CODEC.encode_fault(Fault(kind=kind, status=status, message="it went wrong"))

    assert classify_answer(status, {}, data, 0).kind is kind


def test_our_own_word_for_an_error_is_its_code() -> None:
    """Clients of ours can tell our reasons apart; the class is still told by the type."""
    fault = Fault(kind=FailureClass.TIMEOUT, status=504, message="waited too long", code="queue_deadline")

    error = msgspec.json.decode(CODEC.encode_fault(fault))["error"]

    assert error == {"message": "waited too long", "type": "timeout_error", "param": None, "code": "queue_deadline"}
