"""What is believed of a model at a kind of work: a beta distribution that leans on what is known more broadly.

    prior of the catalogue -> the model at all other types -> at this type, all other tries -> at this type and try

Each level adds its own counts to the mean of the one before, taken as `weight` outcomes. No outcome is counted at two
levels. A type without outcomes is believed to be as the model is elsewhere; a model without any, as its prior says.
"""

from typing import NamedTuple

import msgspec

from ostler.learning.beta import chance_above, lower_bound, upper_bound
from ostler.learning.evidence import Counts, Evidence


class Prior(msgspec.Struct, frozen=True, kw_only=True):
    """A rate that is known from elsewhere, a published pass rate for instance, and for how many outcomes it counts."""

    rate: float = 0.5
    weight: float = 2.0


class Shrinkage(msgspec.Struct, frozen=True, kw_only=True):
    """How many outcomes the broader level counts for."""

    type_weight: float = 5.0
    attempt_weight: float = 8.0


NO_PRIOR = Prior()
USUAL = Shrinkage()


class Belief(NamedTuple):
    """Beta(a, b), with the counts it stands on."""

    a: float
    b: float
    counts: Counts = Counts()
    """At this type and try, faded."""

    @property
    def mean(self) -> float:
        """The expected rate."""
        return self.a / (self.a + self.b)

    @property
    def spread(self) -> float:
        """Standard deviation of the rate."""
        total = self.a + self.b
        return float((self.a * self.b / (total * total * (total + 1.0))) ** 0.5)

    @property
    def prior_weight(self) -> float:
        """How much of it is not own evidence."""
        return max(0.0, self.a + self.b - self.counts.trials)

    def above(self, rate: float) -> float:
        """P(the true rate is above this)."""
        return chance_above(rate, self.a, self.b)

    def low(self, confidence: float = 0.9) -> float:
        """Lower bound."""
        return lower_bound(self.a, self.b, confidence)

    def high(self, confidence: float = 0.9) -> float:
        """Upper bound."""
        return upper_bound(self.a, self.b, confidence)


def believe(
    evidence: Evidence,
    task_type: str,
    model: str,
    *,
    attempt: int = 1,
    prior: Prior = NO_PRIOR,
    shrinkage: Shrinkage = USUAL,
) -> Belief:
    """The belief about one model at one kind of work."""
    here = evidence.of(task_type, model, attempt)
    at_type = evidence.of_type(task_type, model)
    elsewhere = shrunk(evidence.of_model(model).minus(at_type), prior.rate, prior.weight)
    others = at_type.minus(here)
    if others.trials <= 0.0:
        return shrunk(here, elsewhere.mean, shrinkage.type_weight)
    return shrunk(here, shrunk(others, elsewhere.mean, shrinkage.type_weight).mean, shrinkage.attempt_weight)


def shrunk(counts: Counts, rate: float, weight: float) -> Belief:
    """Counts, with a rate from elsewhere that counts for so many more.

    >>> shrunk(Counts(3.0, 1.0), 0.5, 4.0).mean
    0.625
    """
    return Belief(counts.successes + weight * rate, counts.failures + weight * (1.0 - rate), counts)
