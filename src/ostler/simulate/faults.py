"""Faults that can be switched on: what they are, and which call is hit by which. Pure.

A `Fault` is data; a `FaultBoard` holds the active ones and counts how often each may still strike. Of several faults of
one kind the first that matches wins. Load failures strike loads, not calls, so the host's model takes them itself.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from ostler.domain.catalog import normal_model


class FaultKind(StrEnum):
    """What goes wrong."""

    UNAVAILABLE = "unavailable"
    """Every path answers 503. Stop the server to have connections refused instead."""
    FLAPPING = "flapping"
    """As `unavailable`, for `down_s` after every `up_s`."""
    SLOW_FIRST_TOKEN = "slow_first_token"  # noqa: S105 -- a kind of fault, not a secret
    """`delay_s` more before the first token."""
    CUT_STREAM = "cut_stream"
    """The connection closes after `after_tokens`, without an end."""
    STALL = "stall"
    """Nothing more comes after `after_tokens`, the connection stays open and the slot stays taken."""
    MALFORMED_CHUNK = "malformed_chunk"
    """One chunk that is no JSON after `after_tokens`; the stream goes on."""
    STREAM_ERROR = "stream_error"
    """After `after_tokens` the stream says that it failed, in its dialect, and ends."""
    MISSING_END = "missing_end"
    """The stream closes properly but without its end marker, finish reason or usage."""
    RATE_LIMITED = "rate_limited"
    """429, with `Retry-After` when `retry_after_s` is given."""
    SERVER_ERROR = "server_error"
    """500 instead of an answer."""
    OVERLOADED = "overloaded"
    """529 in Anthropic's dialect, 503 in the others."""
    LOAD_FAILURE = "load_failure"
    """The model does not load (hosts only)."""
    OUT_OF_MEMORY = "out_of_memory"
    """The load runs out of memory (hosts only); a host evicts everything else and tries once more."""


LOAD_FAULTS = (FaultKind.LOAD_FAILURE, FaultKind.OUT_OF_MEMORY)
IN_STREAM = (FaultKind.CUT_STREAM, FaultKind.STALL, FaultKind.MALFORMED_CHUNK, FaultKind.STREAM_ERROR)
REFUSALS = (FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.SERVER_ERROR)


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. Seconds are modelled seconds; only the fields named at its kind matter."""

    kind: FaultKind
    times: int | None = None
    """How many calls (or loads) it still strikes; `None` = until it is taken away."""
    model: str | None = None
    """Only calls of this model; `None` = any."""
    after_tokens: int = 0
    delay_s: float = 0.0
    retry_after_s: float | None = None
    up_s: float = 1.0
    down_s: float = 1.0

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 0:
            raise ValueError("`times` must not be negative")
        if min(self.after_tokens, self.delay_s) < 0:
            raise ValueError("`after_tokens` and `delay_s` must not be negative")
        if self.retry_after_s is not None and self.retry_after_s < 0:
            raise ValueError("`retry_after_s` must not be negative")
        if self.up_s <= 0 or self.down_s <= 0:
            raise ValueError("`up_s` and `down_s` must be above 0")

    def matches(self, model: str) -> bool:
        """Whether a call of `model` (normalised) can be struck."""
        return self.times != 0 and (self.model is None or normal_model(self.model) == model)


class CallFaults(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one call."""

    refusal: Fault | None = None
    delay_ms: int = 0
    in_stream: tuple[tuple[int, FaultKind], ...] = ()
    """What strikes the stream after how many tokens, in order."""
    missing_end: bool = False


class FaultBoard:
    """The active faults. `set_at_ms` anchors the phase of flapping ones."""

    def __init__(self, faults: Iterable[Fault] = (), *, now_ms: int = 0) -> None:
        self._faults: list[Fault] = list(faults)
        self._set_at_ms = now_ms

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults with the strikes they have left, spent ones included."""
        return tuple(self._faults)

    def replace(self, faults: Iterable[Fault], now_ms: int) -> None:
        """Forget all faults and take these."""
        self._faults = list(faults)
        self._set_at_ms = now_ms

    def is_down(self, now_ms: int) -> bool:
        """Whether every path answers 503 now. Counts as a strike of an `unavailable` fault with `times`."""
        if self._strike(FaultKind.UNAVAILABLE, "") is not None:
            return True
        return any(
            (now_ms - self._set_at_ms) % int((fault.up_s + fault.down_s) * 1000) >= fault.up_s * 1000
            for fault in self._faults
            if fault.kind is FaultKind.FLAPPING and fault.times != 0
        )

    def strike_call(self, model: str) -> CallFaults:
        """What happens to the next call of `model` (normalised); uses up one strike of each fault that takes part."""
        for kind in REFUSALS:
            if (refusal := self._strike(kind, model)) is not None:
                return CallFaults(refusal=refusal)
        slow = self._strike(FaultKind.SLOW_FIRST_TOKEN, model)
        in_stream = [self._strike(kind, model) for kind in IN_STREAM]
        return CallFaults(
            delay_ms=int(slow.delay_s * 1000) if slow else 0,
            in_stream=tuple(sorted((fault.after_tokens, fault.kind) for fault in in_stream if fault is not None)),
            missing_end=self._strike(FaultKind.MISSING_END, model) is not None,
        )

    def strike_load(self, model: str) -> Fault | None:
        """The fault that the load of `model` (normalised) ends with, if any."""
        for kind in LOAD_FAULTS:
            if (fault := self._strike(kind, model)) is not None:
                return fault
        return None

    def _strike(self, kind: FaultKind, model: str) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.kind is kind and fault.matches(model):
                if fault.times is not None:
                    self._faults[index] = msgspec.structs.replace(fault, times=fault.times - 1)
                return fault
        return None
