"""What the gateway needs of the hub: narrow, so that its tests run without one."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from ostler.config.settings import GatewaySettings
from ostler.context.measure import TokenRates
from ostler.domain.clock import Clock
from ostler.domain.decision import Decision
from ostler.domain.fleet import EndpointView
from ostler.domain.live import CallRecord, Dispatch, GatewayKey, LiveCall, LiveEnded, Refusal, Standing
from ostler.domain.policy import Policy
from ostler.domain.ports import Upstream
from ostler.domain.trace import Trace, parse
from ostler.hub.sign_ins import SignIns, no_limit


class Desk(Protocol):
    """Where calls wait for their turn."""

    async def admit(self, call: LiveCall) -> Dispatch:
        """Wait until it may run. Raises `DeniedError`. Cancelling it withdraws the call."""
        ...

    def ended(self, end: LiveEnded) -> None:
        """An attempt that was dispatched has ended; frees its slot."""
        ...

    def standing(self, call_id: str) -> Standing | None:
        """Where a waiting call stands; `None` when it does not wait."""
        ...


class Keys(Protocol):
    """Who may call."""

    def find(self, raw_key: str) -> GatewayKey | None:
        """The key, if it is one of ours and not revoked."""
        ...

    def check(self, key: GatewayKey) -> None:
        """Raises `OstlerError` when its limit is reached."""
        ...


class Book(Protocol):
    """Where finished calls are kept."""

    def add(self, record: CallRecord, decision: Decision | None = None) -> None:
        """Keep a record. Never waits, never raises."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Count a request that never became a call. Never waits, never raises."""
        ...


def callers_trace(_call_id: str, _key: GatewayKey | None, said: str) -> Trace | None:
    """The trace of a caller that has one: a hub that traces nothing itself hands it on."""
    return parse(said) if said else None


class Hub(msgspec.Struct, frozen=True, kw_only=True):
    """All of it together, as the composition root makes it."""

    desk: Desk
    keys: Keys
    book: Book
    upstream: Upstream
    clock: Clock
    policy: Callable[[], Policy]
    views: Callable[[], Mapping[str, EndpointView]]
    """Endpoints as the scheduler knows them now, by name."""
    new_id: Callable[[], str]
    """A fresh id for a call."""
    settings: GatewaySettings
    key_needed: bool
    trace_of: Callable[[str, GatewayKey | None, str], Trace | None] = callers_trace
    """Which trace a call of this id, key and `traceparent` is part of; `None` = it is not traced."""
    sign_ins: SignIns = msgspec.field(default_factory=no_limit)
    """What is known of those whose keys were not valid."""
    rates: TokenRates = msgspec.field(default_factory=TokenRates)
    """Characters per token by model, from what endpoints report: what trimming goes by."""
