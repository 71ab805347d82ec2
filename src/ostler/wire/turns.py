"""Turns put together from the flat messages and items of OpenAI's formats. Pure.

There a result of a tool is a message or item of its own. Here results that stand one after the other, and what the
user says next, are one turn of the user.
"""

import msgspec

from ostler.wire.talk import Part, ToolResult, Turn


class Turns:
    """Collects turns."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def add(self, turn: Turn) -> None:
        """A turn of its own."""
        self._turns.append(turn)

    def add_user(self, turn: Turn) -> None:
        """A result, or what the user says: joined to results that stand right before it."""
        last = self._last("user")
        if last is None or turn.name or not last.parts or not isinstance(last.parts[-1], ToolResult):
            self._turns.append(turn)
        else:
            self._join(last, turn.parts)

    def add_said(self, parts: tuple[Part, ...]) -> None:
        """More of what the assistant said or called: joined to what it said right before."""
        last = self._last("assistant")
        if last is None:
            self._turns.append(Turn(role="assistant", parts=parts))
        else:
            self._join(last, parts)

    def all(self) -> tuple[Turn, ...]:
        """The turns so far."""
        return tuple(self._turns)

    def _last(self, role: str) -> Turn | None:
        return self._turns[-1] if self._turns and self._turns[-1].role == role else None

    def _join(self, last: Turn, parts: tuple[Part, ...]) -> None:
        self._turns[-1] = msgspec.structs.replace(last, parts=(*last.parts, *parts))
