"""OpenAI's Responses (`/v1/responses`), what Codex and the newer official examples speak.

Nothing is kept between calls: a request that builds on an earlier response can go only to an endpoint of the same
format (`wire.extra`). The rest is in the modules beside this one: `openai_responses_ask` and `openai_responses_request`
have requests, `openai_responses_answer`, `openai_responses_stream` and `openai_responses_writer` answers.
"""

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Fault, Format, Glance, Peek, StreamReader, StreamTap, StreamWriter, glance_at
from ostler.wire.fields import typed
from ostler.wire.openai_faults import error_body
from ostler.wire.openai_responses_answer import decode_answer, encode_answer
from ostler.wire.openai_responses_ask import MODEL_REMEDY, decode_ask
from ostler.wire.openai_responses_request import encode_ask
from ostler.wire.openai_responses_stream import ResponsesReader, ResponsesTap
from ostler.wire.openai_responses_writer import ResponsesWriter
from ostler.wire.openai_sizes import Content, measure, unread
from ostler.wire.rename import renamed
from ostler.wire.talk import Answer, Ask, Encoded

_EMPTY = (b"", b"null", b"[]")


class _Item(msgspec.Struct):
    role: str | None = None
    content: Content = None
    output: Content = None
    arguments: msgspec.Raw = msgspec.Raw()


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Request(msgspec.Struct):
    model: str
    input: str | list[_Item] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | float | None = None
    tools: msgspec.Raw = msgspec.Raw()
    reasoning: _Reasoning | None = None


_DECODER = msgspec.json.Decoder(_Request)


class OpenAIResponses:
    """Both sides of Responses."""

    format = Format.OPENAI_RESPONSES
    stream_type = "text/event-stream"

    def peek(self, body: bytes) -> Peek:
        """What a decision needs. Base64 data of images does not count as prompt."""
        request = typed(_DECODER, body)
        if not request.model:
            raise InvalidInputError("is empty", where="model", remedy=MODEL_REMEDY)
        items = request.input if isinstance(request.input, list) else []
        images, chars = measure(raw for item in items for raw in (item.content, item.output))
        tools = bytes(request.tools)
        limit = request.max_output_tokens
        return Peek(
            model=request.model,
            stream=bool(request.stream),
            max_output_tokens=None if limit is None else int(limit),
            tools=tools not in _EMPTY,
            images=images,
            thinking=request.reasoning is not None and request.reasoning.effort not in (None, "none"),
            prefill=bool(items) and items[-1].role == "assistant",
            prompt_chars=chars
            + sum(unread(item.arguments) for item in items)
            + len(tools)
            + len(request.instructions or "")
            + (len(request.input) if isinstance(request.input, str) else 0),
        )

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model. `body` is one that `peek` has read."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> Ask:
        """See `openai_responses_ask.decode_ask`."""
        return decode_ask(body)

    def encode_ask(self, ask: Ask) -> Encoded:
        """See `openai_responses_request.encode_ask`."""
        return encode_ask(ask)

    def decode_answer(self, body: bytes) -> Answer:
        """See `openai_responses_answer.decode_answer`."""
        return decode_answer(body)

    def glance(self, body: bytes) -> Glance:
        """See `Codec.glance`."""
        return glance_at(self.decode_answer(body))

    def encode_answer(self, answer: Answer, ask: Ask) -> bytes:
        """See `openai_responses_answer.encode_answer`."""
        return encode_answer(answer, ask)

    def reader(self) -> StreamReader:
        """For a streamed answer of an endpoint."""
        return ResponsesReader()

    def tap(self) -> StreamTap:
        """For a streamed answer that is handed on as it is."""
        return ResponsesTap()

    def writer(self, ask: Ask, answer_id: str, created_s: int) -> StreamWriter:
        """For a streamed answer to a client."""
        return ResponsesWriter(ask, answer_id, created_s)

    def encode_fault(self, fault: Fault) -> bytes:
        """The body of an error to a client."""
        return error_body(fault)
