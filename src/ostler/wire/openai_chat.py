"""OpenAI's chat completions (`/v1/chat/completions`), the format most servers speak.

`peek` decodes only the fields it names; messages stay bytes, of which kind and size are taken. The rest is in the
modules beside this one: `openai_chat_ask` and `openai_chat_request` have requests, `openai_chat_answer`,
`openai_chat_stream` and `openai_chat_writer` answers.
"""

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Fault, Format, Glance, Peek, StreamReader, StreamTap, StreamWriter
from ostler.wire.fields import typed
from ostler.wire.openai_chat_answer import decode_answer, encode_answer, glance
from ostler.wire.openai_chat_ask import MODEL_REMEDY, decode_ask
from ostler.wire.openai_chat_request import Dialect, encode_ask
from ostler.wire.openai_chat_stream import ChatReader, ChatTap
from ostler.wire.openai_chat_writer import ChatWriter
from ostler.wire.openai_faults import error_body
from ostler.wire.openai_sizes import Content, measure, unread
from ostler.wire.rename import renamed
from ostler.wire.talk import Answer, Ask, Encoded

_EMPTY = (b"", b"null", b"[]")


class _Message(msgspec.Struct):
    role: str = ""
    content: Content = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    n: int | float | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    reasoning_effort: str | None = None
    reasoning: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Request)


class OpenAIChat:
    """Both sides of chat completions. `dialect` says what the endpoint written to takes."""

    format = Format.OPENAI_CHAT
    stream_type = "text/event-stream"

    def __init__(self, dialect: Dialect | None = None) -> None:
        self._dialect = dialect or Dialect()

    def peek(self, body: bytes) -> Peek:
        """What a decision needs. Base64 data of images does not count as prompt."""
        request = typed(_DECODER, body)
        if not request.model:
            raise InvalidInputError("is empty", where="model", remedy=MODEL_REMEDY)
        limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
        messages, tools = request.messages, (bytes(request.tools), bytes(request.functions))
        images, chars = measure([message.content for message in messages])
        for message in messages:
            if message.role == "assistant":
                chars += unread(message.tool_calls)
        effort = request.reasoning_effort
        return Peek(
            model=request.model,
            stream=bool(request.stream),
            max_output_tokens=None if limit is None else int(limit),
            tools=tools[0] not in _EMPTY or tools[1] not in _EMPTY,
            images=images,
            thinking=(effort is not None and effort != "none") or bytes(request.reasoning) not in _EMPTY,
            prefill=bool(messages) and messages[-1].role == "assistant",
            choices=1 if request.n is None else max(1, int(request.n)),
            prompt_chars=chars + len(tools[0]) + len(tools[1]),
        )

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model. `body` is one that `peek` has read."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> Ask:
        """See `openai_chat_ask.decode_ask`."""
        return decode_ask(body)

    def encode_ask(self, ask: Ask) -> Encoded:
        """See `openai_chat_request.encode_ask`."""
        return encode_ask(ask, self._dialect)

    def decode_answer(self, body: bytes) -> Answer:
        """See `openai_chat_answer.decode_answer`."""
        return decode_answer(body)

    def glance(self, body: bytes) -> Glance:
        """See `openai_chat_answer.glance`."""
        return glance(body)

    def encode_answer(self, answer: Answer, ask: Ask) -> bytes:
        """See `openai_chat_answer.encode_answer`."""
        return encode_answer(answer, ask)

    def reader(self) -> StreamReader:
        """For a streamed answer of an endpoint."""
        return ChatReader()

    def tap(self) -> StreamTap:
        """For a streamed answer that is handed on as it is."""
        return ChatTap()

    def writer(self, ask: Ask, answer_id: str, created_s: int) -> StreamWriter:
        """For a streamed answer to a client."""
        return ChatWriter(ask, answer_id, created_s)

    def encode_fault(self, fault: Fault) -> bytes:
        """The body of an error to a client."""
        return error_body(fault)
