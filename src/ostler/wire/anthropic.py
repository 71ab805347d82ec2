"""The Messages API of Anthropic as a codec: `/v1/messages`, both sides, streaming and not."""

from ostler.wire import anthropic_answer, anthropic_decode, anthropic_encode, anthropic_peek, anthropic_stream
from ostler.wire.codec import Fault, Format, Glance, Peek, StreamReader, StreamTap, StreamWriter, glance_at
from ostler.wire.rename import renamed
from ostler.wire.talk import Answer, Ask, Encoded


class Anthropic:
    """See `Codec`."""

    format = Format.ANTHROPIC
    stream_type = "text/event-stream"

    def peek(self, body: bytes) -> Peek:
        """See `Codec.peek`."""
        return anthropic_peek.peek(body)

    def renamed(self, body: bytes, model: str) -> bytes:
        """See `Codec.renamed`."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> Ask:
        """See `Codec.decode_ask`."""
        return anthropic_decode.decode_ask(body)

    def encode_ask(self, ask: Ask) -> Encoded:
        """See `Codec.encode_ask`."""
        return anthropic_encode.encode_ask(ask)

    def decode_answer(self, body: bytes) -> Answer:
        """See `Codec.decode_answer`."""
        return anthropic_answer.decode_answer(body)

    def glance(self, body: bytes) -> Glance:
        """See `Codec.glance`."""
        return glance_at(self.decode_answer(body))

    def encode_answer(self, answer: Answer, ask: Ask) -> bytes:  # noqa: ARG002 -- this format repeats nothing of it
        """See `Codec.encode_answer`."""
        return anthropic_answer.encode_answer(answer)

    def reader(self) -> StreamReader:
        """See `Codec.reader`."""
        return anthropic_stream.Reader()

    def tap(self) -> StreamTap:
        """See `Codec.tap`."""
        return anthropic_stream.Tap()

    def writer(self, ask: Ask, answer_id: str, created_s: int) -> StreamWriter:  # noqa: ARG002 -- no time is said here
        """See `Codec.writer`."""
        return anthropic_stream.Writer(ask, answer_id)

    def encode_fault(self, fault: Fault) -> bytes:
        """See `Codec.encode_fault`."""
        return anthropic_answer.encode_fault(fault)
