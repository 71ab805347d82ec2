"""A whole chat completion: read from an endpoint, written to a client. Pure.

Read leniently: `content` may be a list of parts (Mistral), thinking has two names, ids of calls may be missing. Only
the first choice is read. An answer that calls tools and claims to have merely stopped is taken to wait for their
results, as several servers say it so. A finish reason that tells of a failure of the server is that failure.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.classify import classify_stream_error, one_line
from ostler.wire.codec import Glance
from ostler.wire.openai_chat_request import call
from ostler.wire.openai_usage import ChatUsage, Timings, chat_usage
from ostler.wire.sse import malformed
from ostler.wire.talk import (
    Answer,
    Ask,
    Finish,
    Json,
    Part,
    Refusal,
    Text,
    Thinking,
    Tokens,
    ToolUse,
)

Content = str | list[Json | str] | None
"""Text, or parts of it: Mistral's servers send thinking as a part."""

_FINISHES: Mapping[str, Finish] = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.CONTEXT,
    "tool_calls": Finish.TOOLS,
    "function_call": Finish.TOOLS,
    "content_filter": Finish.REFUSAL,
    "refusal": Finish.REFUSAL,
}
"""Reasons servers give; one that is not known here (`eos`, `end_turn`) is a stop."""

_FAILURES: Mapping[str, FailureClass] = {
    "insufficient_system_resource": FailureClass.OVERLOADED,
    "error": FailureClass.SERVER,
    "abort": FailureClass.CUT,
}
"""Reasons that tell of the server, not of the model (DeepSeek, OpenRouter, vLLM)."""

_WORDS: Mapping[Finish, str] = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.CONTEXT: "length",
    Finish.TOOLS: "tool_calls",
    Finish.REFUSAL: "content_filter",
    Finish.PAUSE: "stop",
}

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]+")


class Function(msgspec.Struct):
    """Name and arguments of a call, or more of them."""

    name: str | None = None
    arguments: str | Json | None = None


class Call(msgspec.Struct):
    """A call of a tool, or more of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """What the model said, or more of it."""

    content: Content = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None

    @property
    def thinking(self) -> str:
        """Thinking under either name; some proxies send it under both."""
        return self.reasoning_content or self.reasoning or ""


class _Choice(msgspec.Struct):
    message: Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    timings: Timings | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


def decode_answer(body: bytes) -> Answer:
    """A whole answer of an endpoint. Raises `CallError`."""
    reply, choice = _read(body)
    parts = tuple(_parts(choice.message, reply.id or ""))
    return Answer(
        id=reply.id or "",
        model=reply.model or "",
        parts=parts,
        finish=finish(choice.finish_reason, called=any(isinstance(part, ToolUse) for part in parts)),
        tokens=counts(reply.usage, reply.timings),
        created_s=seconds(reply.created),
    )


def glance(body: bytes) -> Glance:
    """What `decode_answer` would say of an answer's end and counts; its texts are not put together."""
    reply, choice = _read(body)
    called = bool(choice.message.tool_calls) or choice.message.function_call is not None
    return Glance(finish(choice.finish_reason, called=called), counts(reply.usage, reply.timings))


def _read(body: bytes) -> tuple[_Completion, _Choice]:
    """An answer and the choice that is read. Raises `CallError`."""
    try:
        reply = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise malformed("the answer is not what this API sends", body) from error
    if is_error(reply.error, reply.object):
        raise failed(body)
    if not reply.choices:
        raise malformed("the answer has no choices", body)
    return reply, reply.choices[0]


def encode_answer(answer: Answer, ask: Ask) -> bytes:
    """A whole answer to a client."""
    message: Json = {"role": "assistant", "content": _joined(answer, Text) or None, "refusal": None}
    if refusal := _joined(answer, Refusal):
        message["refusal"] = refusal
    if thinking := _joined(answer, Thinking):
        message["reasoning_content"] = thinking
    calls = [call(part) for part in answer.parts if isinstance(part, ToolUse)]
    if calls and ask.legacy_functions:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    reason = finish_word(answer.finish, legacy=ask.legacy_functions)
    reply: Json = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created_s or 0,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    if (usage := chat_usage(answer.tokens)) is not None:
        reply["usage"] = usage
    return msgspec.json.encode(reply)


def finish(reason: str | None, *, called: bool) -> Finish:
    """Why an answer ended. Raises `CallError` where the reason is a failure of the server."""
    word = reason or "stop"
    if word in _FAILURES:
        raise CallError(_FAILURES[word], f"the endpoint ended the answer: {one_line(word)}")
    found = _FINISHES.get(word, Finish.STOP)
    return Finish.TOOLS if called and found is Finish.STOP else found


def finish_word(reason: Finish, *, legacy: bool) -> str:
    """The reason in this format's words."""
    return "function_call" if legacy and reason is Finish.TOOLS else _WORDS[reason]


def made_up_id(answer_id: str, index: int) -> str:
    """An id for a call that its server gave none: the same for the same answer, in letters every format allows."""
    return f"call_{_NOT_IN_ID.sub('', answer_id)[-24:]}_{index}"


def content_pieces(content: Content) -> Iterator[tuple[bool, str]]:
    """Texts of a content, each with whether it is thinking. Parts that are neither are passed over."""
    if content is None or isinstance(content, str):
        if content:
            yield False, content
        return
    for item in content:
        if isinstance(item, str):
            yield False, item
        elif isinstance(text := item.get("text"), str):
            yield False, text
        elif isinstance(thinking := item.get("thinking"), str):
            yield True, thinking
        elif isinstance(thinking, list):
            yield from ((True, text) for _, text in content_pieces([part for part in thinking if _is_item(part)]))


def arguments_text(value: str | Json | None) -> str:
    """Arguments as JSON text; some servers send the object itself."""
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


def counts(usage: ChatUsage | None, timings: Timings | None) -> Tokens:
    """All counts of an answer."""
    tokens = Tokens() if usage is None else usage.tokens()
    return tokens if timings is None else timings.tokens().over(tokens)


def seconds(created: float | None) -> int | None:
    """An instant in whole seconds."""
    return None if created is None else int(created)


def is_error(error: msgspec.Raw, kind: str | None) -> bool:
    """Whether an object that came with success is an error."""
    return bytes(error) not in (b"", b"null") or kind == "error"


def failed(body: bytes, *, emitted: bool = False) -> CallError:
    """The failure that an error object tells of."""
    fault = classify_stream_error(body, 0)
    return CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms, emitted=emitted)


def _parts(message: Message, answer_id: str) -> Iterator[Part]:
    thoughts = [message.thinking]
    texts: list[str] = []
    for thought, text in content_pieces(message.content):
        (thoughts if thought else texts).append(text)
    if thinking := "".join(thoughts):
        yield Thinking(text=thinking)
    if text := "".join(texts):
        yield Text(text=text)
    if message.refusal:
        yield Refusal(text=message.refusal)
    calls = message.tool_calls or []
    if message.function_call is not None:
        calls = [*calls, Call(function=message.function_call)]
    for index, item in enumerate(calls):
        function = item.function or Function()
        arguments = arguments_text(function.arguments)
        yield ToolUse(
            id=item.id or made_up_id(answer_id, index),
            name=function.name or "",
            arguments=arguments if arguments.strip() else "{}",
        )


def _joined(answer: Answer, kind: type[Text | Refusal | Thinking]) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, kind))


def _is_item(value: object) -> bool:
    return isinstance(value, str | dict)


_DECODER = msgspec.json.Decoder(_Completion)
