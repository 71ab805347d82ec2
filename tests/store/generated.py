"""Values of any data type of the domain, for property tests.

They are made from the annotations, so that a new field is covered on the day it is added.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

TEXT = st.text(max_size=12)
INTEGER = st.integers(min_value=-(2**53), max_value=2**53)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)


def any_of(struct: type[Any], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct; `fixed` gives strategies for some of its fields."""
    fields = {field.name: fixed.get(field.name) or _any(field.type) for field in _fields(struct)}
    return st.builds(struct, **fields)


def _fields(struct: type[Any]) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


_SIMPLE: Mapping[type[msgspec.inspect.Type], st.SearchStrategy[Any]] = {
    msgspec.inspect.StrType: TEXT,
    msgspec.inspect.IntType: INTEGER,
    msgspec.inspect.FloatType: FLOAT,
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.NoneType: st.none(),
}


def _bounded(info: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> st.SearchStrategy[Any] | None:
    """Numbers between the bounds that the annotation states; `None` where it states none."""
    low, high = (info.ge if info.ge is not None else info.gt), (info.le if info.le is not None else info.lt)
    if low is None and high is None:
        return None
    if isinstance(info, msgspec.inspect.IntType):
        first = None if low is None else int(low) + (info.ge is None)
        last = None if high is None else int(high) - (info.le is None)
        return st.integers(first, 2**53 if last is None else last)
    return st.floats(
        low,
        high,
        exclude_min=low is not None and info.ge is None,
        exclude_max=high is not None and info.le is None,
        allow_nan=False,
        allow_infinity=False,
    )


def _tuple(info: msgspec.inspect.TupleType | msgspec.inspect.VarTupleType) -> st.SearchStrategy[Any]:
    if isinstance(info, msgspec.inspect.TupleType):
        return st.tuples(*map(_any, info.item_types))
    return st.lists(_any(info.item_type), max_size=3).map(tuple)


def _any(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    if isinstance(info, msgspec.inspect.IntType | msgspec.inspect.FloatType) and (found := _bounded(info)) is not None:
        return found
    if type(info) in _SIMPLE:
        return _SIMPLE[type(info)]
    if isinstance(info, msgspec.inspect.TupleType | msgspec.inspect.VarTupleType):
        return _tuple(info)
    match info:
        case msgspec.inspect.StructType():
            return st.builds(info.cls, **{field.name: _any(field.type) for field in info.fields})
        case msgspec.inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case msgspec.inspect.UnionType():
            return st.one_of(*(_any(member) for member in info.types))
        case msgspec.inspect.FrozenSetType():
            return st.frozensets(_any(info.item_type), max_size=3)
        case msgspec.inspect.DictType():
            return st.dictionaries(_any(info.key_type), _any(info.value_type), max_size=3)
    msg = f"no strategy for {info}"
    raise NotImplementedError(msg)
