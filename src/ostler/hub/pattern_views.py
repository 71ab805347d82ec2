"""What the hub says of outcomes: standing of models by type of work, what that would change, and what it did."""

import msgspec

from ostler.domain.observations import Observation
from ostler.domain.policy import HistoryRule, Learned


class PatternRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one type of work. Rates from 0 to 1."""

    task_type: str
    model: str
    tier: str = ""
    """The first tier of the profile that lists the model."""
    successes: int = 0
    failures: int = 0
    """Whole outcomes as they came."""
    weight: float = 0.0
    """What they still count, faded; what was only reported counts a half."""
    prior_weight: float = 0.0
    mean: float = 0.0
    low: float = 0.0
    """Lower bound of the true rate, at the confidence of the policy."""
    above: float = 0.0
    """P(true rate > the rate of the policy)."""
    raw_trusted: bool = False
    trusted: bool = False
    mean_duration_ms: int | None = None
    mean_cost_micro_usd: int | None = None


class LearnedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What outcomes say about a type. `in_force`: decisions obey it."""

    task_type: str
    learned: Learned
    in_force: bool = False


class PatternReport(msgspec.Struct, frozen=True, kw_only=True):
    """All standings, and what they change."""

    history: HistoryRule
    rate: float
    confidence: float
    outcomes: int = 0
    patterns: tuple[PatternRow, ...] = ()
    learned: tuple[LearnedRow, ...] = ()
    now_ms: int = 0


class ObservationList(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes in the order in which they were kept."""

    observations: tuple[Observation, ...] = ()


class PatternChange(msgspec.Struct, frozen=True, kw_only=True):
    """How many outcomes were added or forgotten, and which types are decided otherwise from now on."""

    count: int
    changed: tuple[str, ...] = ()
