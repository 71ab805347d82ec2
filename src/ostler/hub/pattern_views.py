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
    version: str = ""
    """The newest version that has an outcome, where its endpoint tells versions apart."""
    successes: int = 0
    failures: int = 0
    """Whole outcomes as they came."""
    weight: float = 0.0
    """What they still count, faded; what was only reported counts a half."""
    prior_rate: float = 0.5
    """What was believed of the model before it had any outcome, by its size or price."""
    prior_weight: float = 0.0
    """For how many outcomes all that is known from elsewhere counts."""
    mean: float = 0.0
    low: float = 0.0
    """Lower bound of the true rate, at the confidence of the policy."""
    high: float = 1.0
    """Upper bound, at the same."""
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


class CheckRow(msgspec.Struct, frozen=True, kw_only=True):
    """How good the checks of tasks are, by later evidence. A verdict that nobody contradicted counts as right."""

    accepted: int = 0
    accepted_bad: int = 0
    """Accepted, and later found to be bad."""
    rejected: int = 0
    rejected_good: int = 0
    """Rejected, and later found to be good."""
    looked_at: int = 0
    """Verdicts about which there is later evidence."""
    false_accept: float = 0.0
    """P(accepted | bad), and the rate that it is below at 90 %."""
    false_accept_high: float = 0.0
    false_reject: float = 0.0
    """P(rejected | good), likewise."""
    false_reject_high: float = 0.0


class PatternReport(msgspec.Struct, frozen=True, kw_only=True):
    """All standings, and what they change."""

    history: HistoryRule
    rate: float
    confidence: float
    outcomes: int = 0
    patterns: tuple[PatternRow, ...] = ()
    learned: tuple[LearnedRow, ...] = ()
    checks: CheckRow = CheckRow()
    labels: int = 0
    """Texts whose type is known."""
    explore_left_micro_usd: int = 0
    """What exploration may still cost today."""
    now_ms: int = 0


class ObservationList(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes in the order in which they were kept."""

    observations: tuple[Observation, ...] = ()


class PatternChange(msgspec.Struct, frozen=True, kw_only=True):
    """How many outcomes were added or forgotten, and which types are decided otherwise from now on."""

    count: int
    changed: tuple[str, ...] = ()
