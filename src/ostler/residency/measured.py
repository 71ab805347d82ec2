"""Measured speeds: how long a model takes to load, unload, read and write on a host, with how sure that is.

Durations and speeds are positive and skewed, so everything is in logarithms: the estimate is the geometric mean, the
spread the standard deviation of the logarithm.

    weight = samples, each counting `DECAY` times what the one after it counts
    mean   = (PRIOR_WEIGHT x log(guess) + weighted sum of log(sample)) / (PRIOR_WEIGHT + weight)
    spread = root of the weighted mean square around the samples' own mean; the guess adds `PRIOR_SPREAD`, which fades

After `TRUSTED` samples, one further than `OUTLIER` spreads from the mean is moved to that distance: one stall of a disk
shifts the estimate by little, a lasting change still wins after some samples. Before, the guess may be what is wrong. A
guess of nothing is none. All operations are O(1) and pure.
"""

import math

import msgspec

from ostler.domain.measured import Measured

DECAY = 0.95
PRIOR_WEIGHT = 1.0
PRIOR_SPREAD = 0.7
"""A guess may well be wrong by a factor of two."""
OUTLIER = 3.0
TRUSTED = 5
SPREAD_MIN = 0.05
NORMAL_90 = 1.645
"""A normal variable is within so many standard deviations nine times of ten."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity as it is believed to be, in its own unit."""

    value: float
    low: float
    high: float
    """Nine of ten values lie between `low` and `high`."""
    samples: int = 0


def estimate(seen: Measured | None, guess: float) -> Estimate:
    """The estimate from samples and a configured guess.

    >>> round(estimate(None, 20.0).value), estimate(None, 20.0).samples
    (20, 0)
    """
    mean, spread = _mean_and_spread(seen or Measured(), guess)
    reach = NORMAL_90 * spread
    samples = seen.samples if seen is not None else 0
    # Without samples it is the guess to the last digit.
    value = guess if not samples and guess > 0 and math.isfinite(guess) else math.exp(mean)
    return Estimate(value=value, low=math.exp(mean - reach), high=math.exp(mean + reach), samples=samples)


def sampled(seen: Measured | None, guess: float, value: float, at_ms: int) -> Measured:
    """What is known with one more sample. A value that is not positive and finite is no sample."""
    known = seen or Measured()
    if not (value > 0 and math.isfinite(value)):
        return known
    mean, spread = _mean_and_spread(known, guess)
    log = math.log(value)
    if known.samples >= TRUSTED:
        reach = OUTLIER * max(spread, SPREAD_MIN)
        log = min(max(log, mean - reach), mean + reach)
    return Measured(
        weight=known.weight * DECAY + 1.0,
        total=known.total * DECAY + log,
        squares=known.squares * DECAY + log * log,
        samples=known.samples + 1,
        updated_ms=max(at_ms, known.updated_ms),
    )


def _mean_and_spread(seen: Measured, guess: float) -> tuple[float, float]:
    guessed = guess > 0 and math.isfinite(guess)
    prior_weight = PRIOR_WEIGHT if guessed or seen.weight <= 0 else 0.0
    weight = prior_weight + seen.weight
    mean = (prior_weight * (math.log(guess) if guessed else 0.0) + seen.total) / weight
    # Around the mean of the samples alone: how wrong the guess was is no spread of what is measured.
    around = max(0.0, seen.squares - seen.total * seen.total / seen.weight) if seen.weight > 0 else 0.0
    square = (PRIOR_SPREAD * PRIOR_SPREAD / (1.0 + seen.weight) + around) / weight
    return mean, max(SPREAD_MIN, math.sqrt(square)) if seen.weight > 0 else PRIOR_SPREAD
