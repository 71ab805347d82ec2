"""Ollama's embeddings, both sides: `/api/embed`, and the older `/api/embeddings` of one text. Pure.

Tokens by number have no place here: `InvalidInputError` tells to send texts. In the older form only one text has one.
"""

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Peek
from ostler.wire.embeddings import EmbedAsk, Embedded, EmbedFormat, own_fields
from ostler.wire.fields import INT_MAX, Fields, typed
from ostler.wire.openai_chat_answer import failed, is_error
from ostler.wire.openai_chat_ask import MODEL_REMEDY
from ostler.wire.openai_embeddings import dimensions
from ostler.wire.rename import renamed
from ostler.wire.sse import malformed
from ostler.wire.talk import Encoded, Json

_KNOWN = frozenset({"model", "input", "prompt", "truncate", "dimensions", "keep_alive"})
_NS_PER_MS = 1_000_000


class _Options(msgspec.Struct):
    num_ctx: int | None = None


class _Request(msgspec.Struct):
    model: str
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    options: _Options | None = None


class _Answer(msgspec.Struct):
    model: str | None = None
    embeddings: list[list[float]] | None = None
    embedding: list[float] | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    error: msgspec.Raw = msgspec.Raw()


_REQUEST = msgspec.json.Decoder(_Request)
_ANSWER = msgspec.json.Decoder(_Answer)


class OllamaEmbed:
    """Both sides of `/api/embed`."""

    format = EmbedFormat.OLLAMA

    def peek(self, body: bytes) -> Peek:
        """What a decision needs."""
        request = typed(_REQUEST, body)
        if not request.model:
            raise InvalidInputError("is empty", where="model", remedy=MODEL_REMEDY)
        return Peek(
            model=request.model,
            context_tokens=request.options.num_ctx if request.options else None,
            prompt_chars=len(bytes(request.input)) + len(bytes(request.prompt)),
        )

    def renamed(self, body: bytes, model: str) -> bytes:
        """The same request for another model."""
        return renamed(body, model)

    def decode_ask(self, body: bytes) -> EmbedAsk:
        """A request of a client. Raises `InvalidInputError`."""
        top = Fields.read(body)
        inputs, single = self._inputs(top)
        extra = top.rest(_KNOWN)
        return EmbedAsk(
            model=top.named("model", MODEL_REMEDY),
            inputs=inputs,
            single=single,
            dimensions=dimensions(top),
            truncate=top.flag("truncate"),
            keep_alive=_keep_alive(top),
            context_tokens=_context(top, extra),
            extra=extra,
            origin=self.format,
        )

    def encode_ask(self, ask: EmbedAsk) -> Encoded:
        """A request to an endpoint. Raises `InvalidInputError` for tokens by number."""
        own, dropped = own_fields(ask, self.format)
        body = {"model": ask.model} | self._said(ask, dropped)
        if ask.keep_alive is not None:
            body["keep_alive"] = ask.keep_alive
        options = own.pop("options", None)
        if ask.context_tokens is not None or options:
            context: Json = {} if ask.context_tokens is None else {"num_ctx": ask.context_tokens}
            body["options"] = (options if isinstance(options, dict) else {}) | context
        if ask.user:
            dropped.append("user")
        return Encoded(body=msgspec.json.encode(body | own), dropped=tuple(dropped))

    def decode_answer(self, body: bytes) -> Embedded:
        """An answer of an endpoint in either form. Raises `CallError`."""
        try:
            answer = _ANSWER.decode(body)
        except (ValueError, RecursionError) as error:
            raise malformed("the answer is not what this API sends", body) from error
        if is_error(answer.error, None):
            raise failed(body)
        vectors = [answer.embedding] if answer.embeddings is None and answer.embedding else answer.embeddings
        if not vectors:
            raise malformed("the answer has no vectors", body)
        return Embedded(
            model=answer.model or "",
            vectors=tuple(map(tuple, vectors)),
            input_tokens=answer.prompt_eval_count,
            load_ms=None if answer.load_duration is None else round(answer.load_duration / _NS_PER_MS),
        )

    def encode_answer(self, answer: Embedded, ask: EmbedAsk) -> bytes:
        """An answer to a client."""
        body: Json = {"model": answer.model or ask.model, "embeddings": answer.vectors}
        if answer.load_ms is not None:
            body["load_duration"] = answer.load_ms * _NS_PER_MS
        if answer.input_tokens is not None:
            body["prompt_eval_count"] = answer.input_tokens
        return msgspec.json.encode(body)

    def _inputs(self, top: Fields) -> tuple[tuple[str, ...], bool]:
        if not top.has("input"):
            raise InvalidInputError("is missing", where="input", remedy="give a text or a list of texts")
        return top.texts("input"), isinstance(top.get("input"), str)

    def _said(self, ask: EmbedAsk, dropped: list[str]) -> Json:  # noqa: ARG002 -- the older form drops something here
        texts = _texts(ask)
        body: Json = {"input": texts[0] if ask.single else texts}
        said = {"truncate": ask.truncate, "dimensions": ask.dimensions}
        return body | {name: value for name, value in said.items() if value is not None}


class OllamaEmbeddings(OllamaEmbed):
    """Both sides of the older `/api/embeddings`."""

    format = EmbedFormat.OLLAMA_LEGACY

    def encode_answer(self, answer: Embedded, ask: EmbedAsk) -> bytes:  # noqa: ARG002 -- it says nothing but the vector
        """An answer to a client: one vector."""
        return msgspec.json.encode({"embedding": answer.vectors[0] if answer.vectors else ()})

    def _inputs(self, top: Fields) -> tuple[tuple[str, ...], bool]:
        if not top.has("prompt"):
            raise InvalidInputError("is missing", where="prompt", remedy="give a text")
        return (top.text("prompt"),), True

    def _said(self, ask: EmbedAsk, dropped: list[str]) -> Json:
        texts = _texts(ask)
        if len(texts) != 1:
            what = f"takes one text, not {len(texts)}"
            raise InvalidInputError(what, where="input", remedy="use /api/embed for several")
        unsaid = {"truncate": ask.truncate, "dimensions": ask.dimensions}
        dropped += [name for name, value in unsaid.items() if value is not None]
        return {"prompt": texts[0]}


def _texts(ask: EmbedAsk) -> list[str]:
    texts: list[str] = []
    for index, given in enumerate(ask.inputs):
        if not isinstance(given, str):
            where = "input" if ask.single else f"input[{index}]"
            remedy = "send texts: numbers of tokens mean something to one family of models alone"
            raise InvalidInputError("tokens by number cannot be sent to Ollama", where=where, remedy=remedy)
        texts.append(given)
    return texts


def _keep_alive(top: Fields) -> str | float | None:
    value = top.get("keep_alive")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= INT_MAX:
        return value
    raise top.wrong("keep_alive", "a duration such as 5m, or a number of seconds")


def _context(top: Fields, extra: Json) -> int | None:
    """Context asked for among the options; the other options stay in `extra`."""
    options = top.inner("options")
    if options is None:
        return None
    extra.pop("options", None)
    if others := options.rest({"num_ctx"}):
        extra["options"] = others
    return options.integer("num_ctx")
