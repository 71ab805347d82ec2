"""When a model may be trusted with a kind of work: the seed's raw rule, and a bound on the true rate.

The raw rule is what it says: more than 75 % with three outcomes or more, which means three of three: it trusts four in
ten of the models whose true rate is below 70 %. The bound asks that the true rate be above 75 % with a probability of
0.9.
"""

from typing import NamedTuple

from ostler.learning.belief import Belief
from ostler.learning.beta import chance_above
from ostler.learning.evidence import Counts

RATE = 0.75
SAMPLES_MIN = 3
CONFIDENCE = 0.9


class Trust(NamedTuple):
    """An answer and the figure it hangs on."""

    trusted: bool
    figure: float
    """The raw share, or the probability."""


def by_raw(counts: Counts, *, rate: float = RATE, samples_min: int = SAMPLES_MIN) -> Trust:
    """The seed's rule on whole counts.

    >>> by_raw(Counts(3, 0)).trusted, by_raw(Counts(3, 1)).trusted, by_raw(Counts(2, 0)).trusted
    (True, False, False)
    """
    share = counts.successes / counts.trials if counts.trials else 0.0
    return Trust(counts.trials >= samples_min and share > rate, share)


def by_bound(counts: Counts, *, rate: float = RATE, confidence: float = CONFIDENCE) -> Trust:
    """The bound on own outcomes alone, from Beta(1, 1)."""
    chance = chance_above(rate, counts.successes + 1.0, counts.failures + 1.0)
    return Trust(chance >= confidence, chance)


def by_belief(belief: Belief, *, rate: float = RATE, confidence: float = CONFIDENCE, samples_min: float = 3.0) -> Trust:
    """The bound on a shrunk belief; without own outcomes of some number nothing is trusted on hearsay."""
    chance = belief.above(rate)
    return Trust(belief.counts.trials >= samples_min and chance >= confidence, chance)
