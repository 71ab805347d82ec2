"""Strict decoding of bodies and queries, with errors that name the place and the nearest valid choice.

msgspec says where a value is wrong (`$.tasks[0].priority`) but not what would be valid there; the type at that place
does. Cost: nothing for valid input, one walk along the path for invalid input.
"""

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from ostler.domain.errors import InvalidInputError, nearest

T = TypeVar("T", bound=msgspec.Struct)

_PLACE = re.compile(r"^(?P<what>.*) - at `(?P<path>\$.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_ENUM = re.compile(r"Invalid enum value (?P<value>.*)")


def decode_json(raw: bytes, kind: object) -> object:
    """A JSON body as a value of `kind`; empty is `None` where that is allowed. Raises `InvalidInputError`."""
    if not raw and is_optional(kind):
        return None
    if not raw:
        raise InvalidInputError("the body is empty", where="body", remedy="send a JSON document")
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise explained(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"not valid JSON: {error}", where="body", remedy="send a JSON document") from None
    except RecursionError:
        raise InvalidInputError("it is nested too deeply", where="body", remedy="send it flatter") from None


def decode_form(raw: bytes, kind: type[T]) -> T:
    """A form as a value of the struct `kind`, as `decode_query`. Raises `InvalidInputError`."""
    return _decode_pairs(form_fields(raw), kind, "form field", "form")


def form_fields(raw: bytes) -> list[tuple[str, str]]:
    """The fields of a form, in order. Raises `InvalidInputError`."""
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError:
        raise InvalidInputError("not a valid form", where="body", remedy="send NAME=VALUE&NAME=VALUE") from None


def decode_query(pairs: Iterable[tuple[str, str]], kind: type[T]) -> T:
    """Query parameters as a value of the struct `kind`; sequences are separated by commas.

    Raises `InvalidInputError`.
    """
    return _decode_pairs(pairs, kind, "query parameter", "query")


def _decode_pairs(pairs: Iterable[tuple[str, str]], kind: type[T], part: str, whole: str) -> T:
    lists = _lists(kind)
    values: dict[str, object] = {}
    for name, text in pairs:
        if name in values:
            raise InvalidInputError("given more than once", where=f"{part} `{name}`", remedy="give it once")
        values[name] = [part for part in text.split(",") if part] if name in lists else text
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        explanation = explained(str(error), kind)
        place = explanation.where.removeprefix("$").removeprefix(".")
        where = f"{part} `{place}`" if place else whole
        raise InvalidInputError(explanation.what, where=where, remedy=explanation.remedy) from None


@cache
def _lists(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Fields that hold several values."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if get_origin(field.type) is tuple)


def explained(message: str, kind: object) -> InvalidInputError:
    """The message of a failed decoding with its place apart and, where one can be told, the nearest valid choice."""
    match = _PLACE.match(message)
    what, path = (match["what"], match["path"]) if match else (message, "$")
    there = tuple(_at(inspect.type_info(kind), path))
    remedy = ""
    if unknown := _UNKNOWN.search(what):
        remedy = nearest(unknown["name"], _field_names(there))
    elif wrong := _ENUM.match(what):
        remedy = nearest(wrong["value"].strip("'"), _enum_values(there))
    elif values := sorted(_enum_values(there)):
        remedy = "valid: " + ", ".join(values)
    return InvalidInputError(what[:1].lower() + what[1:], where=path, remedy=remedy)


def is_optional(kind: object) -> bool:
    """Whether `None` is one of the values of a type."""
    return get_origin(kind) in (Union, types.UnionType) and types.NoneType in get_args(kind)


def _at(node: inspect.Type, path: str) -> Iterator[inspect.Type]:
    """The types that may stand at a path, unions taken apart."""
    nodes = list(_options(node))
    for step in _STEP.finditer(path):
        nodes = [option for parent in nodes for child in _children(parent, step) for option in _options(child)]
    yield from nodes


def _options(node: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.Metadata):
        yield from _options(node.type)
    elif isinstance(node, inspect.UnionType):
        for option in node.types:
            yield from _options(option)
    else:
        yield node


def _children(node: inspect.Type, step: re.Match[str]) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.StructType) and step["field"]:
        yield from (field.type for field in node.fields if field.encode_name == step["field"])
    elif isinstance(node, inspect.DictType) and step["index"]:
        yield node.value_type
    elif isinstance(node, inspect.TupleType) and step["index"]:
        yield from node.item_types
    elif isinstance(node, inspect.CollectionType) and step["index"]:
        yield node.item_type


def _field_names(nodes: Iterable[inspect.Type]) -> set[str]:
    return {field.encode_name for node in nodes if isinstance(node, inspect.StructType) for field in node.fields}


def _enum_values(nodes: Iterable[inspect.Type]) -> set[str]:
    members: set[str] = set()
    for node in nodes:
        if isinstance(node, inspect.EnumType):
            members.update(str(member.value) for member in node.cls)
        elif isinstance(node, inspect.LiteralType):
            members.update(str(value) for value in node.values)
    return members


def check_names(names: Mapping[str, str]) -> None:
    """Refuse names (place -> name) that could not stand in a path of this API. Raises `InvalidInputError`."""
    for place, name in names.items():
        if not ADDRESSABLE.fullmatch(name):
            raise InvalidInputError(
                f"'{name}' cannot be used as a name",
                where=place,
                remedy="use 1 to 128 letters, digits, or . _ - : @ and begin with a letter or digit",
            )


ADDRESSABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
