"""What the verbs of `ostler db` ask, and what they tell."""

from collections.abc import Callable, Mapping

import msgspec

Told = Callable[[str, int], None]
"""Told as a copy goes on: the table, and how many rows of it are over."""


class DatabaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which database."""

    database: str | None = None
    """A file or an address; `None` = that of the profile."""
    pool: str = "default"
    """The pool, where `database` is an address."""
    profile: str | None = None


class MoveReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied where. Addresses are without passwords."""

    source: str
    target: str
    rows: Mapping[str, int] = {}
    """By table; empty where a file was copied as it is."""
    changed: int = 0
    """Rows with a text that the target cannot hold as it was."""
    kept: str = ""
    """Where the database is that was there before."""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a database, a line each."""

    problems: tuple[str, ...]


class MigrateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The schema that a database has now."""

    revision: str
