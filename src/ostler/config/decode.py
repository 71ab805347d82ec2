"""Nodes -> the structs of the schema, reporting every mistake and going on.

One walk over node and type together. A value that is refused is left out, so that its default stands in for it and the
rest can still be checked; the caller refuses the whole profile when anything was reported.

Rules that hold for every number: it is finite, not negative and below the bound of its unit. The walk is as deep as
the schema and visits each node once.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar, cast

import msgspec
from msgspec import inspect

from ostler.config.mistakes import Mistakes, SettingPath
from ostler.config.nodes import Member, Node, Place
from ostler.config.units import (
    LIMITS,
    Unit,
    bound_text,
    key_of,
    parse_bytes,
    parse_duration_ms,
    parse_tokens,
    unit_of,
)
from ostler.domain.errors import nearest
from ostler.domain.money import MICRO_USD_PER_USD, micro_usd

S = TypeVar("S", bound=msgspec.Struct)
_Number = inspect.IntType | inspect.FloatType
_List = inspect.VarTupleType | inspect.FrozenSetType

REMEDIES = {
    "alias": "did you mean 'aliases'?",
    "api_key": "put the key into an environment variable and name that variable with api_key_env",
    "base_url": "an endpoint says `url`",
    "max_loaded_models": "did you mean 'max_resident_models' (of a host)?",
    "memory_management": "say it of a host: hosts.NAME.max_resident_models, hosts.NAME.preload",
    "<<": "YAML 1.2 has no merge keys: repeat the settings, or give the whole mapping an anchor",
}
"""Words of other tools, and what to write instead."""

_EXAMPLES = {
    Unit.DURATION: "a duration with its unit, such as 500ms, 5s or 10m",
    Unit.SIZE: "a size such as 20GB, 32GiB or a number of bytes",
    Unit.TOKENS: "a number of tokens such as 32768 or 128k",
    Unit.MONEY: "an amount in US dollars such as 20.00",
}
_PARSERS: Mapping[Unit, Callable[[str], int]] = {
    Unit.DURATION: parse_duration_ms,
    Unit.SIZE: parse_bytes,
    Unit.TOKENS: parse_tokens,
}


class _Refused(Exception):
    """The value was reported and is left out."""


@cache
def fields_of(cls: type[msgspec.Struct]) -> Mapping[str, inspect.Field]:
    """The fields of a section by the key they are written with."""
    info = inspect.type_info(cls)
    return {key_in_file(field): field for field in cast("inspect.StructType", info).fields}


def key_in_file(field: inspect.Field) -> str:
    """The key of a field: the one it was given, else its attribute without the unit."""
    return field.encode_name if field.encode_name != field.name else key_of(field.name)


def decode(cls: type[S], root: Node, mistakes: Mistakes, places: dict[SettingPath, Place]) -> S:
    """The struct for a mapping. Fills `places` with every setting that is written, adds to `mistakes`."""
    return cast("S", _Walk(mistakes, places).struct(cls, root, ()))


class _Walk:
    def __init__(self, mistakes: Mistakes, places: dict[SettingPath, Place]) -> None:
        self._mistakes = mistakes
        self._places = places

    def struct(self, cls: type[msgspec.Struct], node: Node, path: SettingPath) -> msgspec.Struct:
        fields = fields_of(cls)
        values: dict[str, object] = {}
        for key, member in self._members(node, path).items():
            field = fields.get(key)
            in_ms = False
            if field is None and key.endswith("_ms") and key.removesuffix("_ms") in fields:
                field, in_ms = fields[key.removesuffix("_ms")], True
            if field is None:
                remedy = REMEDIES.get(key) or nearest(key, fields)
                self._mistakes.add_unknown((*path, key), remedy, place=member.place)
                continue
            child = (*path, key_in_file(field))
            if child in self._places:
                self._mistakes.add(child, "is given twice, with and without `_ms`", "keep one", place=member.place)
                continue
            self._places[child] = member.place
            unit = Unit.MILLISECONDS if in_ms else unit_of(field.name)
            if _is_absent(member.node, field):
                continue
            if member.node.value is None and not _may_be_none(field):
                what, remedy = "has no value", "write one, or remove the line to keep the default"
                self._mistakes.add_unread(child, what, remedy, place=member.place)
                continue
            try:
                values[field.name] = self._value(field.type, member.node, child, unit)
            except _Refused:
                continue
        return cls(**values)

    def _members(self, node: Node, path: SettingPath) -> Mapping[str, Member]:
        if isinstance(node.value, dict):
            return node.value
        if node.value is not None:
            what = f"expected a mapping of settings, got {_named(node)}"
            self._mistakes.add_unread(path, what, "write `name: value` lines", place=node.place)
        return {}

    def _value(self, kind: inspect.Type, node: Node, path: SettingPath, unit: Unit) -> object:
        if isinstance(kind, inspect.UnionType):
            return self._union(kind, node, path, unit)
        if isinstance(kind, inspect.StructType):
            return self.struct(kind.cls, node, path)
        if isinstance(kind, inspect.DictType):
            return self._mapping(kind, node, path)
        if isinstance(kind, _List):
            return self._list(kind, node, path)
        if isinstance(kind, inspect.EnumType):
            return self._enum(kind, node, path)
        if isinstance(kind, _Number):
            return self._number(kind, node, path, unit)
        if isinstance(kind, inspect.BoolType):
            return self._bool(node, path)
        return self._text(node, path)

    def _union(self, kind: inspect.UnionType, node: Node, path: SettingPath, unit: Unit) -> object:
        arms = [arm for arm in kind.types if not isinstance(arm, inspect.NoneType)]
        names = [arm for arm in arms if isinstance(arm, inspect.EnumType)]
        if node.value is None:
            return None
        if len(arms) > 1 and names and _shown(node) in _choices(names[0]):
            return self._value(names[0], node, path, unit)
        return self._value(arms[0], node, path, unit)

    def _mapping(self, kind: inspect.DictType, node: Node, path: SettingPath) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, member in self._members(node, path).items():
            child = (*path, key)
            self._places[child] = member.place
            if not key.strip():
                self._mistakes.add(child, "the name is empty", "give it a name", place=member.place)
                continue
            try:
                result[key] = self._value(kind.value_type, member.node, child, Unit.NONE)
            except _Refused:
                continue
        return result

    def _list(self, kind: _List, node: Node, path: SettingPath) -> object:
        if not isinstance(node.value, list):
            if node.value is None:
                return ()
            remedy = f"write [{node.value}]" if isinstance(node.value, str) else "write [one, two]"
            raise self._refuse(path, f"expected a list, got {_named(node)}", remedy, node.place)
        items = []
        for item in node.value:
            try:
                items.append(self._value(kind.item_type, item, path, Unit.NONE))
            except _Refused:
                continue
        repeated = sorted({str(item) for item in items if items.count(item) > 1})
        if repeated:
            raise self._refuse(path, f"lists '{repeated[0]}' twice", "keep one", node.place)
        return frozenset(items) if isinstance(kind, inspect.FrozenSetType) else tuple(items)

    def _enum(self, kind: inspect.EnumType, node: Node, path: SettingPath) -> object:
        choices = _choices(kind)
        if isinstance(node.value, str) and node.value in choices:
            return kind.cls(node.value)
        text = "none" if node.value is None else _shown(node)
        raise self._refuse(path, f"{_named(node)} is no valid choice", nearest(text, choices), node.place)

    def _number(self, kind: _Number, node: Node, path: SettingPath, unit: Unit) -> int | float:
        wants_whole = isinstance(kind, inspect.IntType) and unit is not Unit.MONEY
        example = _EXAMPLES.get(unit) or ("a whole number" if wants_whole else "a number")
        number: int | float
        if isinstance(node.value, str) and unit in _PARSERS:
            try:
                number = _PARSERS[unit](node.value)
            except ValueError:
                raise self._refuse(path, f"cannot read '{node.value}'", f"write {example}", node.place) from None
        elif isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self._refuse(path, f"expected {example}, got {_named(node)}", f"write {example}", node.place)
        else:
            number = node.value
        if unit is Unit.DURATION and not isinstance(node.value, str) and number != 0:
            remedy = f"write {number}s or {number}ms"
            raise self._refuse(path, f"{number} has no unit", remedy, node.place)
        if wants_whole and not isinstance(number, int):
            raise self._refuse(path, f"expected {example}, got {_named(node)}", f"write {example}", node.place)
        self._check_range(kind, number, node, path, unit)
        if unit is Unit.MONEY:
            return micro_usd(number)
        return number if wants_whole else float(number)

    def _check_range(self, kind: _Number, number: float, node: Node, path: SettingPath, unit: Unit) -> None:
        least = kind.ge if kind.ge is not None and unit is not Unit.MONEY else 0
        most = kind.le if kind.le is not None else LIMITS[unit]
        if unit is Unit.MONEY:
            most = most // MICRO_USD_PER_USD
        if not math.isfinite(number) or number > most:
            raise self._refuse(path, f"{_shown(node)} is too large", f"at most {bound_text(most, unit)}", node.place)
        if number < least:
            limit = bound_text(least, unit)
            what = "is negative" if number < 0 else f"is below {limit}"
            raise self._refuse(path, f"{_shown(node)} {what}", f"at least {limit}", node.place)

    def _bool(self, node: Node, path: SettingPath) -> bool:
        if isinstance(node.value, bool):
            return node.value
        raise self._refuse(path, f"expected true or false, got {_named(node)}", "write true or false", node.place)

    def _text(self, node: Node, path: SettingPath) -> str:
        if isinstance(node.value, str):
            return node.value
        quoted = not isinstance(node.value, list | dict) and node.value is not None
        remedy = f"put it in quotes: '{_shown(node)}'" if quoted else "write one word or a text in quotes"
        raise self._refuse(path, f"expected text, got {_named(node)}", remedy, node.place)

    def _refuse(self, path: SettingPath, what: str, remedy: str, place: Place) -> _Refused:
        self._mistakes.add_unread(path, what, remedy, place=place)
        return _Refused()


def _is_absent(node: Node, field: inspect.Field) -> bool:
    """An empty section or list is one whose lines are all comments; an empty scalar is a value that was forgotten."""
    return node.value is None and isinstance(field.type, inspect.StructType | inspect.DictType | _List)


def _may_be_none(field: inspect.Field) -> bool:
    return isinstance(field.type, inspect.UnionType) and field.type.includes_none


def _choices(kind: inspect.EnumType) -> list[str]:
    return [str(member.value) for member in kind.cls]


def _shown(node: Node) -> str:
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return str(node.value)


def _named(node: Node) -> str:
    """What a value is, for a message."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the truth value {_shown(node)}"
    if isinstance(node.value, int | float):
        return f"the number {_shown(node)}"
    return f"'{node.value}'" if len(node.value) <= 40 else f"'{node.value[:40]}...'"  # noqa: PLR2004 - a line's worth
