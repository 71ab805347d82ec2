"""Arguments of tools as objects: never broken JSON where an object must be."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.wire.arguments import as_object, in_object
from tests.wire.talks import arguments


@given(text=arguments)
def test_good_arguments_stay_as_they_were_written(text: str) -> None:
    """Not one byte changes: numbers and order of fields are the model's own."""
    found = as_object(text)

    assert found is not None
    assert bytes(found) == text.encode()


def test_arguments_of_several_lines_become_one() -> None:
    """They may stand in a line of a stream; line ends within strings are escaped and stay."""
    found = as_object('{\n  "a": 1.50,\r\n  "b": "x\\ny"\n}')

    assert found is not None
    assert bytes(found) == b'{"a":1.50,"b":"x\\ny"}'


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1e999}',
        '{"a": "x\ny"}',
        '{"a": "\\q"}',
        '{"a": 01}',
        '{"a": NaN}',
        '{"a"',
        "[]",
        '"{}"',
        "nonsense",
        "{} {}",
        "null",
    ],
)
def test_broken_arguments_are_handed_on_as_text(text: str) -> None:
    """Also where only a careful reader sees that they are broken."""
    assert as_object(text) is None
    assert in_object(text) == {"arguments": text}


@given(text=st.text(max_size=30) | arguments.map(lambda text: text[:-1]))
def test_what_comes_out_is_always_one_line_with_one_object(text: str) -> None:
    """Whatever a model writes."""
    line = msgspec.json.encode(in_object(text))

    assert b"\n" not in line
    assert isinstance(json.loads(line), dict)
