"""How good the check itself is: what it accepted and later proved bad, what it rejected and later proved good."""

from typing import NamedTuple

from ostler.learning.beta import upper_bound

_PRIOR_WEIGHT = 20.0
_PRIOR_RATE = 0.05
"""A check is taken to be wrong once in twenty until there is evidence."""


class Check(NamedTuple):
    """Rates of a check: P(accepted | bad), P(rejected | good)."""

    false_accept: float = 0.0
    false_reject: float = 0.0


class Verdicts(NamedTuple):
    """What later evidence said of a check's verdicts."""

    accepted_good: int = 0
    accepted_bad: int = 0
    rejected_good: int = 0
    rejected_bad: int = 0

    def plus(self, *, accepted: bool, good: bool) -> "Verdicts":
        """With one more."""
        name = f"{'accepted' if accepted else 'rejected'}_{'good' if good else 'bad'}"
        return self._replace(**{name: getattr(self, name) + 1})

    def rates(self) -> Check:
        """The expected rates; a check nobody looked at is wrong once in twenty."""
        return Check(
            _rate(self.accepted_bad, self.rejected_bad),
            _rate(self.rejected_good, self.accepted_good),
        )

    def bounds(self, confidence: float = 0.9) -> Check:
        """The rates that they are below with this confidence."""
        return Check(
            _bound(self.accepted_bad, self.rejected_bad, confidence),
            _bound(self.rejected_good, self.accepted_good, confidence),
        )


def _rate(wrong: int, right: int) -> float:
    return (wrong + _PRIOR_WEIGHT * _PRIOR_RATE) / (wrong + right + _PRIOR_WEIGHT)


def _bound(wrong: int, right: int, confidence: float) -> float:
    return upper_bound(wrong + _PRIOR_WEIGHT * _PRIOR_RATE, right + _PRIOR_WEIGHT * (1.0 - _PRIOR_RATE), confidence)
