"""OpenAI's embeddings (`/v1/embeddings`), both sides. Pure."""

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Peek
from ostler.wire.embeddings import EmbedAsk, Embedded, EmbedFormat, from_base64, own_fields, to_base64
from ostler.wire.fields import Fields, typed
from ostler.wire.openai_chat_answer import failed, is_error
from ostler.wire.openai_chat_ask import MODEL_REMEDY
from ostler.wire.rename import renamed
from ostler.wire.sse import malformed
from ostler.wire.talk import Encoded, Json

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_INPUT = "a text, a list of texts, a list of tokens, or a list of such lists"


class _Request(msgspec.Struct):
    model: str
    input: msgspec.Raw


class _Vector(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_ANSWER = msgspec.json.Decoder(_Answer)


class OpenAIEmbeddings:
    """Both sides."""

    format = EmbedFormat.OPENAI

    def peek(self, body: bytes) -> Peek:
        """What a decision needs."""
        request = typed(_REQUEST, body)
        if not request.model:
            raise InvalidInputError("is empty", where="model", remedy=MODEL_REMEDY)
        return Peek(model=request.model, prompt_chars=len(bytes(request.input)))

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> EmbedAsk:
        """A request of a client. Raises `InvalidInputError`."""
        top = Fields.read(body)
        inputs, single = _inputs(top)
        return EmbedAsk(
            model=top.named("model", MODEL_REMEDY),
            inputs=inputs,
            single=single,
            dimensions=dimensions(top),
            base64=top.choice("encoding_format", ("float", "base64"), "float") == "base64",
            user=top.text("user"),
            extra=top.rest(_KNOWN),
            origin=EmbedFormat.OPENAI,
        )

    def encode_ask(self, ask: EmbedAsk) -> Encoded:
        """A request to an endpoint."""
        own, dropped = own_fields(ask, self.format)
        body: Json = {"model": ask.model, "input": ask.inputs[0] if ask.single else ask.inputs}
        said = {
            "dimensions": ask.dimensions,
            "encoding_format": "base64" if ask.base64 else None,
            "user": ask.user or None,
        }
        unsaid = {"truncate": ask.truncate, "keep_alive": ask.keep_alive, "context_tokens": ask.context_tokens}
        dropped += [name for name, value in unsaid.items() if value is not None]
        body |= {name: value for name, value in said.items() if value is not None}
        return Encoded(body=msgspec.json.encode(body | own), dropped=tuple(dropped))

    def decode_answer(self, body: bytes) -> Embedded:
        """An answer of an endpoint, whichever form its vectors have. Raises `CallError`."""
        try:
            answer = _ANSWER.decode(body)
        except (ValueError, RecursionError) as error:
            raise malformed("the answer is not what this API sends", body) from error
        if is_error(answer.error, answer.object):
            raise failed(body)
        if not answer.data:
            raise malformed("the answer has no vectors", body)
        places = [vector.index for vector in answer.data]
        data = answer.data
        if None not in places:
            data = sorted(answer.data, key=lambda vector: vector.index or 0)
        return Embedded(
            model=answer.model or "",
            vectors=tuple(_floats(vector.embedding) for vector in data),
            input_tokens=answer.usage.prompt_tokens if answer.usage else None,
        )

    def encode_answer(self, answer: Embedded, ask: EmbedAsk) -> bytes:
        """An answer to a client. The format has no way to say that a count is not known: then it is zero."""
        tokens = answer.input_tokens or 0
        vectors: list[object] = [to_base64(vector) if ask.base64 else vector for vector in answer.vectors]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = answer.model or ask.model
        return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def dimensions(top: Fields) -> int | None:
    """The length of vectors that is wanted."""
    value = top.integer("dimensions")
    if value is not None and value < 1:
        raise InvalidInputError(f"must be at least 1, not {value}", where="dimensions", remedy="or leave it out")
    return value


def _inputs(top: Fields) -> tuple[tuple[str | tuple[int, ...], ...], bool]:
    """The inputs, and whether there was one alone."""
    given = top.get("input")
    if isinstance(given, str) or _are_tokens(given):
        return (_one(given, top, "input"),), True
    if not isinstance(given, list):
        raise top.wrong("input", _INPUT)
    if not given:
        raise InvalidInputError("is empty", where="input", remedy=f"give {_INPUT}")
    return tuple(_one(item, top, f"input[{index}]") for index, item in enumerate(given)), False


def _one(given: object, top: Fields, where: str) -> str | tuple[int, ...]:
    if isinstance(given, str) and given:
        return given
    if isinstance(given, list) and _are_tokens(given):
        return tuple(given)
    if given in ("", []):
        raise InvalidInputError("is empty", where=where, remedy="an input has at least one token")
    raise Fields({"input": given}, top.where).wrong("input", _INPUT)


def _are_tokens(given: object) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in given)
    )


def _floats(embedding: str | list[float]) -> tuple[float, ...]:
    return from_base64(embedding) if isinstance(embedding, str) else tuple(embedding)
