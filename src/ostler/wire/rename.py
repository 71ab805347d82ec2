"""A request for another model: only the name at the top is replaced. Pure; one pass over the bytes.

The top level is taken apart into names and unread values, and put together again: values stay the bytes they are. A
search for the name's place would cost more, and could be fooled by a key that is written twice or in escapes; here
every reader of the result finds the new name and no other.
"""

import msgspec

from ostler.wire.fields import typed

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def renamed(body: bytes, model: str) -> bytes:
    """A body that was read as a request (`Codec.peek`), with its model's name replaced. Raises `InvalidInputError`.

    >>> renamed(b'{"n": 1.0, "model": "auto"}', "m")
    b'{"n":1.0,"model":"m"}'
    """
    members = typed(_MEMBERS, body)
    members["model"] = msgspec.Raw(_encode(model))
    return _encode(members)
