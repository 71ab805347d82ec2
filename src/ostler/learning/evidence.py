"""Counts of successes and failures by (type, model, attempt), where each outcome of a type fades the ones before it.

    after an outcome of type t: every count of t is multiplied by `decay`, then the outcome is added to its own

0.998 keeps about the last five hundred outcomes of a type. A count never passes 1 / (1 - decay), so that one more
success never lowers a model: what it adds outweighs what fades. What a check found counts 1, what somebody said counts
`REPORTED_WEIGHT`.

Nothing is faded one by one: a new outcome is added in a unit that grows by 1 / decay with each, and counts are divided
by the unit when they are asked for. O(1) to add, O(1) to ask at a type, O(types) for a model over all its types.

The state is a function of the outcomes in their order: who forgets some builds it anew from the rest, and what is left
without outcomes stands exactly where it stood before any.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ostler.domain.observations import Observation, Says
from ostler.domain.states import Outcome

DECAY = 0.998
REPORTED_WEIGHT = 0.5
ATTEMPTS_TOLD_APART = 3
"""The third try and all later ones are one kind."""
_UNIT_MAX = 1e100
"""Counts are brought back to the unit 1 before they get too large."""


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

    def times(self, factor: float) -> "Counts":
        """All of them made larger or smaller."""
        return Counts(self.successes * factor, self.failures * factor)


NO_COUNTS = Counts()


class Means(NamedTuple):
    """Plain sums of what was measured, of those outcomes that say it."""

    priced: int = 0
    cost_micro_usd: int = 0
    timed: int = 0
    duration_ms: int = 0


NO_MEANS = Means()


class _Type:
    """The counts of one type, in units of its newest outcome."""

    __slots__ = ("cells", "totals", "unit")

    def __init__(self) -> None:
        self.unit = 1.0
        self.cells: dict[tuple[str, int], Counts] = {}
        self.totals: dict[str, Counts] = {}

    def copy(self) -> "_Type":
        other = _Type()
        other.unit, other.cells, other.totals = self.unit, dict(self.cells), dict(self.totals)
        return other

    def add(self, model: str, attempt: int, counts: Counts) -> None:
        grown = counts.times(self.unit)
        key = (model, attempt_class(attempt))
        self.cells[key] = self.cells.get(key, NO_COUNTS).plus(grown)
        self.totals[model] = self.totals.get(model, NO_COUNTS).plus(grown)

    def fade(self, decay: float) -> None:
        """Make all that is there smaller, by making the unit larger."""
        self.unit /= decay
        if self.unit > _UNIT_MAX:
            shrink = 1.0 / self.unit
            self.cells = {key: counts.times(shrink) for key, counts in self.cells.items()}
            self.totals = {key: counts.times(shrink) for key, counts in self.totals.items()}
            self.unit = 1.0


class Evidence:
    """What the outcomes so far add up to."""

    def __init__(self, observations: Iterable[Observation] = (), *, decay: float = DECAY) -> None:
        self.decay = decay
        self.samples = 0
        self._types: dict[str, _Type] = {}
        self._sums: dict[str, Counts] = {}
        """Of models over all types, as far as they were asked for since the last outcome."""
        self._names: dict[str, None] = {}
        self._seen: dict[tuple[str, str], Counts] = {}
        self._means: dict[tuple[str, str], Means] = {}
        for observation in observations:
            self.add(observation)

    def copy(self) -> "Evidence":
        """One that stays as it is now. O(types x models), not O(outcomes)."""
        other = Evidence(decay=self.decay)
        other.samples, other._names = self.samples, dict(self._names)
        other._types = {kind: counts.copy() for kind, counts in self._types.items()}
        other._seen, other._means = dict(self._seen), dict(self._means)
        return other

    def add(self, observation: Observation) -> None:
        """Count one outcome; what is no outcome says nothing of a model and is left alone."""
        if observation.says is not Says.OUTCOME:
            return
        weight = 1.0 if observation.proof is Outcome.VERIFIED else REPORTED_WEIGHT
        share = 1.0 if observation.success else 0.0
        self.count(observation.task_type, observation.model, share, weight=weight, attempt=observation.attempt)
        key = (observation.task_type, observation.model)
        seen = self._seen.get(key, NO_COUNTS)
        self._seen[key] = Counts(seen.successes + share, seen.failures + 1.0 - share)
        means = self._means.get(key, NO_MEANS)
        if observation.cost_micro_usd is not None:
            means = means._replace(
                priced=means.priced + 1, cost_micro_usd=means.cost_micro_usd + observation.cost_micro_usd
            )
        if observation.duration_ms is not None:
            means = means._replace(timed=means.timed + 1, duration_ms=means.duration_ms + observation.duration_ms)
        self._means[key] = means

    def count(self, task_type: str, model: str, share: float, *, weight: float = 1.0, attempt: int = 1) -> None:
        """Count something that succeeded to a share of 0 to 1."""
        counts = self._types.setdefault(task_type, _Type())
        counts.fade(self.decay)
        self._put(counts, model, attempt, Counts(weight * share, weight * (1.0 - share)))

    def count_all(self, results: Iterable[tuple[str, str, float]]) -> None:
        """Count first tries that are all of one time, as (type, model, share): none fades another."""
        for task_type, model, share in results:
            self._put(self._types.setdefault(task_type, _Type()), model, 1, Counts(share, 1.0 - share))

    def _put(self, counts: _Type, model: str, attempt: int, one: Counts) -> None:
        self.samples += 1
        self._names[model] = None
        self._sums.clear()
        counts.add(model, attempt, one)

    def of(self, task_type: str, model: str, attempt: int) -> Counts:
        """At one kind of work and try."""
        found = self._types.get(task_type)
        return NO_COUNTS if found is None else _now(found.cells.get((model, attempt_class(attempt))), found.unit)

    def of_type(self, task_type: str, model: str) -> Counts:
        """At one kind of work, all tries."""
        found = self._types.get(task_type)
        return NO_COUNTS if found is None else _now(found.totals.get(model), found.unit)

    def of_model(self, model: str) -> Counts:
        """At all work."""
        known = self._sums.get(model)
        if known is None:
            known = NO_COUNTS
            for found in self._types.values():
                known = known.plus(_now(found.totals.get(model), found.unit))
            self._sums[model] = known
        return known

    def raw(self, task_type: str, model: str) -> Counts:
        """Whole outcomes as they came, nothing faded, each counting one."""
        return self._seen.get((task_type, model), NO_COUNTS)

    def means(self, task_type: str, model: str) -> Means:
        """What they took."""
        return self._means.get((task_type, model), NO_MEANS)

    def pairs(self) -> list[tuple[str, str]]:
        """Each (type, model) that has whole outcomes, by name."""
        return sorted(self._seen)

    def types(self) -> list[str]:
        """Kinds of work that have outcomes, by name."""
        return sorted(self._types)

    def models(self) -> list[str]:
        """Models that have outcomes, by name."""
        return sorted(self._names)


def _now(counts: Counts | None, unit: float) -> Counts:
    return NO_COUNTS if counts is None else Counts(counts.successes / unit, counts.failures / unit)


def attempt_class(attempt: int) -> int:
    """Tries are told apart up to the third."""
    return min(max(1, attempt), ATTEMPTS_TOLD_APART)
