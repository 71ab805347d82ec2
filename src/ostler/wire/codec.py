"""The port of a wire format: what the gateway needs of each, whatever it is called.

`Codec` has both sides of one format: as a server reads requests and writes answers (towards our client), and as a
client writes requests and reads answers (towards an endpoint). All pure; a reader or writer of a stream belongs to one
answer.

Errors: what a client sent wrong raises `InvalidInputError` (`where` = the field); what an endpoint sent wrong raises
`CallError` with the class of the failure.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from ostler.domain.states import FailureClass
from ostler.wire.talk import Answer, Ask, Encoded, Finish, Piece, Tokens


class Format(StrEnum):
    """A format of requests for an answer."""

    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    OLLAMA_CHAT = "ollama-chat"
    OLLAMA_GENERATE = "ollama-generate"


class Peek(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision needs to know of a request, found without building the whole of it."""

    model: str
    stream: bool = False
    max_output_tokens: int | None = None
    tools: bool = False
    images: bool = False
    thinking: bool = False
    prefill: bool = False
    """Its last turn is the assistant's: the answer is to go on from there."""
    choices: int = 1
    """Answers asked for at once."""
    context_tokens: int | None = None
    """Context asked for by the caller (Ollama's `num_ctx`)."""
    prompt_chars: int = 0
    """About how many characters the model reads."""


class Glance(NamedTuple):
    """What is to be known of a whole answer that is handed on as it is."""

    finish: Finish
    tokens: Tokens


def glance_at(answer: Answer) -> Glance:
    """The same of an answer that was decoded."""
    return Glance(answer.finish, answer.tokens)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A failure to be told to a client in its own format."""

    kind: FailureClass
    status: int
    message: str
    retry_after_ms: int | None = None
    code: str = ""
    """Our own machine-readable word for it, such as `no_route` or `queue_deadline`; empty = the class says it."""


class StreamReader(Protocol):
    """Reads one streamed answer of an endpoint."""

    done: bool
    """Whether the format's own end marker was seen; a stream that ends without it was cut."""

    def feed(self, chunk: bytes) -> list[Piece]:
        """Pieces completed by a chunk; the result does not depend on where chunks were cut. Raises `CallError` for an
        error in the stream or for nonsense.
        """
        ...

    def end(self) -> list[Piece]:
        """The connection is at its end: what is complete without its last line end."""
        ...


class StreamTap(Protocol):
    """Watches a stream that is handed on unchanged: as cheap as can be, no object for each event."""

    done: bool
    """Whether the end marker was seen."""
    content: bool
    """Whether something of an answer was seen: text, thinking, a call of a tool, or its end. Mere openings are not."""
    finish: str
    """Finish reason in our words (`Finish`), empty until it was said."""
    tokens: Tokens
    events: int
    """Events seen."""

    def feed(self, chunk: bytes) -> None:
        """Look at a chunk. Raises `CallError` for an error in the stream or for an event that is no JSON."""
        ...


class StreamWriter(Protocol):
    """Writes one streamed answer to a client. Sending all pieces and then `end` makes a whole stream."""

    def piece(self, piece: Piece) -> bytes:
        """Bytes for a piece; may be empty."""
        ...

    def end(self) -> bytes:
        """What makes the stream whole: last counts and the end marker."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """The error that ends a stream which had begun; no end marker of success follows it."""
        ...


class Codec(Protocol):
    """One wire format."""

    format: Format
    stream_type: str
    """Content type of a streamed answer."""

    def peek(self, body: bytes) -> Peek:
        """What a decision needs. Raises `InvalidInputError`."""
        ...

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model; all other bytes as they are where possible."""
        ...

    def decode_ask(self, body: bytes) -> Ask:
        """A request of a client. Raises `InvalidInputError`."""
        ...

    def encode_ask(self, ask: Ask) -> Encoded:
        """A request to an endpoint."""
        ...

    def decode_answer(self, body: bytes) -> Answer:
        """A whole answer of an endpoint. Raises `CallError`."""
        ...

    def glance(self, body: bytes) -> Glance:
        """What the gateway has to know of a whole answer that it hands on as it is. Raises `CallError`."""
        ...

    def encode_answer(self, answer: Answer, ask: Ask) -> bytes:
        """A whole answer to a client. `answer.id`, `created_s` and `model` are set; `ask` is what it asked."""
        ...

    def reader(self) -> StreamReader:
        """For a streamed answer of an endpoint."""
        ...

    def tap(self) -> StreamTap:
        """For a streamed answer that is handed on as it is."""
        ...

    def writer(self, ask: Ask, answer_id: str, created_s: int) -> StreamWriter:
        """For a streamed answer to a client."""
        ...

    def encode_fault(self, fault: Fault) -> bytes:
        """The body of an error to a client."""
        ...
