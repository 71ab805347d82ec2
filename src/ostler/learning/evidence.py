"""Counts of successes and failures by (type, model, attempt), where each outcome of a type fades the ones before it.

    after an outcome of type t: every count of t is multiplied by `decay`, then the outcome is added to its own

0.998 keeps about the last five hundred outcomes of a type. A count never passes 1 / (1 - decay), so that one more
success never lowers a model: what it adds outweighs what fades. What a check found counts 1, what somebody said counts
`REPORTED_WEIGHT`.

The state is a function of the outcomes in their order: who forgets some builds it anew from the rest, and what is left
without outcomes stands exactly where it stood before any. O(models x types) to add, O(1) to ask.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ostler.domain.observations import Observation
from ostler.domain.states import Outcome

DECAY = 0.998
REPORTED_WEIGHT = 0.5
ATTEMPTS_TOLD_APART = 3
"""The third try and all later ones are one kind."""


class Counts(NamedTuple):
    """Weighted numbers of outcomes."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def trials(self) -> float:
        """All of them."""
        return self.successes + self.failures

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(self.successes + other.successes, self.failures + other.failures)

    def minus(self, other: "Counts") -> "Counts":
        """Without a part of them; never below zero."""
        return Counts(max(0.0, self.successes - other.successes), max(0.0, self.failures - other.failures))

    def faded(self, decay: float) -> "Counts":
        """All of them made smaller."""
        return Counts(self.successes * decay, self.failures * decay)


NO_COUNTS = Counts()


class Means(NamedTuple):
    """Plain sums of what was measured, of those outcomes that say it."""

    priced: int = 0
    cost_micro_usd: int = 0
    timed: int = 0
    duration_ms: int = 0


class Evidence:
    """What the outcomes so far add up to."""

    def __init__(self, observations: Iterable[Observation] = (), *, decay: float = DECAY) -> None:
        self.decay = decay
        self.samples = 0
        self._cells: dict[str, dict[tuple[str, int], Counts]] = defaultdict(dict)
        self._types: dict[tuple[str, str], Counts] = {}
        self._models: dict[str, Counts] = {}
        self._seen: dict[tuple[str, str], Counts] = {}
        self._means: dict[tuple[str, str], Means] = {}
        for observation in observations:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """Count one outcome."""
        weight = 1.0 if observation.proof is Outcome.VERIFIED else REPORTED_WEIGHT
        share = 1.0 if observation.success else 0.0
        self.count(observation.task_type, observation.model, share, weight=weight, attempt=observation.attempt)
        key = (observation.task_type, observation.model)
        seen = self._seen.get(key, NO_COUNTS)
        self._seen[key] = Counts(seen.successes + share, seen.failures + 1.0 - share)
        means = self._means.get(key, Means())
        if observation.cost_micro_usd is not None:
            means = means._replace(
                priced=means.priced + 1, cost_micro_usd=means.cost_micro_usd + observation.cost_micro_usd
            )
        if observation.duration_ms is not None:
            means = means._replace(timed=means.timed + 1, duration_ms=means.duration_ms + observation.duration_ms)
        self._means[key] = means

    def count(self, task_type: str, model: str, share: float, *, weight: float = 1.0, attempt: int = 1) -> None:
        """Count something that succeeded to a share of 0 to 1."""
        cells = self._cells[task_type]
        for key, counts in cells.items():
            cells[key] = counts.faded(self.decay)
        self._put(task_type, model, attempt, Counts(weight * share, weight * (1.0 - share)))
        self._total(task_type)

    def count_all(self, results: Iterable[tuple[str, str, float]]) -> None:
        """Count first tries that are all of one time, as (type, model, share): none fades another."""
        touched = set()
        for task_type, model, share in results:
            self._put(task_type, model, 1, Counts(share, 1.0 - share))
            touched.add(task_type)
        for task_type in sorted(touched):
            self._total(task_type)

    def _put(self, task_type: str, model: str, attempt: int, counts: Counts) -> None:
        self.samples += 1
        cells, own = self._cells[task_type], (model, attempt_class(attempt))
        cells[own] = cells.get(own, NO_COUNTS).plus(counts)

    def _total(self, task_type: str) -> None:
        """Add up the sums that a change of a type's counts is part of."""
        cells = self._cells[task_type]
        for name in dict.fromkeys(name for name, _ in cells):
            total = NO_COUNTS
            for number in range(1, ATTEMPTS_TOLD_APART + 1):
                total = total.plus(cells.get((name, number), NO_COUNTS))
            self._types[task_type, name] = total
            self._models[name] = self._sum_of(name)

    def of(self, task_type: str, model: str, attempt: int) -> Counts:
        """At one kind of work and try."""
        cells = self._cells.get(task_type)
        return NO_COUNTS if cells is None else cells.get((model, attempt_class(attempt)), NO_COUNTS)

    def of_type(self, task_type: str, model: str) -> Counts:
        """At one kind of work, all tries."""
        return self._types.get((task_type, model), NO_COUNTS)

    def of_model(self, model: str) -> Counts:
        """At all work."""
        return self._models.get(model, NO_COUNTS)

    def raw(self, task_type: str, model: str) -> Counts:
        """Whole outcomes as they came, nothing faded, each counting one."""
        return self._seen.get((task_type, model), NO_COUNTS)

    def means(self, task_type: str, model: str) -> Means:
        """What they took."""
        return self._means.get((task_type, model), Means())

    def types(self) -> list[str]:
        """Kinds of work that have outcomes, by name."""
        return sorted(self._cells)

    def models(self) -> list[str]:
        """Models that have outcomes, by name."""
        return sorted(self._models)

    def _sum_of(self, model: str) -> Counts:
        total = NO_COUNTS
        for task_type in self._cells:
            total = total.plus(self._types.get((task_type, model), NO_COUNTS))
        return total


def attempt_class(attempt: int) -> int:
    """Tries are told apart up to the third."""
    return min(max(1, attempt), ATTEMPTS_TOLD_APART)
