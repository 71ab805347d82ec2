"""Plain values to YAML as a person would write it: mappings in blocks, short lists in brackets, quotes where needed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from ostler.config.nodes import resolve_plain

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
_BARE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./ -]*")
WIDTH = 116


def yaml_text(document: Mapping[str, Value], *, comment: Sequence[str] = ()) -> str:
    """A document with a comment above it.

    >>> print(yaml_text({"a": {"b": [1, "x y"]}, "c": "1:2"}, comment=["why"]), end="")
    # why
    a:
      b: [1, x y]
    c: "1:2"
    """
    head = [f"# {_clean(line)}".rstrip() for text in comment for line in text.splitlines()]
    return "\n".join([*head, *_members(document, "")]) + "\n"


def _clean(line: str) -> str:
    return "".join(sign for sign in line if sign.isprintable())


def _members(mapping: Mapping[str, Value], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        name = f"{indent}{scalar(key)}:"
        if isinstance(value, Mapping) and value:
            yield name
            yield from _members(value, indent + "  ")
        elif isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value):
            yield name
            for item in value:
                yield from _item(item, indent + "  ")
        else:
            yield from _flow(name, value, indent)


def _item(item: Value, indent: str) -> Iterator[str]:
    """A mapping in a list: its first key stands beside the dash."""
    lines = list(_members(item, indent + "  ")) if isinstance(item, Mapping) else [f"{indent}  {scalar(item)}"]
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _flow(name: str, value: Value, indent: str) -> Iterator[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        yield f"{name} {scalar(value)}" if value != {} else f"{name} {{}}"
        return
    line = f"{name} [{', '.join(scalar(item) for item in value)}]"
    if len(line) <= WIDTH:
        yield line
        return
    yield name
    yield from (f"{indent}  - {scalar(item)}" for item in value)


def scalar(value: Value) -> str:
    """A scalar, in quotes where it would otherwise be read as something else.

    >>> scalar("32GB"), scalar("yes: no"), scalar("12"), scalar(True), scalar("coder:7b")
    ('32GB', '"yes: no"', '"12"', 'true', '"coder:7b"')
    """
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if not isinstance(value, str):
        return str(value)
    bare = _BARE.fullmatch(value) is not None and value == value.strip() and isinstance(resolve_plain(value), str)
    return value if bare else f'"{"".join(map(_escaped, value))}"'


def _escaped(sign: str) -> str:
    """A sign of a text in double quotes."""
    if sign in '"\\':
        return "\\" + sign
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004
