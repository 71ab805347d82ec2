"""The formats of model calls: requests, answers and streams, each told in every other format."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.embeddings import EmbedFormat, embed_codec
from ostler.wire.formats import codec
from ostler.wire.talk import Ask
from tests.fuzz.mutate import of_trees
from tests.fuzz.play import Target
from tests.gateway.dialects import DIALECTS
from tests.wire.test_foreign_bytes import FORMATS, RICH

JSON = of_trees()


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def asks() -> Sequence[bytes]:
    told = codec(Format.OPENAI_CHAT).decode_ask(
        json.dumps(
            {
                "model": "m",
                "stream": True,
                "max_tokens": 5,
                "temperature": 0.5,
                "stop": ["x"],
                "seed": 1,
                "user": "u",
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": [{"type": "text", "text": "hi"}, PICTURE]},
                    {"role": "assistant", "content": "x", "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "c", "content": "r"},
                    {"role": "user", "content": "go"},
                ],
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
                    }
                ],
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            }
        ).encode()
    )
    return [codec(form).encode_ask(told).body for form in Format]


@cache
def questions() -> Mapping[Format, Ask]:
    """A request in each format, to which an answer is written."""
    return {form: codec(form).decode_ask(body) for form, body in zip(Format, asks(), strict=True)}


def ask(form: Format, data: bytes) -> object:
    """As the gateway does: a look, the whole, the whole for each kind of endpoint, another name."""
    spoken = codec(form)
    peek = spoken.peek(data)
    assert peek.prompt_chars >= 0
    spoken.renamed(data, "another")
    whole = spoken.decode_ask(data)
    refused = None
    for other in Format:
        try:
            sent = codec(other).encode_ask(whole)
        except InvalidInputError as error:  # a format without a place for something says so
            refused = error
            continue
        msgspec.json.decode(sent.body)
    if refused is not None:
        raise refused
    return whole


def _spoken() -> Iterator[tuple[Format, bytes, bytes]]:
    """Whole answers and streams, in every format."""
    question = codec(Format.OPENAI_CHAT).decode_ask(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')
    for name, dialect in DIALECTS.items():
        spoken = codec(FORMATS[name])
        whole, stream = json.dumps(dialect.whole(RICH)).encode(), b"".join(dialect.frames(RICH))
        yield FORMATS[name], whole, stream
        reader = spoken.reader()
        pieces = [*reader.feed(stream), *reader.end()]
        for form in Format:
            writer = codec(form).writer(question, "id-1", 1)
            said = b"".join(writer.piece(piece) for piece in pieces) + writer.end()
            answer = msgspec.structs.replace(spoken.decode_answer(whole), id="id-1", created_s=1, model="m")
            yield form, codec(form).encode_answer(answer, question), said


def answer(form: Format, data: bytes) -> object:
    """A whole answer: read, looked at, told in every other format."""
    question = questions()[form]
    spoken = codec(form)
    spoken.glance(data)
    told = msgspec.structs.replace(spoken.decode_answer(data), id="id-1", created_s=1, model="m")
    for other in Format:
        msgspec.json.decode(codec(other).encode_answer(told, question))
    return told


def stream(form: Format, data: bytes) -> object:
    """A streamed answer, cut in a way that the data itself decides: watched, read, and told in every other format."""
    spoken = codec(form)
    question = questions()[form]
    step = 1 + sum(data[:64]) % 97 if len(data) < 20_000 else 997
    writers = [codec(other).writer(question, "id-1", 1) for other in Format]
    reader, tap = spoken.reader(), spoken.tap()
    pieces = []
    for at in range(0, len(data), step):
        pieces += reader.feed(data[at : at + step])
    pieces += reader.end()
    for writer in writers:
        for piece in pieces:
            writer.piece(piece)
        writer.end()
    for at in range(0, len(data), step):
        tap.feed(data[at : at + step])
    whole = spoken.reader()
    at_once = [*whole.feed(data), *whole.end()]
    assert whole.done == reader.done, "where a stream was cut decides whether it is whole"
    assert sum(map(_length, at_once)) == sum(map(_length, pieces)), "where a stream was cut decides what was said"
    return pieces


def _length(piece: object) -> int:
    return len(getattr(piece, "text", "") or "")


def embed(form: EmbedFormat, data: bytes) -> object:
    spoken = embed_codec(form)
    spoken.peek(data)
    spoken.renamed(data, "another")
    whole = spoken.decode_ask(data)
    for other in EmbedFormat:
        with suppress(InvalidInputError):  # a format without a place for something says so
            embed_codec(other).encode_ask(whole)
    return whole


def embedded(form: EmbedFormat, data: bytes) -> object:
    told = embed_codec(form).decode_answer(data)
    for other in EmbedFormat:
        question = embed_codec(other).decode_ask(b'{"model":"m","input":"x","prompt":"x"}')
        embed_codec(other).encode_answer(msgspec.structs.replace(told), question)
    return told


def targets() -> Iterator[Target]:
    """All of them."""
    spoken = list(_spoken())
    for form in Format:
        wholes = [whole for other, whole, _ in spoken if other is form]
        streams = [said for other, _, said in spoken if other is form]
        yield Target(name=f"ask {form}", read=partial(ask, form), seeds=asks, mutate=JSON)
        yield Target(
            name=f"answer {form}",
            read=partial(answer, form),
            seeds=partial(list, wholes),
            mutate=JSON,
            errors=(CallError,),
        )
        yield Target(
            name=f"stream {form}",
            read=partial(stream, form),
            seeds=partial(list, streams),
            mutate=JSON,
            errors=(CallError,),
        )
    asked = (
        b'{"model":"m","input":["a","b"],"dimensions":3,"encoding_format":"base64"}',
        b'{"model":"m","prompt":"a"}',
    )
    told = (
        b'{"object":"list","data":[{"index":0,"embedding":[0.5,1]},{"index":1,"embedding":"AACAPwAAAMA="}],"model":"m"}',
        b'{"embeddings":[[1,2],[3,4]],"model":"m","total_duration":5}',
        b'{"embedding":[1.5,2]}',
    )
    for kind in EmbedFormat:
        yield Target(name=f"embed ask {kind}", read=partial(embed, kind), seeds=lambda: asked, mutate=JSON)
        yield Target(
            name=f"embed answer {kind}",
            read=partial(embedded, kind),
            seeds=lambda: told,
            mutate=JSON,
            errors=(CallError,),
        )
