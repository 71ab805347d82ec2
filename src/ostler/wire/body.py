"""Bodies of requests: reading one with errors that name the field, and changing nothing but the name of the model.

Shapes are msgspec structs that keep what they do not look into as `Raw`: JSON text is passed on as it was written.
"""

import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ostler.domain.errors import InvalidInputError, nearest

T = TypeVar("T")

WHOLE_BODY = "body"
"""What `where` says of a mistake that is in no field."""
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$?\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<field>\w+)`")
_MODEL = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*(?=")')


class _Named(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw()


_NAMED = msgspec.json.Decoder(_Named)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parsed(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw, *, under: str = "") -> T:
    """What a body says. `under` = the path of the part that is read. Raises `InvalidInputError` with a field's path."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), under) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = str(error) if isinstance(error, msgspec.DecodeError) else "no text in UTF-8"
        if isinstance(error, RecursionError):
            what = "nested too deep"
        raise InvalidInputError(
            f"this is not valid JSON: {what}", where=under or WHOLE_BODY, remedy="send one JSON object in UTF-8"
        ) from error


def converted(kind: type[T], value: object, *, under: str) -> T:
    """A decoded value as a struct. Raises as `parsed` does."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), under) from error


def fields(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The top-level fields, their values unread."""
    return parsed(_FIELDS, body)


def text_of(raw: msgspec.Raw, *, under: str) -> str:
    """JSON text as it was written."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError("no text in UTF-8", where=under, remedy="send UTF-8") from error


def missing(field: str, under: str) -> InvalidInputError:
    """A field that must be there is not."""
    return InvalidInputError(f"'{field}' is missing", where=joined(under, field), remedy=f"add '{field}'")


def unknown(what: str, value: str, valid: Iterable[str], where: str) -> InvalidInputError:
    """A word that is none of those this place knows."""
    return InvalidInputError(f"unknown {what} '{value}'", where=where, remedy=nearest(value, valid))


def joined(under: str, field: str) -> str:
    """A path to a field.

    >>> joined("messages[2]", "role"), joined("", "model"), joined("tools", "[0].name")
    ('messages[2].role', 'model', 'tools[0].name')
    """
    if not under or not field:
        return under or field
    return under + field if field.startswith("[") else f"{under}.{field}"


def renamed(body: bytes, model: str) -> bytes:
    """The same request for another model.

    Where the name stands is found by its bytes if there is one place only that it can be (quotes within JSON text are
    escaped, so text never looks like a field); then all other bytes stay. Else the top level is written anew, with the
    values of all other fields as they were.
    """
    value = bytes(parsed(_NAMED, body).model)
    if not value:
        raise missing("model", "")
    name = msgspec.json.encode(model)
    places = [match.end() for match in _MODEL.finditer(body)]
    if len(places) == 1 and body.startswith(value, places[0]):
        return body[: places[0]] + name + body[places[0] + len(value) :]
    return msgspec.json.encode(fields(body) | {"model": msgspec.Raw(name)})


def _misfit(message: str, under: str) -> InvalidInputError:
    match = _PATH.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    if lacks := _MISSING.search(what):
        return missing(lacks["field"], joined(under, path))
    plain = what.replace("`", "'").replace("object", "an object").replace("array", "a list")
    where = joined(under, path) or WHOLE_BODY
    return InvalidInputError(plain[:1].lower() + plain[1:], where=where, remedy="see the API's reference of this field")
