"""A plan as it is kept: by batch and version, its content as text that only planning reads."""

import msgspec


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the plan of a batch of tasks. Never changed: a new plan is a new version."""

    batch: str
    version: int
    at_ms: int
    after_seq: int
    """Newest event when it was made: what happened to it comes after."""
    body: str
    """The guide as JSON (`ostler.planning.guide`)."""
