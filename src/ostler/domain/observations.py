"""What became of an attempt, as learning keeps it: one row for each that was judged, by a check or by word of mouth."""

from enum import StrEnum

import msgspec

from ostler.domain.states import Outcome


class Origin(StrEnum):
    """Who wrote it down."""

    AUTO = "auto"
    HAND = "hand"
    IMPORT = "import"


class Says(StrEnum):
    """What an observation is about."""

    OUTCOME = "outcome"
    """What became of an attempt."""
    REVISION = "revision"
    """Later evidence: the newest judged attempt of `task_id` was in truth a success, or a failure."""
    LABEL = "label"
    """`task_id`, whose words are `text`, is of this type of work; no model is spoken of."""


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
    explored: bool = False
    """It ran there to find out, not because it was the best choice known."""
    quality: str = ""
    """In words: first try, after a fix, needs a person."""
    note: str = ""
    version: str = ""
    """Of the model, as its endpoint tells them apart; empty = it does not."""
    says: Says = Says.OUTCOME
    text: str = ""
    """The words of a label."""


class ObservationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which observations to list or to forget. Empty fields = any. A store does not know versions: the hub does."""

    task_type: str = ""
    model: str = ""
    tier: str = ""
    version: str = ""

    @property
    def is_any(self) -> bool:
        """Whether it names all of them."""
        return not (self.task_type or self.model or self.tier or self.version)

    def names(self, one: Observation) -> bool:
        """Whether an observation is meant."""
        named = self.task_type in ("", one.task_type) and self.model in ("", one.model)
        return named and self.tier in ("", one.tier) and self.version in ("", one.version)
