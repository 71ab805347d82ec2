"""A whole Responses answer: read from an endpoint, written to a client. Pure.

Items of tools that the provider itself runs are passed over: what came of them is in the text. A response that failed
is that failure; one that is not done yet (asked for in the background) is no answer.
"""

from collections.abc import Iterator, Mapping

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.classify import classify_stream_error
from ostler.wire.openai_responses_ask import REDACTED
from ostler.wire.openai_responses_items import final_status, output_items, response_object
from ostler.wire.openai_usage import Details
from ostler.wire.sse import malformed
from ostler.wire.talk import Answer, Ask, Finish, Part, Refusal, Text, Thinking, Tokens, ToolUse

_REASONS: Mapping[str, Finish] = {"content_filter": Finish.REFUSAL}
"""Why an answer is incomplete; any other reason is a limit."""


class ContentPart(msgspec.Struct):
    """A part of a message, of thinking or of its summary."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct):
    """An item of the output: a message, thinking, a call, or one of those passed over."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: object = None
    content: list[ContentPart] | None = None
    summary: list[ContentPart] | None = None
    encrypted_content: str | None = None

    def part(self, index: int) -> Iterator[Part]:
        """What it adds to an answer. `index` makes an id for a call without one."""
        if self.type == "function_call":
            yield ToolUse(id=self.call(index), name=self.name or "", arguments=self.call_arguments() or "{}")
        elif self.type == "message":
            for part in self.content or ():
                if part.type == "refusal" and part.refusal:
                    yield Refusal(text=part.refusal)
                elif part.text:
                    yield Text(text=part.text)
        elif self.type == "reasoning":
            text, proof = self.thinking(), self.encrypted_content or ""
            if proof.startswith(REDACTED):
                yield Thinking(redacted=proof.removeprefix(REDACTED))
            elif text or proof:
                yield Thinking(text=text, signature=proof)

    def call(self, index: int) -> str:
        """Id of a call."""
        return self.call_id or self.id or f"call_{index}"

    def call_arguments(self) -> str:
        """Arguments of a call as JSON text, empty if there are none; some servers send the object itself."""
        if isinstance(self.arguments, str):
            return self.arguments if self.arguments.strip() else ""
        return "" if self.arguments is None else msgspec.json.encode(self.arguments).decode()

    def thinking(self) -> str:
        """Thinking by its summary, or by its text where a server shows that."""
        return "\n\n".join(part.text for part in self.summary or self.content or () if part.text)


class Usage(msgspec.Struct):
    """`usage` of a response."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None

    def tokens(self) -> Tokens:
        """In the shared form."""
        read, written = self.input_tokens_details or Details(), self.output_tokens_details or Details()
        return Tokens(
            input_tokens=self.input_tokens,
            cache_read_tokens=read.cached_tokens,
            cache_write_tokens=read.cache_write_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=written.reasoning_tokens,
        )


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Reply(msgspec.Struct):
    """The response object, whole or as an event of a stream has it."""

    id: str | None = None
    model: str | None = None
    created_at: int | float | None = None
    status: str | None = None
    output: list[Item] | None = None
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw()
    incomplete_details: _Incomplete | None = None
    object: str | None = None

    def finish(self, *, called: bool) -> Finish:
        """Why it ended."""
        if self.status == "incomplete":
            return _REASONS.get((self.incomplete_details and self.incomplete_details.reason) or "", Finish.LENGTH)
        return Finish.TOOLS if called else Finish.STOP

    def tokens(self) -> Tokens:
        """Its counts."""
        return Tokens() if self.usage is None else self.usage.tokens()

    def failure(self, *, emitted: bool = False) -> CallError | None:
        """The failure that it tells of, if it does."""
        said = bytes(self.error)
        if said in (b"", b"null") and self.status not in ("failed", "cancelled"):
            return None
        if said in (b"", b"null"):
            return CallError(FailureClass.SERVER, f"the response was {self.status}", emitted=emitted)
        fault = classify_stream_error(b'{"error":' + said + b"}", 0)
        return CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms, emitted=emitted)


_DECODER = msgspec.json.Decoder(Reply)


def decode_answer(body: bytes) -> Answer:
    """A whole answer of an endpoint. Raises `CallError`."""
    try:
        reply = _DECODER.decode(body)
        parts = tuple(part for index, item in enumerate(reply.output or ()) for part in item.part(index))
    except (ValueError, RecursionError) as error:
        raise malformed("the answer is not what this API sends", body) from error
    if (failure := reply.failure()) is not None:
        raise failure
    if reply.output is None or reply.status in ("queued", "in_progress"):
        raise malformed("the response is not done" if reply.status else "the answer has no output", body)
    return Answer(
        id=reply.id or "",
        model=reply.model or "",
        parts=parts,
        finish=reply.finish(called=any(isinstance(part, ToolUse) for part in parts)),
        tokens=reply.tokens(),
        created_s=None if reply.created_at is None else int(reply.created_at),
    )


def encode_answer(answer: Answer, ask: Ask) -> bytes:
    """A whole answer to a client."""
    status = final_status(answer.finish)
    return msgspec.json.encode(response_object(answer, ask, output_items(answer.parts, answer.id, status), status))
