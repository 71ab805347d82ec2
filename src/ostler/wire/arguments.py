"""Arguments of tools: JSON text as the model wrote it, for formats that want an object in its place. Pure.

A model may write broken JSON, or be cut in the middle of it; that never breaks the request or answer that carries it.
So the text is read whole before it is trusted, and then passed on as it was written.
"""

import msgspec

from ostler.wire.talk import Json

_OBJECT = msgspec.json.Decoder(Json)


def as_object(arguments: str) -> msgspec.Raw | None:
    """Arguments as the object they are, on one line; `None` if they are no object."""
    try:
        _OBJECT.decode(arguments)
        compact = arguments if "\n" not in arguments else msgspec.json.format(arguments, indent=-1)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return msgspec.Raw(compact.encode())


def in_object(arguments: str) -> msgspec.Raw | Json:
    """Arguments as an object in any case: what is none is handed on as text within one.

    >>> bytes(in_object('{"a": 1}')), in_object(""), in_object('{"a": ')
    (b'{"a": 1}', {}, {'arguments': '{"a": '})
    """
    found = as_object(arguments)
    if found is not None:
        return found
    return {"arguments": arguments} if arguments.strip() else {}
