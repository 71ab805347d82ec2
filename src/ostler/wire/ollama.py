"""Ollama's native API as codecs: `/api/chat` and `/api/generate`, both sides, streaming and not."""

from ostler.wire import ollama_answer, ollama_decode, ollama_encode, ollama_peek
from ostler.wire.codec import Fault, Format, Glance, Peek, StreamReader, StreamTap, StreamWriter, glance_at
from ostler.wire.rename import renamed
from ostler.wire.talk import Answer, Ask, Encoded

NDJSON = "application/x-ndjson"


class OllamaChat:
    """`/api/chat`. See `Codec`."""

    format = Format.OLLAMA_CHAT
    stream_type = NDJSON
    _chat = True

    def peek(self, body: bytes) -> Peek:
        """See `Codec.peek`."""
        return ollama_peek.peek(body)

    def renamed(self, body: bytes, model: str) -> bytes:
        """See `Codec.renamed`."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> Ask:
        """See `Codec.decode_ask`. No turns = the model is to be loaded."""
        return ollama_decode.decode_chat(body)

    def encode_ask(self, ask: Ask) -> Encoded:
        """See `Codec.encode_ask`."""
        return ollama_encode.encode_chat(ask)

    def decode_answer(self, body: bytes) -> Answer:
        """See `Codec.decode_answer`."""
        return ollama_answer.decode_answer(body)

    def glance(self, body: bytes) -> Glance:
        """See `Codec.glance`."""
        return glance_at(self.decode_answer(body))

    def encode_answer(self, answer: Answer, ask: Ask) -> bytes:  # noqa: ARG002 -- this format repeats nothing of it
        """See `Codec.encode_answer`."""
        return ollama_answer.encode_answer(answer, chat=self._chat)

    def reader(self) -> StreamReader:
        """See `Codec.reader`."""
        return ollama_answer.Reader()

    def tap(self) -> StreamTap:
        """See `Codec.tap`."""
        return ollama_answer.Tap()

    def writer(self, ask: Ask, answer_id: str, created_s: int) -> StreamWriter:  # noqa: ARG002 -- answers have no ids
        """See `Codec.writer`."""
        return ollama_answer.Writer(ask, created_s, chat=self._chat)

    def encode_fault(self, fault: Fault) -> bytes:
        """See `Codec.encode_fault`."""
        return ollama_answer.encode_fault(fault)


class OllamaGenerate(OllamaChat):
    """`/api/generate`. See `Codec`."""

    format = Format.OLLAMA_GENERATE
    _chat = False

    def decode_ask(self, body: bytes) -> Ask:
        """See `Codec.decode_ask`. No turns = the model is to be loaded."""
        return ollama_decode.decode_generate(body)

    def encode_ask(self, ask: Ask) -> Encoded:
        """See `Codec.encode_ask`."""
        return ollama_encode.encode_generate(ask)
