"""Statements that write all the rows of a flush at once: PostgreSQL parses, plans and answers each statement, so one
for each row would cost several times the writing.

The rows travel as one JSON text, which is made and read by compiled code on both sides; the driver's own arrays are put
together value by value in Python. A statement may name a row once only, so of rows with the same key the last one is
sent: what the others would have left is overwritten anyway.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from ostler.store import rows

ZERO_SHOWN = "\u2400"

_encode = msgspec.json.Encoder().encode


class SetText(str):
    """A statement with one parameter, the JSON text of all rows; as a word for itself it is the statement."""

    __slots__ = ("names", "unique")
    names: tuple[str, ...]
    """What the values of a row are called, in their order."""
    unique: tuple[int, ...]
    """Places of the values that make the key where rows may repeat it; empty where they never do."""

    def __new__(cls, text: str, names: Sequence[str], unique: Sequence[int] = ()) -> Self:
        """A statement over rows of these values."""
        made = super().__new__(cls, text)
        made.names = tuple(names)
        made.unique = tuple(unique)
        return made

    @property
    def counted(self) -> str:
        """The statement, with the number of rows as second parameter: a division by zero unless it changes so many.

        The server judges, so that a commit can be on its way before the number is known here.
        """
        return f"WITH changed AS ({self} RETURNING 1) SELECT 1 / (count(*) = %s)::int FROM changed"  # noqa: S608 - our own statement

    def parameter(self, parameters: list[rows.Row]) -> str:
        """The JSON text of rows."""
        found: Iterable[rows.Row] = parameters
        if self.unique and len(parameters) > 1:
            found = {tuple(row[place] for place in self.unique): row for row in parameters}.values()
        encoded = _encode([dict(zip(self.names, row, strict=True)) for row in found])
        if b"\\u0000" not in encoded:
            return encoded.decode()
        # Text of this engine has no zero character, not even in its JSON; inside the JSON of a body it is only spelt.
        return _encode([dict(zip(self.names, map(_shown, row), strict=True)) for row in found]).decode()


def _shown(value: object) -> object:
    return without_zeros(value) if isinstance(value, str) else value


def without_zeros(text: str) -> str:
    """What a program wrote into its output, with each zero character as its picture."""
    return text.replace("\0", ZERO_SHOWN)
