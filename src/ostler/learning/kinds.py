"""What kind of work a text is, learned from texts whose kind is known; "unknown" where it is not sure.

Naive Bayes on cues (`features.cues`): a text is a vector of its cues, each by the logarithm of how often it occurs and
by how rare it is, brought to length 1, so that a long text does not speak louder than a short one, and one of mostly
unknown words hardly at all. `SHARPNESS` makes
the sums probabilities that are about as often right as they say; below `confidence_min` the answer is unknown. Learning
is adding up: O(cues) for one more labelled task. A `Reader` is made of the sums once and answers in O(cues x kinds that
know them).
"""

from collections.abc import Iterable, Mapping
from math import exp, log, log1p, sqrt
from typing import NamedTuple

import msgspec

from ostler.learning.features import BUCKETS, cues

UNKNOWN = "unknown"
CONFIDENCE_MIN = 0.6
SHARPNESS = 3.0
OPENING_CHARACTERS = 500
"""A text is read so far: people say first what is to be done, and a decision must not wait for a long prompt."""
_END_CHARACTERS = 100
_SMOOTHING = 0.2


class Guess(NamedTuple):
    """A kind and how sure; `kind` is unknown below the confidence, `best` is the first one all the same."""

    kind: str
    confidence: float
    best: str


class KindModel(msgspec.Struct, kw_only=True):
    """What the labelled texts add up to. Small enough to be kept as a file."""

    weights: dict[str, dict[int, float]] = {}
    """Kind -> bucket -> sum of its share of the texts."""
    texts: dict[str, float] = {}
    """Kind -> number of texts."""
    seen: dict[int, float] = {}
    """Bucket -> number of texts that have it."""

    def learn(self, kind: str, found: Mapping[int, int], *, weight: float = 1.0) -> None:
        """Add a text whose kind is known, as its cues."""
        table = self.weights.setdefault(kind, {})
        length = sqrt(sum(log1p(times) ** 2 for times in found.values())) or 1.0
        for key, times in found.items():
            table[key] = table.get(key, 0.0) + weight * log1p(times) / length
            self.seen[key] = self.seen.get(key, 0.0) + weight
        self.texts[kind] = self.texts.get(kind, 0.0) + weight

    def learn_text(self, kind: str, text: str, *, weight: float = 1.0) -> None:
        """Add a text whose kind is known."""
        self.learn(kind, read(text), weight=weight)

    def copy(self) -> "KindModel":
        """One that learns by itself."""
        weights = {kind: dict(table) for kind, table in self.weights.items()}
        return KindModel(weights=weights, texts=dict(self.texts), seen=dict(self.seen))

    def reader(self) -> "Reader":
        """What answers, as of now."""
        return Reader(self)


class Reader:
    """Tells the kind of a text. Does not follow what its model learns later."""

    def __init__(self, model: KindModel) -> None:
        self._kinds = sorted(model.weights)
        number = sum(model.texts.values())
        self._shares = [log(model.texts[kind] / number) for kind in self._kinds]
        self._rare = {key: log((number + 1.0) / (seen + 0.5)) for key, seen in model.seen.items()}
        self._strange = log((number + 1.0) / 0.5) if number else 1.0
        self._floors: list[float] = []
        self._boosts: dict[int, list[tuple[int, float]]] = {}
        for index, kind in enumerate(self._kinds):
            table = model.weights[kind]
            self._floors.append(log(_SMOOTHING) - log(sum(table.values()) + _SMOOTHING * BUCKETS))
            for key, value in table.items():
                self._boosts.setdefault(key, []).append((index, log1p(value / _SMOOTHING)))

    def guess(self, found: Mapping[int, int], *, confidence_min: float = CONFIDENCE_MIN) -> Guess:
        """The kind of a text by its cues."""
        chances = self.chances(found)
        if not chances:
            return Guess(UNKNOWN, 0.0, UNKNOWN)
        best = min(chances, key=lambda kind: (-chances[kind], kind))
        sure = chances[best]
        return Guess(best if sure >= confidence_min else UNKNOWN, sure, best)

    def chances(self, found: Mapping[int, int], *, odds: Mapping[str, float] | None = None) -> dict[str, float]:
        """The probability of each kind; they add up to 1. `odds`: of kinds, by other signs."""
        if not self._kinds:
            return {}
        rare, strange = self._rare, self._strange
        values = [(key, log1p(times) * rare.get(key, strange)) for key, times in found.items()]
        length = sqrt(sum(value * value for _, value in values)) or 1.0
        scores, mass = [0.0] * len(self._kinds), 0.0
        for key, value in values:
            if key not in rare:
                continue  # nobody knows it: it says nothing, but the text is that much less like any that is known
            mass += value
            for index, boost in self._boosts.get(key, ()):
                scores[index] += value * boost
        sharpness = SHARPNESS / length
        whole = zip(scores, self._floors, self._shares, strict=True)
        scores = [sharpness * (score + mass * floor) + share for score, floor, share in whole]
        if odds:
            scores = [score + log(odds.get(kind, 1.0)) for score, kind in zip(scores, self._kinds, strict=True)]
        top = max(scores)
        raised = [exp(score - top) for score in scores]
        total = sum(raised)
        return {kind: value / total for kind, value in zip(self._kinds, raised, strict=True)}


def read(text: str) -> dict[int, int]:
    """The cues of what is read of a text."""
    return cues(opening(text))


def opening(text: str) -> str:
    """What of a text says its kind: the beginning, and a little of the end."""
    if len(text) <= OPENING_CHARACTERS:
        return text
    return f"{text[: OPENING_CHARACTERS - _END_CHARACTERS]}\n{text[-_END_CHARACTERS:]}"


def learn_kinds(labelled: Iterable[tuple[str, str]]) -> KindModel:
    """A model of (kind, text) pairs."""
    model = KindModel()
    for kind, text in labelled:
        model.learn_text(kind, text)
    return model
