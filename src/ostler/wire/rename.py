"""A request for another model: only the name at the top is replaced. Pure.

Where the body holds one key `"model"` and no key could be spelt in escapes, the bytes of the name are cut out and
replaced: one search. Else the top level is taken apart, its values staying as the bytes they are. Either way every
reader of the result finds the new name, also where the client had written the key twice.
"""

import re

import msgspec

from ostler.wire.fields import typed

_KEY = b'"model"'
_NAME = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_ESCAPED_LETTER = b"\\u006"
"""All five letters of the key begin so when written in escapes."""
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def renamed(body: bytes, model: str) -> bytes:
    """A body that was read as a request (`Codec.peek`), with its model's name replaced.

    >>> renamed(b'{"n": 1, "model": "auto"}', "m")
    b'{"n": 1, "model": "m"}'
    """
    name = msgspec.json.encode(model)
    if body.count(_KEY) == 1 and _ESCAPED_LETTER not in body and (found := _NAME.search(body)):
        return b"".join((body[: found.start(1)], name, body[found.end(1) :]))
    members = typed(_MEMBERS, body)
    members["model"] = msgspec.Raw(name)
    return msgspec.json.encode(members)
