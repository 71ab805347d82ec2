"""Puts a direct call into the wire format of its endpoint, by the codec that the gateway uses. Pure.

Options of the call go over what the codec wrote, for they are what the user wrote.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.calls import ModelCall
from ostler.wire.codec import Codec
from ostler.wire.talk import Ask, Text, Turn

Body = dict[str, object]


def asked(call: ModelCall) -> Ask:
    """The call in the form that all formats share."""
    return Ask(
        model=call.model,
        turns=tuple(Turn(role=said.role, parts=(Text(text=said.text),)) for said in call.messages),
        max_output_tokens=call.max_output_tokens,
        temperature=call.temperature,
        context_tokens=call.context_tokens,
        keep_alive=call.keep_alive_s,
        stream=True,
    )


def body_of(codec: Codec, ask: Ask, options: Mapping[str, object]) -> Body:
    """The body of a request."""
    body: Body = msgspec.json.decode(codec.encode_ask(ask).body)
    return body | dict(options)
