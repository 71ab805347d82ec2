"""Requests for embeddings and their answers, in the form that OpenAI's and Ollama's formats share. Pure.

`EmbedCodec` is the port: as `wire.codec.Codec`, it has both sides of one format. Vectors come back in the order of the
inputs. A vector of base64 is 32-bit floats, little-endian; official clients of OpenAI ask for it unless told otherwise.
"""

import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Protocol

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Peek
from ostler.wire.talk import Encoded

Vector = tuple[float, ...]
FLOAT_BYTES = 4


class EmbedFormat(StrEnum):
    """A format of requests for embeddings."""

    OPENAI = "openai-embeddings"
    OLLAMA = "ollama-embed"
    OLLAMA_LEGACY = "ollama-embeddings"
    """`/api/embeddings`: one text, one vector, no counts."""


class EmbedAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Each input is a text, or the numbers of its tokens (OpenAI)."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    single: bool = False
    """The caller gave one input bare, not a list of one."""
    dimensions: int | None = None
    base64: bool = False
    """The caller reads vectors as base64."""
    truncate: bool | None = None
    """Inputs beyond the window are cut (Ollama), not refused."""
    keep_alive: str | int | float | None = None
    context_tokens: int | None = None
    user: str = ""
    extra: Mapping[str, object] = {}
    """Fields of its own format; kept for that format, dropped (and named) for others."""
    origin: str = ""


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: a vector for each input."""

    model: str = ""
    vectors: tuple[Vector, ...] = ()
    input_tokens: int | None = None
    load_ms: int | None = None


class EmbedCodec(Protocol):
    """One format of embeddings. Errors as in `wire.codec.Codec`."""

    format: EmbedFormat

    def peek(self, body: bytes) -> Peek:
        """What a decision needs."""
        ...

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model."""
        ...

    def decode_ask(self, body: bytes) -> EmbedAsk:
        """A request of a client."""
        ...

    def encode_ask(self, ask: EmbedAsk) -> Encoded:
        """A request to an endpoint. Raises `InvalidInputError` for inputs that the format has no place for."""
        ...

    def decode_answer(self, body: bytes) -> Embedded:
        """An answer of an endpoint."""
        ...

    def encode_answer(self, answer: Embedded, ask: EmbedAsk) -> bytes:
        """An answer to a client."""
        ...


@cache
def embed_codec(form: EmbedFormat) -> EmbedCodec:
    """The codec of a format, imported when it is first asked for."""
    if form is EmbedFormat.OPENAI:
        from ostler.wire.openai_embeddings import OpenAIEmbeddings  # noqa: PLC0415 -- loaded when it is spoken

        return OpenAIEmbeddings()
    from ostler.wire.ollama_embeddings import OllamaEmbed, OllamaEmbeddings  # noqa: PLC0415 -- as above

    return OllamaEmbed() if form is EmbedFormat.OLLAMA else OllamaEmbeddings()


def own_fields(ask: EmbedAsk, form: EmbedFormat) -> tuple[dict[str, object], list[str]]:
    """Fields to be sent to this format as they came, and names of those that cannot be."""
    return (dict(ask.extra), []) if ask.origin == form else ({}, sorted(ask.extra))


def to_base64(vector: Vector) -> str:
    """A vector as base64.

    >>> to_base64((1.0, -2.0))
    'AACAPwAAAMA='
    """
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return b64encode(floats.tobytes()).decode()


def from_base64(text: str) -> Vector:
    """A vector from base64. Raises `CallError` if it is none.

    >>> from_base64("AACAPwAAAMA=")
    (1.0, -2.0)
    """
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise CallError(FailureClass.MALFORMED, "a vector is no base64") from error
    if len(data) % FLOAT_BYTES:
        raise CallError(FailureClass.MALFORMED, f"a vector of {len(data)} bytes is none of 32-bit floats")
    floats = array("f", data)
    if sys.byteorder == "big":
        floats.byteswap()
    return tuple(floats)
