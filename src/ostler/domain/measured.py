"""What was measured of speeds: sums of logarithms, small enough to be stored and to be added to. See
`ostler.residency.measured` for what they mean and how an estimate comes out of them.
"""

from enum import StrEnum

import msgspec


class Quantity(StrEnum):
    """What is measured."""

    LOAD_MS = "load_ms"
    UNLOAD_MS = "unload_ms"
    PREFILL = "prefill_tokens_per_s"
    DECODE = "decode_tokens_per_s"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What samples have shown of one quantity."""

    weight: float = 0.0
    """Number of samples, old ones counting less."""
    total: float = 0.0
    """Weighted sum of the logarithms."""
    squares: float = 0.0
    """Weighted sum of their squares."""
    samples: int = 0
    """All ever seen."""
    updated_ms: int = 0


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of a model at a context size on a host; the first four fields are its identity."""

    host: str
    model: str
    context_tokens: int = 0
    """0 = not known."""
    quantity: Quantity
    seen: Measured
