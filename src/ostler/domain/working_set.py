"""The hot state of an agent: aims, decisions, errors, summaries. Values that never change; a change makes a new one.

Each list keeps its newest entries, at most `ENTRIES_MAX`, each at most `CHARS_MAX` long; the same text again moves to
the end instead of being there twice.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.domain.errors import InvalidInputError, nearest

ENTRIES_MAX: Mapping[str, int] = {"objectives": 50, "decisions": 50, "errors": 20, "summaries": 10}
CHARS_MAX = 4_000


class Kind(StrEnum):
    """The four lists."""

    OBJECTIVES = "objectives"
    DECISIONS = "decisions"
    ERRORS = "errors"
    SUMMARIES = "summaries"


class WorkingState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The four lists, oldest first."""

    objectives: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[str, ...]:
        """One list, by name."""
        entries: tuple[str, ...] = getattr(self, kind_named(kind).value)
        return entries

    def added(self, kind: str, text: str) -> "WorkingState":
        """With one more entry, the newest. Blank text adds nothing."""
        name, text = kind_named(kind).value, text.strip()[:CHARS_MAX]
        if not text:
            return self
        entries = (*(one for one in self.of(name) if one != text), text)
        return self._with(name, entries[-ENTRIES_MAX[name] :])

    def removed(self, kind: str, text: str) -> "WorkingState":
        """Without an entry; one that is not there is not missed."""
        name = kind_named(kind).value
        return self._with(name, tuple(one for one in self.of(name) if one != text.strip()))

    def text(self) -> str:
        """For a model to read; empty when there is nothing."""
        parts = [
            f"{kind.value.capitalize()}:\n" + "\n".join(f"- {entry}" for entry in entries)
            for kind in Kind
            if (entries := self.of(kind.value))
        ]
        return "\n\n".join(parts)

    def _with(self, name: str, entries: tuple[str, ...]) -> "WorkingState":
        fields: dict[str, tuple[str, ...]] = {name: entries}
        return msgspec.structs.replace(self, **fields)


def kind_named(kind: str) -> Kind:
    """A list by name. Raises `InvalidInputError`."""
    try:
        return Kind(kind)
    except ValueError:
        remedy = nearest(kind, [one.value for one in Kind])
        raise InvalidInputError(f"a working set has no {kind}", where="working set", remedy=remedy) from None
