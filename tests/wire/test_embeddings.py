"""Embeddings of both makers: requests and answers, there and back, and from one to the other."""

import base64
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from ostler.domain.calls import CallError
from ostler.domain.errors import InvalidInputError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Peek
from ostler.wire.embeddings import (
    EmbedAsk,
    EmbedCodec,
    Embedded,
    EmbedFormat,
    Vector,
    embed_codec,
    from_base64,
    to_base64,
)
from ostler.wire.talk import Json
from tests.wire.talking import JSON_VALUES, NAMES, WORDS

OPENAI = embed_codec(EmbedFormat.OPENAI)
OLLAMA = embed_codec(EmbedFormat.OLLAMA)
LEGACY = embed_codec(EmbedFormat.OLLAMA_LEGACY)

FLOATS = st.floats(-10, 10, width=32)
VECTORS = st.lists(FLOATS, min_size=1, max_size=4).map(tuple)
TEXTS = st.lists(WORDS, min_size=1, max_size=3).map(tuple)
TOKENS = st.lists(st.lists(st.integers(0, 100_000), min_size=1, max_size=3).map(tuple), min_size=1, max_size=2).map(
    tuple
)


@st.composite
def asks(draw: st.DrawFn, form: EmbedFormat) -> EmbedAsk:
    """A request that a format can say whole."""
    legacy, openai = form is EmbedFormat.OLLAMA_LEGACY, form is EmbedFormat.OPENAI
    single = legacy or draw(st.booleans())
    inputs: tuple[str | tuple[int, ...], ...] = draw(TEXTS | TOKENS if openai else TEXTS)
    return EmbedAsk(
        model=draw(NAMES),
        inputs=inputs[:1] if single else inputs,
        single=single,
        dimensions=None if legacy else draw(st.none() | st.integers(1, 4_000)),
        base64=openai and draw(st.booleans()),
        truncate=draw(st.none() | st.booleans()) if form is EmbedFormat.OLLAMA else None,
        keep_alive=None if openai else draw(st.sampled_from([None, "5m", -1])),
        context_tokens=None if openai else draw(st.none() | st.integers(1, 9_000)),
        user=draw(st.just("") | NAMES) if openai else "",
        origin=form,
    )


@pytest.mark.parametrize("form", EmbedFormat)
@given(data=st.data())
def test_a_request_survives_there_and_back(form: EmbedFormat, data: st.DataObject) -> None:
    """Written for an endpoint and read as a server would, it is the same request, and nothing was left out."""
    ask = data.draw(asks(form))
    encoded = embed_codec(form).encode_ask(ask)

    assert encoded.dropped == ()
    assert embed_codec(form).decode_ask(encoded.body) == ask


@given(vector=VECTORS)
def test_a_vector_survives_base64(vector: Vector) -> None:
    """What is written is what the official client unpacks: 32-bit floats, little-endian."""
    text = to_base64(vector)

    assert struct.unpack(f"<{len(vector)}f", base64.b64decode(text)) == vector
    assert from_base64(text) == vector


ANSWERS = st.builds(
    Embedded,
    model=NAMES,
    vectors=st.lists(VECTORS, min_size=1, max_size=3).map(tuple),
    input_tokens=st.integers(0, 9_000),
)


@given(answer=ANSWERS, compact=st.booleans())
def test_an_answer_survives_there_and_back(answer: Embedded, compact: bool) -> None:
    """In both forms of vectors, and in Ollama's."""
    ask = EmbedAsk(model="m", inputs=("x",), base64=compact)
    one = Embedded(vectors=answer.vectors[:1])

    assert OPENAI.decode_answer(OPENAI.encode_answer(answer, ask)) == answer
    assert OLLAMA.decode_answer(OLLAMA.encode_answer(answer, ask)) == answer
    assert LEGACY.decode_answer(LEGACY.encode_answer(answer, ask)) == one


@given(answer=ANSWERS)
def test_a_written_answer_is_what_the_official_client_reads(answer: Embedded) -> None:
    """Valid for the official package's own types, strictly."""
    data = OPENAI.encode_answer(answer, EmbedAsk(model="m", inputs=("x",)))

    response = CreateEmbeddingResponse.model_validate_json(data, strict=True)

    assert [tuple(item.embedding) for item in response.data] == list(answer.vectors)
    assert response.usage.total_tokens == answer.input_tokens


def test_an_openai_client_is_served_by_ollama() -> None:
    """Asked in one format, sent in the other, and back; what the other cannot say is named."""
    ask = OPENAI.decode_ask(b'{"model":"m","input":["a","b"],"encoding_format":"base64","user":"u","x":1}')
    encoded = OLLAMA.encode_ask(ask)
    answer = OLLAMA.decode_answer(
        b'{"model":"m:latest","embeddings":[[1,-2],[0.5,0]],"load_duration":7000000,"prompt_eval_count":4}'
    )
    told = msgspec.json.decode(OPENAI.encode_answer(answer, ask))

    assert msgspec.json.decode(encoded.body) == {"model": "m", "input": ["a", "b"]}
    assert encoded.dropped == ("x", "user")
    assert answer.load_ms == 7
    assert told["data"][0] == {"object": "embedding", "index": 0, "embedding": "AACAPwAAAMA="}
    assert told["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_an_ollama_client_is_served_by_openai() -> None:
    """The other way round; options of the engine are named, not sent."""
    ask = OLLAMA.decode_ask(
        b'{"model":"m","input":"a","truncate":true,"keep_alive":"5m","options":{"num_ctx":512,"seed":1}}'
    )
    encoded = OPENAI.encode_ask(ask)

    assert (ask.context_tokens, ask.extra) == (512, {"options": {"seed": 1}})
    assert msgspec.json.decode(encoded.body) == {"model": "m", "input": "a"}
    assert encoded.dropped == ("options", "truncate", "keep_alive", "context_tokens")
    assert msgspec.json.decode(OLLAMA.encode_ask(ask).body)["options"] == {"seed": 1, "num_ctx": 512}


def test_vectors_are_put_in_order_of_the_inputs() -> None:
    """Servers may send them in any order, and in either form whatever was asked."""
    data = [{"index": 1, "embedding": "AACAPw=="}, {"index": 0, "embedding": [2]}]

    assert OPENAI.decode_answer(msgspec.json.encode({"data": data})).vectors == ((2.0,), (1.0,))


def test_the_older_form_takes_one_text() -> None:
    """Several texts, lengths and cutting have no place there."""
    encoded = LEGACY.encode_ask(EmbedAsk(model="m", inputs=("a",), dimensions=3, truncate=False))

    assert msgspec.json.decode(encoded.body) == {"model": "m", "prompt": "a"}
    assert encoded.dropped == ("truncate", "dimensions")
    with pytest.raises(InvalidInputError, match="takes one text, not 2"):
        LEGACY.encode_ask(EmbedAsk(model="m", inputs=("a", "b")))


@pytest.mark.parametrize(("inputs", "single", "where"), [(((1, 2),), True, "input"), (("a", (3,)), False, "input[1]")])
def test_tokens_by_number_are_refused_for_ollama(
    inputs: tuple[str | tuple[int, ...], ...], single: bool, where: str
) -> None:
    """They mean something to one family of models alone."""
    with pytest.raises(InvalidInputError, match="send texts") as caught:
        OLLAMA.encode_ask(EmbedAsk(model="m", inputs=inputs, single=single))

    assert caught.value.where == where


WRONG: list[tuple[EmbedCodec, Json, str, str]] = [
    (OPENAI, {"input": "x"}, "model", "name a model"),
    (OPENAI, {"model": "m"}, "input", "is missing"),
    (OPENAI, {"model": "m", "input": ""}, "input", "at least one token"),
    (OPENAI, {"model": "m", "input": []}, "input", "is empty"),
    (OPENAI, {"model": "m", "input": ["a", ""]}, "input[1]", "is empty"),
    (OPENAI, {"model": "m", "input": [True]}, "input", "a list of texts"),
    (OPENAI, {"model": "m", "input": [-1]}, "input", "a list of texts"),
    (OPENAI, {"model": "m", "input": {"a": 1}}, "input", "a list of texts"),
    (OPENAI, {"model": "m", "input": "x", "dimensions": 0}, "dimensions", "at least 1"),
    (OPENAI, {"model": "m", "input": "x", "encoding_format": "base46"}, "encoding_format", "did you mean 'base64'"),
    (OLLAMA, {"model": "m", "prompt": "x"}, "input", "is missing"),
    (OLLAMA, {"model": "m", "input": [1]}, "input", "a string or a list of strings"),
    (OLLAMA, {"model": "m", "input": "x", "truncate": 1}, "truncate", "true or false"),
    (OLLAMA, {"model": "m", "input": "x", "keep_alive": []}, "keep_alive", "5m"),
    (OLLAMA, {"model": "m", "input": "x", "options": {"num_ctx": "big"}}, "options.num_ctx", "a number"),
    (LEGACY, {"model": "m", "input": "x"}, "prompt", "is missing"),
]


@pytest.mark.parametrize(("form", "fields", "where", "says"), WRONG)
def test_a_mistake_is_told_with_its_place(form: EmbedCodec, fields: Json, where: str, says: str) -> None:
    """The field, and what would be right."""
    with pytest.raises(InvalidInputError) as caught:
        form.decode_ask(msgspec.json.encode(fields))

    assert caught.value.where == where
    assert says in str(caught.value)


@pytest.mark.parametrize("form", EmbedFormat)
@given(fields=st.dictionaries(
    st.sampled_from(["input", "prompt", "dimensions", "options", "keep_alive", "encoding_format", "user"]),
    JSON_VALUES, max_size=4))  # fmt: skip
def test_no_request_breaks_the_reader(form: EmbedFormat, fields: Json) -> None:
    """For arbitrary JSON the reader reads, or names the field that is wrong; what it has read can be written."""
    codec = embed_codec(form)
    try:
        ask = codec.decode_ask(msgspec.json.encode({"model": "m"} | fields))
    except InvalidInputError as error:
        assert error.where.split(".")[0].split("[")[0] in (*fields, "input", "prompt")  # noqa: PT017
    else:
        assert codec.encode_ask(ask).dropped == ()


@pytest.mark.parametrize("form", EmbedFormat)
@given(data=st.binary(max_size=60) | JSON_VALUES.map(msgspec.json.encode))
def test_no_bytes_break_the_reader_of_answers(form: EmbedFormat, data: bytes) -> None:
    """What is no answer is a failed call."""
    with pytest.raises(CallError):
        embed_codec(form).decode_answer(data)


@pytest.mark.parametrize(
    ("form", "data", "kind"),
    [
        (OPENAI, b'{"data": []}', FailureClass.MALFORMED),
        (OPENAI, b'{"data": [{"embedding": "AAA"}]}', FailureClass.MALFORMED),
        (OPENAI, b'{"data": [{"embedding": "AAAA"}]}', FailureClass.MALFORMED),
        (OPENAI, b'{"error": {"message": "The model x does not exist"}}', FailureClass.MODEL_MISSING),
        (OLLAMA, b'{"error": "model \\"x\\" not found, try pulling it first"}', FailureClass.MODEL_MISSING),
        (LEGACY, b'{"embedding": []}', FailureClass.MALFORMED),
    ],
)
def test_what_is_no_answer_is_a_failure_of_its_class(form: EmbedCodec, data: bytes, kind: FailureClass) -> None:
    """Nonsense and errors that come with success."""
    with pytest.raises(CallError) as caught:
        form.decode_answer(data)

    assert caught.value.kind is kind


def test_a_look_finds_what_a_decision_needs() -> None:
    """Model, size, and the context an engine is to run with."""
    assert OPENAI.peek(b'{"model":"m","input":"abc"}') == Peek(model="m", prompt_chars=5)
    assert OLLAMA.peek(b'{"model":"m","input":"abc","options":{"num_ctx":9}}') == Peek(
        model="m", context_tokens=9, prompt_chars=5
    )
    assert OPENAI.renamed(b'{"model":"m","input":1}', "n") == b'{"model":"n","input":1}'
    for form in (OPENAI, OLLAMA, LEGACY):
        with pytest.raises(InvalidInputError):
            form.peek(b'{"model":"","input":"x"}')
