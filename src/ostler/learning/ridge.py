"""Ridge regression on sparse vectors by conjugate gradients, in plain Python.

Minimises |Xw - (y - mean)|^2 + penalty x |w|^2. Each step costs two passes over the entries; some tens of steps are
enough, as the penalty keeps the problem well conditioned.
"""

from collections.abc import Sequence

import msgspec

from ostler.learning.vectors import Vector

PENALTY = 8.0
_STEPS_MAX = 60
_ENOUGH = 1e-8


class Linear(msgspec.Struct, frozen=True):
    """A fitted line."""

    mean: float
    weights: list[float]

    def predict(self, vector: Vector) -> float:
        """The expected value at a vector."""
        weights = self.weights
        return self.mean + sum(
            weights[place] * value for place, value in zip(vector.places, vector.values, strict=True)
        )


def fit(vectors: Sequence[Vector], targets: Sequence[float], size: int, *, penalty: float = PENALTY) -> Linear:
    """Fit the targets, at least one; `size` is the number of places."""
    mean = sum(targets) / len(targets)
    residual = _back(vectors, [target - mean for target in targets], size)
    weights = [0.0] * size
    direction = residual[:]
    energy = start = _square(residual)
    for _ in range(_STEPS_MAX):
        if energy <= _ENOUGH * start or energy == 0.0:
            break
        image = _back(vectors, _forth(vectors, direction), size)
        image = [one + penalty * other for one, other in zip(image, direction, strict=True)]
        step = energy / sum(one * other for one, other in zip(image, direction, strict=True))
        weights = [weight + step * move for weight, move in zip(weights, direction, strict=True)]
        residual = [one - step * other for one, other in zip(residual, image, strict=True)]
        before, energy = energy, _square(residual)
        ratio = energy / before
        direction = [one + ratio * other for one, other in zip(residual, direction, strict=True)]
    return Linear(mean, weights)


def _forth(vectors: Sequence[Vector], weights: list[float]) -> list[float]:
    get = weights.__getitem__
    return [sum(map(float.__mul__, map(get, vector.places), vector.values)) for vector in vectors]


def _back(vectors: Sequence[Vector], values: list[float], size: int) -> list[float]:
    total = [0.0] * size
    for vector, factor in zip(vectors, values, strict=True):
        for place, value in zip(vector.places, vector.values, strict=True):
            total[place] += factor * value
    return total


def _square(values: list[float]) -> float:
    return sum(value * value for value in values)
