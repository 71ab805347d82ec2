"""The narrow ports between the core's shell and the adapters. Adapters satisfy them by shape, without importing anyone.

Every store, driver and link passes the conformance suite of its port.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from ostler.domain.alerts import Alert
from ostler.domain.allowances import Reported
from ostler.domain.calls import Completion, Delta, ModelCall, UpstreamRequest
from ostler.domain.catalog import EndpointSpec
from ostler.domain.commands import Command, Result
from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal
from ostler.domain.fleet import HostReport, Probe, Resident, Session, WorkerOffer
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind
from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.domain.loops import Loop
from ostler.domain.measured import Measurement
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.states import TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec
from ostler.domain.tokens import KnownToken
from ostler.domain.work import Poll, Report


class OpenWork(msgspec.Struct, frozen=True, kw_only=True):
    """All that a hub needs to go on after a restart: every task that is not final, sessions, endpoints and
    measured speeds.
    """

    tasks: tuple[Task, ...]
    sessions: tuple[Session, ...]
    endpoints: tuple[EndpointSpec, ...]
    measurements: tuple[Measurement, ...] = ()
    allowances: tuple[Reported, ...] = ()
    """What providers last reported of subscriptions, by provider and window."""
    next_seq: int
    """First unused task sequence number."""
    last_event_seq: int


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One task with everything kept about it, oldest first."""

    task: Task
    spec: TaskSpec
    attempts: tuple[Attempt, ...]
    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]
    output: str | None
    late_reports: tuple[bytes, ...] = ()


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; newest first."""

    states: tuple[TaskState, ...] = ()
    batch: str | None = None
    limit: int = 100
    before_seq: int | None = None
    after_seq: int | None = None
    """List those above this number instead, oldest first, whatever their state and batch."""


class CallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls to list; newest first, by when they came in, then by id."""

    key: str = ""
    """Name of a key; empty = any."""
    model: str | None = None
    """The model that answered, or the one that was asked for."""
    endpoint: str | None = None
    failed: bool = False
    """Only those that failed."""
    limit: int = 100
    before: str | None = None
    """Id of a call to go on below; below one that is no longer kept there is nothing."""


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One call with the decision it names, where that is kept."""

    record: CallRecord
    decision: Decision | None = None


class Store(Protocol):
    """The durable truth. Set-based: everything that waits goes into the next transaction.

    `apply` returns only after the commit is durable; results are in the order of the commands. It is safe to call
    from many tasks of one event loop; concurrent calls share a transaction. Reads see all that was acknowledged.
    """

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Apply a batch; results in the order of the commands, after the commit."""
        ...

    async def open_work(self) -> OpenWork:
        """Everything a hub needs to go on."""
        ...

    async def states(self, ids: Sequence[str]) -> dict[str, TaskState]:
        """States of those of `ids` that exist."""
        ...

    async def rows(self, ids: Sequence[str]) -> dict[str, Task]:
        """Rows of those of `ids` that exist."""
        ...

    async def outputs(self, ids: Sequence[str]) -> dict[str, str]:
        """The newest output of those of `ids` that have one."""
        ...

    async def specs(self, ids: Sequence[str]) -> dict[str, TaskSpec]:
        """What was asked for, of those of `ids` that exist."""
        ...

    async def task(self, task_id: str) -> TaskDetail | None:
        """One task with everything kept about it."""
        ...

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """Tasks, newest first."""
        ...

    async def events(self, *, after_seq: int = 0, limit: int = 500, task_id: str | None = None) -> list[Event]:
        """Events with `seq` above `after_seq`, oldest first."""
        ...

    async def event_totals(self, since_ms: int = 0) -> list[EventTotal]:
        """What pruned events of days that begin at or after an instant add up to, by day, name, part and measure."""
        ...

    async def alerts(self) -> list[Alert]:
        """All alerts that were ever raised, by name: rules x subjects at most."""
        ...

    async def plans(self, batch: str) -> list[StoredPlan]:
        """Every version of the plan of a batch, oldest first; none if it was never planned."""
        ...

    async def late_reports(self, limit: int) -> list[bytes]:
        """Reports of attempts that had been given up, newest first, as they were kept."""
        ...

    async def loops(self) -> list[Loop]:
        """All loops by name."""
        ...

    async def token_name(self, token_hash: str, scope: str) -> str | None:
        """Name of the token with this hash and scope, if there is one."""
        ...

    async def tokens(self) -> list[KnownToken]:
        """All tokens by name; one that was revoked is not there any more."""
        ...

    async def keys(self) -> list[GatewayKey]:
        """All keys of the gateway by name, the revoked ones too."""
        ...

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        """Calls, newest first."""
        ...

    async def call(self, call_id: str) -> CallDetail | None:
        """One call with its decision."""
        ...

    async def key_spend(self, since_ms: int) -> KeySpend:
        """What calls that came in since an instant have cost, by key; calls without a key are left out."""
        ...

    async def oldest_call_ms(self) -> int | None:
        """When the oldest call that is kept came in."""
        ...

    async def spent(self, spans: Sequence[Span]) -> list[Spent]:
        """What each span adds up to, in the order of the spans."""
        ...

    async def sums(self, kinds: Sequence[ScopeKind], since_ms: int) -> list[Summed]:
        """The sums of scopes of these kinds: of all time, and from an instant on by quarter-hour and day."""
        ...

    async def ledger(self, query: LedgerQuery) -> list[LedgerEntry]:
        """Entries of the ledger, oldest first unless the query says otherwise."""
        ...

    async def open_reservations(self) -> list[LedgerEntry]:
        """Reservations that nobody has ended, oldest first: after a crash, what has to be taken back."""
        ...

    async def charged(self, kind: ScopeKind) -> list[str]:
        """Every provider, session, ... that the ledger has an entry of, by name."""
        ...

    async def observations(self, query: ObservationQuery) -> list[Observation]:
        """What became of attempts, in the order in which it was kept."""
        ...

    async def close(self) -> None:
        """Give everything back. Safe to repeat."""
        ...


class EndpointDriver(Protocol):
    """Speaks one wire protocol to one endpoint. Owns no policy: no retries, no breaker, no choice."""

    async def probe(self, spec: EndpointSpec) -> Probe:
        """List models (and residents). Never generates, never raises for what an endpoint may do."""
        ...

    def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = ...
    ) -> AsyncIterator[Delta | Completion]:
        """Stream an answer; ends with exactly one `Completion` or raises `CallError`. Closing the iterator stops
        the call at the endpoint.

        `may_send` is asked when the connection is there and nothing is sent yet: when it says no, nothing is, and the
        call fails as WORKER_LOST. Whoever was frozen while it connected goes on when others may have its work.
        """
        ...

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        """Load a model and wait until it is loaded. Raises `CallError`. `None`: this kind of endpoint cannot."""
        ...

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """Unload a model. `False`: this kind of endpoint cannot."""
        ...


class UpstreamAnswer(Protocol):
    """A good answer being read (status 200 to 299). Whoever has it closes it, whatever happens."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    async def read(self) -> bytes:
        """What has arrived, at least one byte; `b""` at the end. Raises `CallError` when it breaks off."""
        ...

    def close(self) -> None:
        """Give the connection back after a whole answer; before its end hang up, which stops the endpoint. Safe to
        repeat.
        """
        ...


class Upstream(Protocol):
    """Hands requests to endpoints as they are, with the address and key of each. No retries but of a pooled connection
    that was dead before a byte was answered; no limits of time: the caller cancels.
    """

    async def send(self, spec: EndpointSpec, request: UpstreamRequest) -> UpstreamAnswer:
        """Send, and wait for the head of the answer. Raises `CallError`, also for an answer that is not good."""
        ...

    async def close(self) -> None:
        """Close all connections. Safe to repeat."""
        ...


class HubLink(Protocol):
    """A worker's way to its hub: in the same process or over HTTP."""

    async def join(self, offer: WorkerOffer) -> Session:
        """Open a session for what a worker offers."""
        ...

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        """Renew the session; returns the lease in milliseconds from now. Raises `NotFoundError` when the hub has
        given the session up: the worker stops its attempts and joins again.
        """
        ...

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        """Work to start and to stop; waits up to `wait_ms` when there is none."""
        ...

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        """Hand over reports; returns when they are durable. Safe to repeat."""
        ...

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        """Close a session in good order. `life`: of the process that leaves (`WorkerOffer.life`). `died`: it and all
        that it ran is dead, says its companion.
        """
        ...

    async def close(self) -> None:
        """Give everything back. Safe to repeat."""
        ...
