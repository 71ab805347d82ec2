"""Trials on recorded outcomes: what routers would have earned on tasks that they did not learn from.

Every split and every order is a function of a seed and the names of the rows, so a figure can be had again.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar
from zlib import crc32

import msgspec

Named = TypeVar("Named", bound="Row")


Score = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | bool
"""How good an answer was: from 0 to 1, or whether it was right."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded task."""

    id: str | int
    prompt: str = ""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One router, or one way without a router, in figures by name."""

    name: str
    figures: dict[str, float]


def order(rows: Sequence[Named], seed: int) -> list[Named]:
    """The rows in an order that the seed gives."""
    start = crc32(str(seed).encode())
    return sorted(rows, key=lambda row: (crc32(str(row.id).encode(), start), str(row.id), row.prompt))


def halves(rows: Sequence[Named], seed: int) -> tuple[list[Named], list[Named]]:
    """To learn from, and to test on."""
    mixed = order(rows, seed)
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def mean(runs: Sequence[Sequence[Figures]]) -> list[Figures]:
    """The means over several seeds, line by line."""
    return [
        Figures(
            name=lines[0].name,
            figures={key: sum(line.figures[key] for line in lines) / len(lines) for key in lines[0].figures},
        )
        for lines in zip(*runs, strict=True)
    ]
