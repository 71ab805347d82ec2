"""A look at chat requests without building them, and their renaming by bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Peek
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.talk import Json
from tests.wire.openai_requests import AGENT, HELLO, body
from tests.wire.talking import JSON_VALUES

CODEC = OpenAIChat()


def test_a_look_finds_what_a_decision_needs() -> None:
    """Model, stream, limit, tools, pictures, thinking, number of answers and size, without reading the whole."""
    data = msgspec.json.encode(AGENT | {"n": 2})

    peek = CODEC.peek(data)

    assert msgspec.structs.replace(peek, prompt_chars=0) == Peek(
        model="auto", stream=True, max_output_tokens=400, tools=True, images=True, thinking=True, choices=2
    )
    assert 200 < peek.prompt_chars < len(data)


def test_a_plain_request_looks_plain() -> None:
    """Nothing is claimed that is not there, also where a client sends empty or null fields."""
    peek = CODEC.peek(body(tools=[], n=None, reasoning_effort="none"))

    assert peek == Peek(model="auto", prompt_chars=len("hello") + len("[]"))


def test_a_look_sees_that_the_answer_is_begun() -> None:
    """A last turn of the assistant is to be continued."""
    assert CODEC.peek(body(messages=[HELLO, {"role": "assistant", "content": "Sure,"}])).prefill


def test_the_data_of_a_picture_is_no_prompt() -> None:
    """Megabytes of base64 do not make a request seem too long for a window; a talk about pictures has none."""
    url = "data:image/png;base64," + "A" * 100_000
    peek = CODEC.peek(body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]))
    talk = CODEC.peek(body(messages=[{"role": "user", "content": [{"type": "text", "text": '{"type":"image_url"}'}]}]))

    assert peek.images
    assert peek.prompt_chars < 200
    assert not talk.images


@pytest.mark.parametrize(
    ("data", "where"),
    [(b'{"messages": []}', "model"), (b'{"model": "", "messages": []}', "model"), (b'{"model": "m"}', "messages"),
     (b'{"model": "m", "messages": [{"role": 1}]}', "messages[0].role")],
)  # fmt: skip
def test_a_look_names_the_field_that_is_wrong(data: bytes, where: str) -> None:
    """A request that cannot even be routed is refused with the place of its mistake."""
    with pytest.raises(InvalidInputError) as caught:
        CODEC.peek(data)

    assert caught.value.where == where


@given(
    fields=st.dictionaries(
        st.sampled_from(["model", "tools", "x", "messages"]), JSON_VALUES | st.just({"model": "auto"}), max_size=3
    ),
    name=st.text(max_size=8),
    first=st.booleans(),
)
def test_renaming_changes_the_name_at_the_top_alone(fields: Json, name: str, first: bool) -> None:
    """Wherever else a model is spoken of, only the field at the top is another afterwards."""
    rest = {key: value for key, value in fields.items() if key != "model"}
    whole = {"model": 'au"to'} | rest if first else rest | {"model": 'au"to'}

    renamed = CODEC.renamed(msgspec.json.encode(whole), name)

    assert msgspec.json.decode(renamed) == whole | {"model": name}


@pytest.mark.parametrize(
    "data",
    [b'{"\\u006dodel":"dear","x":{"model":"cheap"}}', b'{"model":"cheap","\\u006Dodel":"dear"}',
     b'{"model":"cheap","model":"dear"}'],
)  # fmt: skip
def test_no_spelling_of_the_key_smuggles_a_name_past_renaming(data: bytes) -> None:
    """A key in escapes, or one written twice, is renamed too: the endpoint never reads the client's own name."""
    renamed = CODEC.renamed(data, "ours")

    assert msgspec.json.decode(renamed)["model"] == "ours"
    assert b"dear" not in renamed


def test_renaming_leaves_all_other_values() -> None:
    """Numbers, spaces within values and the order of fields stay as the client wrote them."""
    data = b'{ "n" : 1.0, "model":  "a", "x": { "model": [1e2] } }'

    assert CODEC.renamed(data, "b\n") == b'{"n":1.0,"model":"b\\n","x":{ "model": [1e2] }}'
