"""Reading a client's JSON: each field with its place, so that a mistake says where it stands and what would be right.

A `Fields` is one object and the path to it (`messages[2].content[0]`). `null` and absence are the same everywhere, as
the official clients send both. Nothing but `InvalidInputError` is ever raised, whatever the JSON.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.wire.talk import Json

Read = TypeVar("Read")

INT_MAX = 2**63 - 1
"""Larger integers are no count of anything, and not every server can read them."""

_PLACE = re.compile(r" - at `\$\.?(.*)`\Z")
_MISSING = re.compile(r"Object missing required field `(.+)`\Z")
_TYPES = re.compile(r"`([^`]*)`")
_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def typed(decoder: msgspec.json.Decoder[Read], body: bytes | msgspec.Raw, *, under: str = "") -> Read:
    """A body decoded into the decoder's type. `under` = its path, where it is part of another.

    Raises `InvalidInputError` with the place of what does not fit.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise misfit(error, under) from error
    except RecursionError as error:
        raise InvalidInputError("is nested too deep", where=under or "body") from error
    except ValueError as error:
        raise InvalidInputError(
            f"is not JSON: {error}", where=under or "body", remedy="send one JSON object"
        ) from error


def converted(kind: type[Read], value: object, *, under: str) -> Read:
    """A decoded value as a struct. Raises as `typed` does."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise misfit(error, under) from error


def misfit(error: msgspec.ValidationError, under: str = "") -> InvalidInputError:
    """What does not fit and where, to be raised."""
    text = str(error)
    found = _PLACE.search(text)
    where = _under(under, found[1] if found else "")
    what = _PLACE.sub("", text)
    if lacking := _MISSING.match(what):
        return missing(lacking[1], where)
    return InvalidInputError(_TYPES.sub(_in_words, what).replace("Expected", "expected"), where=where or "body")


def _in_words(found: re.Match[str]) -> str:
    """Types as people name them: what may be left out need not be named as nothing.

    >>> _TYPES.sub(_in_words, "expected `int | null`, got `str`")
    'expected a whole number, got a text'
    """
    names = found[1].split(" | ")
    wanted = [_NAMES.get(name, f"'{name}'") for name in names if name != "null"] or [_NAMES["null"]]
    return " or ".join(dict.fromkeys(wanted))


def missing(name: str, where: str = "") -> InvalidInputError:
    """A field that must be there and is not, to be raised. `where` = the path of what it belongs to."""
    return InvalidInputError("is missing", where=_under(where, name))


def unknown(value: str, valid: Iterable[str], where: str) -> InvalidInputError:
    """A word that is none of those this place knows, to be raised."""
    return InvalidInputError(f"{short(value)} is not known here", where=where, remedy=nearest(value, valid))


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields at the top, their values as the text they are."""
    return typed(_MEMBERS, body)


def text_of(raw: msgspec.Raw, *, where: str) -> str:
    """JSON text as it was written. Raises `InvalidInputError`."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError("is no text in UTF-8", where=where) from error


class Fields:
    """One JSON object of a request. Its methods take the name of a field and say what it must be."""

    __slots__ = ("value", "where")

    def __init__(self, value: Json, where: str = "") -> None:
        self.value = value
        self.where = where

    @classmethod
    def read(cls, body: bytes) -> "Fields":
        """The object that a body is."""
        return cls(typed(_OBJECT, body))

    def at(self, name: str) -> str:
        """Path to a field."""
        return _under(self.where, name)

    def get(self, name: str) -> object:
        """A field as it is, `None` if absent."""
        return self.value.get(name)

    def has(self, name: str) -> bool:
        """Whether a field says something."""
        return self.value.get(name) is not None

    def text(self, name: str, default: str | None = "") -> str:
        """A string. A default of `None` makes the field required."""
        value = self.value.get(name)
        if isinstance(value, str):
            return value
        if value is None and default is not None:
            return default
        raise self.wrong(name, "a string")

    def named(self, name: str, remedy: str = "") -> str:
        """A string that is there and is not empty."""
        value = self.value.get(name)
        if isinstance(value, str) and value:
            return value
        if value is None or value == "":
            raise InvalidInputError("is missing" if value is None else "is empty", where=self.at(name), remedy=remedy)
        raise self.wrong(name, "a string")

    def number(self, name: str) -> float | None:
        """A number."""
        value = self.value.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= INT_MAX):
            return value
        raise self.wrong(name, "a number")

    def integer(self, name: str) -> int | None:
        """An integer; `3.0` is one."""
        value = self.number(name)
        if value is None or value == int(value):
            return None if value is None else int(value)
        raise self.wrong(name, "an integer")

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        value = self.value.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "true or false")

    def json(self, name: str) -> Json | None:
        """An object as it is."""
        value = self.value.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "an object")

    def inner(self, name: str) -> "Fields | None":
        """An object to be read further."""
        value = self.json(name)
        return None if value is None else Fields(value, self.at(name))

    def needed(self, name: str) -> "Fields":
        """An object that must be there."""
        inner = self.inner(name)
        if inner is None:
            raise InvalidInputError("is missing", where=self.at(name), remedy="it must be an object")
        return inner

    def objects(self, name: str) -> Iterator["Fields"]:
        """The objects of a list; nothing if the list is absent."""
        value = self.value.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.wrong(name, "a list of objects")
        for index, item in enumerate(value):
            place = f"{self.at(name)}[{index}]"
            if not isinstance(item, dict):
                raise _not(place, "an object", item)
            yield Fields(item, place)

    def texts(self, name: str) -> tuple[str, ...]:
        """A string, or a list of strings."""
        value = self.value.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self.wrong(name, "a string or a list of strings")

    def choice(self, name: str, valid: Iterable[str], default: str | None = None) -> str:
        """One of a few words. A default of `None` makes the field required."""
        value = self.value.get(name)
        if value is None and default is not None:
            return default
        words = tuple(valid)
        if value is None:
            raise InvalidInputError("is missing", where=self.at(name), remedy=nearest("", words))
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        if value not in words:
            raise InvalidInputError(
                f"{short(value)} is not known here", where=self.at(name), remedy=nearest(value, words)
            )
        return value

    def rest(self, known: Collection[str]) -> Json:
        """The fields that say something and are not among these."""
        return {name: value for name, value in self.value.items() if name not in known and value is not None}

    def wrong(self, name: str, must: str) -> InvalidInputError:
        """The refusal of a field for what it is, to be raised."""
        return _not(self.at(name), must, self.value.get(name))


def short(text: str, limit: int = 60) -> str:
    """A foreign word in quotes, cut to a length that fits a message."""
    return repr(text if len(text) <= limit else text[:limit] + "...")


def _not(where: str, must: str, value: object) -> InvalidInputError:
    if value is None:
        return InvalidInputError("is missing", where=where, remedy=f"it must be {must}")
    if isinstance(value, float | int) and abs(value) > INT_MAX:
        return InvalidInputError("is out of range", where=where)
    return InvalidInputError(f"must be {must}, not {_kind(value)}", where=where)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "a number"


def _under(where: str, name: str) -> str:
    """A path to a field; an index needs no dot."""
    return f"{where}.{name}" if where and name and not name.startswith("[") else where + name


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(Json)
