"""What kind of work a text is, learned from texts whose kind is known; "unknown" where it is not sure.

Multinomial naive Bayes on the hashed grams, each gram counting by the logarithm of how often it occurs. Grams of one
text depend on each other, so a text speaks with the weight of `PIECES` pieces at most before its evidence becomes a
probability; below `confidence_min` the answer is unknown. Learning is adding up: O(grams) for one more labelled task.
A `Reader` is made of the sums once and answers in O(grams x kinds that know them).
"""

from collections.abc import Iterable, Mapping
from math import exp, log, log1p
from typing import NamedTuple

import msgspec

from ostler.learning.features import BUCKETS, grams

UNKNOWN = "unknown"
CONFIDENCE_MIN = 0.6
PIECES = 25.0
_SMOOTHING = 0.05


class Guess(NamedTuple):
    """A kind and how sure; `kind` is unknown below the confidence, `best` is the first one all the same."""

    kind: str
    confidence: float
    best: str


class KindModel(msgspec.Struct, kw_only=True):
    """What the labelled texts add up to. Small enough to be kept as a file."""

    weights: dict[str, dict[int, float]] = {}
    """Kind -> bucket -> sum of the logarithms."""
    texts: dict[str, float] = {}
    """Kind -> number of texts."""

    def learn(self, kind: str, found: Mapping[int, int], *, weight: float = 1.0) -> None:
        """Add a text whose kind is known, as its grams."""
        table = self.weights.setdefault(kind, {})
        for key, times in found.items():
            table[key] = table.get(key, 0.0) + weight * log1p(times)
        self.texts[kind] = self.texts.get(kind, 0.0) + weight

    def reader(self) -> "Reader":
        """What answers, as of now."""
        return Reader(self)


class Reader:
    """Tells the kind of a text. Does not follow what its model learns later."""

    def __init__(self, model: KindModel) -> None:
        self._kinds = sorted(model.weights)
        number = sum(model.texts.values())
        self._shares = [log(model.texts[kind] / number) for kind in self._kinds]
        self._floors: list[float] = []
        self._boosts: dict[int, list[tuple[int, float]]] = {}
        for index, kind in enumerate(self._kinds):
            table = model.weights[kind]
            self._floors.append(log(_SMOOTHING) - log(sum(table.values()) + _SMOOTHING * BUCKETS))
            for key, value in table.items():
                self._boosts.setdefault(key, []).append((index, log1p(value / _SMOOTHING)))

    def guess(self, found: Mapping[int, int], *, confidence_min: float = CONFIDENCE_MIN) -> Guess:
        """The kind of a text by its grams."""
        chances = self.chances(found)
        if not chances:
            return Guess(UNKNOWN, 0.0, UNKNOWN)
        best = min(chances, key=lambda kind: (-chances[kind], kind))
        sure = chances[best]
        return Guess(best if sure >= confidence_min else UNKNOWN, sure, best)

    def chances(self, found: Mapping[int, int]) -> dict[str, float]:
        """The probability of each kind; they add up to 1."""
        if not self._kinds:
            return {}
        mass, scores = 0.0, [0.0] * len(self._kinds)
        for key, times in found.items():
            weight = log1p(times)
            mass += weight
            for index, boost in self._boosts.get(key, ()):
                scores[index] += weight * boost
        sharpness = min(1.0, PIECES / mass) if mass else 0.0
        whole = zip(scores, self._floors, self._shares, strict=True)
        scores = [sharpness * (score + mass * floor) + share for score, floor, share in whole]
        top = max(scores)
        raised = [exp(score - top) for score in scores]
        total = sum(raised)
        return {kind: value / total for kind, value in zip(self._kinds, raised, strict=True)}


def learn_kinds(labelled: Iterable[tuple[str, str]]) -> KindModel:
    """A model of (kind, text) pairs."""
    model = KindModel()
    for kind, text in labelled:
        model.learn(kind, grams(text))
    return model
