"""Texts as sparse vectors: TF-IDF of hashed grams at length 1, beside them the counts in standard deviations.

A vocabulary is taken from the texts that are learned from; grams that only one of them has are left out.
"""

from collections.abc import Sequence
from math import log, sqrt

import msgspec

from ostler.learning import features

COUNT_SHARE = 0.1
"""How much a standard deviation of a count moves, beside grams of length 1 in all."""
_SEEN_MIN = 2


class Vector(msgspec.Struct, frozen=True, gc=False):
    """Places and values; a place occurs once."""

    places: tuple[int, ...]
    values: tuple[float, ...]


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What turns a text into a vector."""

    columns: dict[int, tuple[int, float]]
    """Bucket -> (place, inverse document frequency)."""
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    count_share: float = COUNT_SHARE

    @property
    def size(self) -> int:
        """Number of places."""
        return len(self.columns) + len(self.means)

    def vector(self, text: str) -> Vector:
        """The vector of a text."""
        return self.vector_of(features.grams(text), features.counts(text))

    def vector_of(self, grams: dict[int, int], counts: Sequence[float]) -> Vector:
        """The vector of what was taken from a text before."""
        columns = self.columns
        found = [(columns[key], times) for key, times in grams.items() if key in columns]
        values = [(1.0 + log(times)) * idf for (_, idf), times in found]
        norm = sqrt(sum(value * value for value in values)) or 1.0
        first = len(columns)
        spread = zip(counts, self.means, self.deviations, strict=True)
        scaled = [self.count_share * (count - mean) / deviation for count, mean, deviation in spread]
        return Vector(
            (*(place for (place, _), _ in found), *range(first, first + len(scaled))),
            (*(value / norm for value in values), *scaled),
        )


def vocabulary(
    grams: Sequence[dict[int, int]], counts: Sequence[Sequence[float]], *, count_share: float = COUNT_SHARE
) -> Vocabulary:
    """The vocabulary of some texts, at least one."""
    seen: dict[int, int] = {}
    for one in grams:
        for key in one:
            seen[key] = seen.get(key, 0) + 1
    kept = sorted(key for key, times in seen.items() if times >= _SEEN_MIN)
    number = len(grams)
    columns = {key: (place, log(number / seen[key]) + 1.0) for place, key in enumerate(kept)}
    means = tuple(sum(column) / number for column in zip(*counts, strict=True))
    squares = (sum(value * value for value in column) / number for column in zip(*counts, strict=True))
    deviations = tuple(sqrt(max(0.0, square - mean * mean)) or 1.0 for square, mean in zip(squares, means, strict=True))
    return Vocabulary(columns=columns, means=means, deviations=deviations, count_share=count_share)
