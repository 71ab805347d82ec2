"""A glance at a request of the Messages API, and a change of nothing but its model."""

import json

import pytest

from ostler.domain.errors import InvalidInputError
from ostler.wire.anthropic import Anthropic
from ostler.wire.codec import Format
from ostler.wire.formats import codec
from tests.wire.anthropic_rig import CODEC, FULL


def test_a_glance_says_what_a_decision_needs() -> None:
    """Model, stream, limits, tools, images, thinking and size, without building the whole."""
    glance = CODEC.peek(json.dumps(FULL).encode())

    assert (glance.model, glance.stream, glance.max_output_tokens) == ("claude-x", True, 4000)
    assert (glance.tools, glance.images, glance.thinking, glance.prefill) == (True, True, True, False)
    assert 300 < glance.prompt_chars < 2000


def test_a_glance_is_not_fooled_by_words() -> None:
    """Text about an "image" is no image, an empty list is no tools, and disabled thinking is none."""
    glance = CODEC.peek(
        json.dumps(
            {
                "model": "m",
                "tools": [],
                "thinking": {"type": "disabled"},
                "messages": [
                    {"role": "user", "content": 'an "image" {"type":"image"}'},
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {"image": "image"}}],
                    },
                ],
            }
        ).encode()
    )

    assert (glance.images, glance.tools, glance.thinking, glance.prefill) == (False, False, False, True)


def test_a_glance_does_not_count_the_bytes_of_images() -> None:
    """A photograph of a megabyte is not a prompt of a million characters, be it in a turn or in a tool's result."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    glance = CODEC.peek(json.dumps({"model": "m", "messages": [{"role": "user", "content": [image, result]}]}).encode())

    assert glance.images
    assert glance.prompt_chars < 500


def test_a_request_is_renamed_in_its_bytes() -> None:
    """Nothing but the name of the model changes; all other values are the bytes they were."""
    body = b'{ "messages":[{"role": "user","content":"\\"model\\": \\"a\\""}],\n"model" : "a" , "x":1.50}'

    assert CODEC.renamed(body, 'b"c') == (
        b'{"messages":[{"role": "user","content":"\\"model\\": \\"a\\""}],"model":"b\\"c","x":1.50}'
    )


def test_the_format_is_spoken() -> None:
    """The registry hands out this codec."""
    assert isinstance(codec(Format.ANTHROPIC), Anthropic)


def test_a_glance_needs_a_name() -> None:
    """A request for no model cannot be decided on."""
    with pytest.raises(InvalidInputError) as caught:
        CODEC.peek(b'{"model":"","messages":[]}')
    assert caught.value.where == "model"
