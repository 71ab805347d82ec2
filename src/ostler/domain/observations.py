"""What became of an attempt, as learning keeps it: one row for each that was judged, by a check or by word of mouth."""

from enum import StrEnum

import msgspec

from ostler.domain.states import Outcome


class Origin(StrEnum):
    """Who wrote it down."""

    AUTO = "auto"
    HAND = "hand"
    IMPORT = "import"


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A success or failure of a model at a kind of work. Transient failures (an outage, a limit, a lost worker) say
    nothing about a model and are never written down.
    """

    id: str
    """Idempotency: one that is known is not counted again."""
    at_ms: int
    task_type: str
    model: str
    success: bool
    tier: str = ""
    endpoint: str = ""
    task_id: str = ""
    attempt: int = 1
    """1 = the first try of its task, 2 = after one failure, ..."""
    proof: Outcome = Outcome.REPORTED
    origin: Origin = Origin.AUTO
    duration_ms: int | None = None
    retries: int = 0
    cost_micro_usd: int | None = None
    propensity: float = 1.0
    """How likely the choice was when it was made."""
    quality: str = ""
    """In words: first try, after a fix, needs a person."""
    note: str = ""


class ObservationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which observations to list or to forget. Empty fields = any."""

    task_type: str = ""
    model: str = ""
    tier: str = ""

    def names(self, one: Observation) -> bool:
        """Whether an observation is meant."""
        return self.task_type in ("", one.task_type) and self.model in ("", one.model) and self.tier in ("", one.tier)
