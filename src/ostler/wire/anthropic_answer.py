"""Whole answers of the Messages API, and errors: read from an endpoint, written to a client.

A refusal that another format keeps apart becomes text, and the stop reason says what it was. A refusal that came with
no content but an explanation is told in the words of the explanation.
"""

from collections.abc import Iterator, Mapping

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire import anthropic_shapes as shapes
from ostler.wire.anthropic_encode import tool_id
from ostler.wire.arguments import in_object
from ostler.wire.classify import classify_stream_error
from ostler.wire.codec import Fault
from ostler.wire.sse import malformed
from ostler.wire.talk import Answer, Finish, Json, Part, Refusal, Text, Thinking, Tokens, ToolUse

_REPLY = msgspec.json.Decoder(shapes.Reply)

_BY_STATUS: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_BY_KIND: Mapping[FailureClass, str] = {
    FailureClass.OVERLOADED: "overloaded_error",
    FailureClass.NO_ENDPOINT: "overloaded_error",
    FailureClass.ENDPOINT_DOWN: "overloaded_error",
    FailureClass.TIMEOUT: "timeout_error",
    FailureClass.STALLED: "timeout_error",
}


def decode_answer(body: bytes) -> Answer:
    """See `Codec.decode_answer`."""
    try:
        reply = _REPLY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed("the answer is not what this API sends", body) from error
    if reply.type == "error" or (not reply.type and bytes(reply.error)):
        raise failed(body)
    if reply.content is None:
        raise malformed("the answer has no content", body)
    parts = tuple(_parts(reply.content))
    finish = shapes.finish_of(reply.stop_reason)
    if finish is Finish.REFUSAL and not parts and (why := explained(reply.stop_details)):
        parts = (Refusal(text=why),)
    return Answer(
        id=reply.id,
        model=reply.model,
        parts=parts,
        finish=finish,
        stop_sequence=reply.stop_sequence,
        tokens=Tokens() if reply.usage is None else reply.usage.tokens(),
    )


def encode_answer(answer: Answer) -> bytes:
    """See `Codec.encode_answer`."""
    tools = any(isinstance(part, ToolUse) for part in answer.parts)
    refused = any(isinstance(part, Refusal) for part in answer.parts)
    return msgspec.json.encode(
        opening(answer.id, answer.model, answer.tokens)
        | {
            "content": [block for part in answer.parts if (block := _block(part)) is not None],
            "stop_reason": shapes.stop_reason(answer.finish, answer.stop_sequence, tools=tools, refused=refused),
            "stop_sequence": answer.stop_sequence,
        }
    )


def opening(answer_id: str, model: str, tokens: Tokens) -> Json:
    """An answer that has only begun."""
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": shapes.usage_json(tokens),
    }


def encode_fault(fault: Fault) -> bytes:
    """See `Codec.encode_fault`. The kind goes by the status, as clients of this API expect."""
    kind = _BY_STATUS.get(fault.status)
    if kind is None and fault.status < 500:  # noqa: PLR2004 -- as HTTP defines it
        kind = "invalid_request_error"
    said: Json = {"type": kind or _BY_KIND.get(fault.kind, "api_error"), "message": fault.message}
    if fault.code:
        said["code"] = fault.code
    return msgspec.json.encode({"type": "error", "error": said})


def explained(details: shapes.StopDetails | None) -> str:
    """Why the model refused, if it was said."""
    return "" if details is None else details.explanation or details.category or ""


def failed(body: bytes, *, emitted: bool = False) -> CallError:
    """The endpoint reported an error."""
    fault = classify_stream_error(body, 0)
    return CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms, emitted=emitted)


def _parts(blocks: list[shapes.Block]) -> Iterator[Part]:
    for block in blocks:
        if block.type == "text" and block.text:
            yield Text(text=block.text)
        elif block.type == "thinking" and (block.thinking or block.signature):
            yield Thinking(text=block.thinking or "", signature=block.signature or "")
        elif block.type == "redacted_thinking" and block.data:
            yield Thinking(redacted=block.data)
        elif block.type == "tool_use":
            arguments = bytes(block.input).decode("utf-8", "replace") or "{}"
            yield ToolUse(id=block.id or "", name=block.name or "", arguments=arguments)


def _block(part: Part) -> Json | None:
    if isinstance(part, Text | Refusal):
        return {"type": "text", "text": part.text} if part.text else None
    if isinstance(part, Thinking):
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.redacted}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, ToolUse):
        return {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": in_object(part.arguments)}
    return None
