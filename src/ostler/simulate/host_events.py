"""The vocabulary of a simulated host: what is asked of it, and what it decides. Pure data, modelled milliseconds."""

from enum import StrEnum

import msgspec

from ostler.simulate.timing import Timing

FOREVER_MS = (2**63 - 1) // 1_000_000
"""A negative keep-alive, as Ollama stores it: the largest duration it can hold."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a model. `model` is a key of the spec, `call_id` unique on the host."""

    call_id: int
    model: str
    num_ctx: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    delay_ms: int = 0
    """Injected: longer until the first token."""
    keep_alive_ms: int | None = None
    """How long the model stays once idle; `None` leaves what is set, at first the host's default."""
    load_only: bool = False
    """Wants the model in memory and nothing of it: takes no slot."""


class RefusalCause(StrEnum):
    """Why a call was turned away."""

    QUEUE_FULL = "queue_full"
    DOES_NOT_FIT = "does_not_fit"
    LOAD_FAILED = "load_failed"


class UnloadCause(StrEnum):
    """Why a model leaves memory."""

    EVICTED = "evicted"
    RELOADED = "reloaded"
    """The same model is wanted with another context."""
    EXPIRED = "expired"
    """Its keep-alive ended, or it was asked to leave."""
    ABORTED = "aborted"
    """The client hung up while it was loading."""


class CallStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A call got its slot. It holds it until `finish` or `cancel`, planned for `timing.ends_ms`."""

    call_id: int
    timing: Timing


class CallRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A call will not be served; `message` is what Ollama would say."""

    call_id: int
    at_ms: int
    cause: RefusalCause
    message: str


class LoadStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Memory is taken from now on; usable at `ready_ms`."""

    at_ms: int
    model: str
    num_ctx: int
    ready_ms: int
    is_swap: bool
    """Another resident had to go for it."""


class LoadEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The model is usable, or (with `error`) its memory is free again."""

    at_ms: int
    model: str
    error: str | None = None


class UnloadStarted(msgspec.Struct, frozen=True, kw_only=True):
    """No call can use it any more; its memory is taken until `done_ms`."""

    at_ms: int
    model: str
    cause: UnloadCause
    done_ms: int


class UnloadEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Its memory is free."""

    at_ms: int
    model: str


Decision = CallStarted | CallRefused | LoadStarted | LoadEnded | UnloadStarted | UnloadEnded


class Counters(msgspec.Struct, kw_only=True):
    """What happened so far. Times are modelled and count finished loads and unloads only."""

    loads: int = 0
    failed_loads: int = 0
    unloads: int = 0
    swaps: int = 0
    load_ms: int = 0
    unload_ms: int = 0
    calls_finished: int = 0
    calls_cancelled: int = 0
    calls_refused: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class ResidentView(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory, as seen from outside."""

    model: str
    state: str
    """`loading`, `ready` or `unloading`."""
    num_ctx: int
    memory_bytes: int
    slots: int
    running: int
    waiting: int
    keep_alive_ms: int
    expires_ms: int | None
    """When it leaves if nobody asks for it; `None` = it is in use, or not yet or no longer usable."""
    leaving: bool
    """It goes as soon as it is idle."""


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a host at one moment."""

    now_ms: int
    capacity_bytes: int
    used_bytes: int
    residents: tuple[ResidentView, ...]
    head: str | None
    """The model of the call that the queue waits for."""
    queue: tuple[str, ...]
    """The models of the calls behind it, in order."""
    counters: Counters
