"""What a page is made of: who asks, what for, and what is to be rendered."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import msgspec

from ostler.hub.api import HubApi

PLACE_OF_TOKEN = "<form-token>"  # noqa: S105 - what stands in for one
"""Stands where each form has the token of whoever looks, so that one rendering serves everybody of a role. Whatever
people and models write has its marks escaped, so none of it can be taken for this.
"""


class Role(StrEnum):
    """What somebody may do here."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A page that is asked for: the names in its path, its query (of a repeated parameter the last), and the role."""

    path: str
    names: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    role: Role = Role.VIEWER

    def word(self, name: str, default: str = "") -> str:
        """A parameter of the query without blanks around it."""
        return self.query.get(name, default).strip()

    def number(self, name: str) -> int | None:
        """A parameter that is a whole number; anything else is as if it was not there."""
        word = self.word(name)
        return int(word) if word.isascii() and word.isdecimal() and len(word) <= 18 else None  # noqa: PLR2004 - 2**63


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A page to render. `regions`: templates of the parts that change; they are given the same data."""

    template: str
    title: str
    section: str
    """The entry of the navigation that it belongs to."""
    data: Mapping[str, object]
    regions: tuple[str, ...] = ()
    every_s: float = 5.0
    """How often the regions are looked at while nothing happens."""


Page = Callable[[HubApi, Ask], Awaitable[View]]
