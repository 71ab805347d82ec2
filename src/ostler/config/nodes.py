"""The tree of a profile: scalars, lists and mappings that know their place.

Plain scalars follow the core schema of YAML 1.2: `yes`, `on` and dates are text, `012` is twelve.
"""

import re

import msgspec

from ostler.domain.errors import Problem

NUMBER_CHARS_MAX = 30
"""What is longer than this is text: no setting is that large, and Python limits the digits it parses."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Place(msgspec.Struct, frozen=True):
    """Where something is written: `ostler.yaml:12`, or a source without lines."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Node(msgspec.Struct, frozen=True):
    """A scalar, a list, or a mapping whose keys are text."""

    value: "bool | int | float | str | list[Node] | dict[str, Member] | None"
    place: Place


class Member(msgspec.Struct, frozen=True):
    """A key's value, with the place of the key."""

    node: Node
    place: Place


Located = tuple[Place, Problem]
"""A mistake that was found before settings had names."""


def resolve_plain(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar by the core schema of YAML 1.2.

    >>> resolve_plain("012"), resolve_plain("yes"), resolve_plain("~"), resolve_plain("1e3")
    (12, 'yes', None, 1000.0)
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > NUMBER_CHARS_MAX:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text
