"""What the store is asked to do, and how it answers. A batch is applied in one transaction, in order.

A command is refused, never half applied: its guard (generation and state, or content) is checked inside the same
transaction that writes. A refusal is an answer, not an exception; the other commands of the batch go on.
"""

from enum import StrEnum

import msgspec

from ostler.domain.alerts import Alert
from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.fleet import Session
from ostler.domain.ledger import Amount, Basis, Bound, Scopes
from ostler.domain.live import CallDecision, CallRecord, GatewayKey
from ostler.domain.loops import Loop
from ostler.domain.measured import Measurement
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.states import TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task and its spec, to be stored together."""

    task: Task
    spec: TaskSpec
    event: Event


class SubmitTasks(msgspec.Struct, frozen=True, kw_only=True, tag="submit"):
    """Store new tasks, all or none. Idempotent: the same id with the same spec is a duplicate (applied, nothing
    written); the same id with another spec refuses the whole command with `CONFLICT`.
    """

    tasks: tuple[NewTask, ...]


class Reserve(msgspec.Struct, frozen=True, kw_only=True, tag="reserve"):
    """Hold an estimate for an attempt, if no bound is passed by it. Idempotent: what an attempt has reserved, or what
    became of it, stays, and is applied; refused with `LIMIT` (`Refused.limit` names the one), nothing is held.
    """

    attempt: str
    at_ms: int
    amount: Amount
    basis: Basis = Basis.PRICED
    scopes: Scopes
    bounds: tuple[Bound, ...] = ()
    task_type: str = ""


class Settle(msgspec.Struct, frozen=True, kw_only=True, tag="settle"):
    """Charge what an attempt came to, whether or not it had reserved: what was spent is spent. The first word on an
    attempt stands, unless it was only taken to have cost something (`ambiguous`) or to have cost nothing (a release).
    """

    attempt: str
    at_ms: int
    amount: Amount
    basis: Basis = Basis.PRICED
    scopes: Scopes = Scopes()
    """Where it ran; of an attempt that reserved, those of the reservation stay."""
    ambiguous: bool = False
    """Nobody knows how it ended. Of an attempt that reserved, what it held is charged, whatever `amount` says."""
    equivalent_micro_usd: int = 0
    equivalent_of: str = ""
    asked_tier: str = ""
    note: str = ""


class Release(msgspec.Struct, frozen=True, kw_only=True, tag="release"):
    """Give back what an attempt holds: it was never sent. Of one that has ended, or never reserved, nothing happens."""

    attempt: str
    at_ms: int
    note: str = ""


class Adjust(msgspec.Struct, frozen=True, kw_only=True, tag="adjust"):
    """Correct what an attempt was charged, by hand or from a bill. Once for each `ref`."""

    attempt: str
    ref: str
    at_ms: int
    amount: Amount
    """What it came to, whole."""
    basis: Basis = Basis.REPORTED
    note: str = ""


LedgerCommand = Reserve | Settle | Release | Adjust


class UpdateTask(msgspec.Struct, frozen=True, kw_only=True, tag="update"):
    """Replace the row of a task if it is in one of `expect_states` at `expect_generation`; store its event with it.

    `attempt` is inserted or replaced by (task_id, generation); `decision` is stored under the same key; `output` under
    the same key too. `want_spec` asks for the spec in the answer (an assignment needs it). `money` goes into the ledger
    with it: when that is refused, so is the whole command.
    """

    task: Task
    expect_generation: int
    expect_states: tuple[TaskState, ...]
    events: tuple[Event, ...]
    attempt: Attempt | None = None
    decision: Decision | None = None
    output: str | None = None
    want_spec: bool = False
    money: LedgerCommand | None = None


class AppendEvents(msgspec.Struct, frozen=True, kw_only=True, tag="events"):
    """Store events that change no task."""

    events: tuple[Event, ...]


class PutSessions(msgspec.Struct, frozen=True, kw_only=True, tag="sessions"):
    """Insert or renew worker sessions."""

    sessions: tuple[Session, ...]


class DropSession(msgspec.Struct, frozen=True, kw_only=True, tag="drop_session"):
    """Forget a session that left or is dead."""

    session_id: str


class PutEndpoint(msgspec.Struct, frozen=True, kw_only=True, tag="put_endpoint"):
    """Register an endpoint beside those of the profile (`ostler endpoints add`)."""

    endpoint: EndpointSpec


class DropEndpoint(msgspec.Struct, frozen=True, kw_only=True, tag="drop_endpoint"):
    """Remove a registered endpoint."""

    name: str


class PutToken(msgspec.Struct, frozen=True, kw_only=True, tag="put_token"):
    """Store the hash of a token under a name; the token itself is shown once and never stored."""

    name: str
    token_hash: str
    scope: str
    created_ms: int


class DropToken(msgspec.Struct, frozen=True, kw_only=True, tag="drop_token"):
    """Revoke a token."""

    name: str


class PutMeasurements(msgspec.Struct, frozen=True, kw_only=True, tag="measurements"):
    """Insert or replace what is known of speeds, by host, model, context and quantity."""

    measurements: tuple[Measurement, ...]


class PutAllowances(msgspec.Struct, frozen=True, kw_only=True, tag="allowances"):
    """Insert or replace what providers report of subscriptions, by provider and window."""

    reports: tuple[Reported, ...]


class PutPlan(msgspec.Struct, frozen=True, kw_only=True, tag="put_plan"):
    """Keep a version of a plan; the same version again replaces nothing that anybody could tell."""

    plan: StoredPlan


class PutKey(msgspec.Struct, frozen=True, kw_only=True, tag="put_key"):
    """Store a key of the gateway with its event. A name means one key for good, because the records of its calls and
    what they cost stand under it: not even a revoked one's can be given again. The same key again writes nothing.
    """

    key: GatewayKey
    event: Event


class RevokeKey(msgspec.Struct, frozen=True, kw_only=True, tag="revoke_key"):
    """Make a key worthless; it stays listed. One that is revoked already stays as it is, and writes no event."""

    name: str
    at_ms: int
    event: Event


class PutCalls(msgspec.Struct, frozen=True, kw_only=True, tag="put_calls"):
    """Keep finished calls and the decisions they share. What is stored already under an id stays; of a decision only
    `used_ms` is brought up.
    """

    records: tuple[CallRecord, ...]
    decisions: tuple[CallDecision, ...] = ()


class PruneCalls(msgspec.Struct, frozen=True, kw_only=True, tag="prune_calls"):
    """Forget the oldest calls from before an instant, at most `limit` of them, and the decisions last used before
    `decisions_before_ms`. What the calls have cost is kept by key and day.
    """

    before_ms: int
    limit: int
    decisions_before_ms: int = 0


class PruneEvents(msgspec.Struct, frozen=True, kw_only=True, tag="prune_events"):
    """Forget old events, of those numbered above `after_seq` up to `to_seq`: the ones from before an instant that
    belong to no task, or to one that ended before it. So the events of a task go together with the last of them, and
    those of an open task stay whole. What they add up to is kept by day (`domain.event_totals`).
    """

    before_ms: int
    after_seq: int
    to_seq: int


class PruneTasks(msgspec.Struct, frozen=True, kw_only=True, tag="prune_tasks"):
    """Forget tasks that ended before an instant, of those numbered above `after_seq` up to `to_seq`, with their specs,
    attempts, decisions, outputs and late reports. A batch goes together: none of it while one of its tasks is open, or
    ended later; its plans go with its last task. The newest task of all stays, so that no number is given twice.
    Outcomes, charges and sums of events are kept.
    """

    before_ms: int
    after_seq: int
    to_seq: int
    keep: tuple[str, ...] = ()
    """Ids that stay all the same: others need them."""


class PutAlerts(msgspec.Struct, frozen=True, kw_only=True, tag="put_alerts"):
    """Insert or replace alerts, by rule and subject."""

    alerts: tuple[Alert, ...]


class PutObservations(msgspec.Struct, frozen=True, kw_only=True, tag="put_observations"):
    """Keep what became of attempts. An id that is known stays as it is."""

    observations: tuple[Observation, ...]


class ForgetObservations(msgspec.Struct, frozen=True, kw_only=True, tag="forget_observations"):
    """Forget all observations that a query names; with `ids`, these alone."""

    which: ObservationQuery
    ids: tuple[str, ...] = ()


class SaveLoop(msgspec.Struct, frozen=True, kw_only=True, tag="save_loop"):
    """Store a loop with the events of its step, if the stored one still has the version before it (0: if there is
    none); refused with `CONFLICT` otherwise. So of two hubs that take the same step one does.
    """

    loop: Loop
    events: tuple[Event, ...] = ()


class DropLoop(msgspec.Struct, frozen=True, kw_only=True, tag="drop_loop"):
    """Forget a loop; its tasks stay."""

    name: str
    event: Event


class LateReport(msgspec.Struct, frozen=True, kw_only=True, tag="late"):
    """Keep a report of an attempt that is no longer the newest."""

    task_id: str
    generation: int
    at_ms: int
    body: bytes
    event: Event


Command = (
    SubmitTasks
    | UpdateTask
    | AppendEvents
    | PutSessions
    | DropSession
    | PutEndpoint
    | DropEndpoint
    | PutToken
    | DropToken
    | PutMeasurements
    | PutAllowances
    | PutPlan
    | PutKey
    | RevokeKey
    | PutCalls
    | PruneCalls
    | PruneEvents
    | PruneTasks
    | PutAlerts
    | PutObservations
    | ForgetObservations
    | LateReport
    | SaveLoop
    | DropLoop
    | Reserve
    | Settle
    | Release
    | Adjust
)


class RefusalReason(StrEnum):
    """Why a command was refused."""

    NOT_FOUND = "not_found"
    STALE_GENERATION = "stale_generation"
    WRONG_STATE = "wrong_state"
    CONFLICT = "conflict"
    ILLEGAL = "illegal_transition"
    LIMIT = "limit"
    """A limit of the budget would be passed."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Done and durable. `duplicates`: ids of a submit that were there already. `spec`: when it was asked for."""

    duplicates: tuple[str, ...] = ()
    spec: TaskSpec | None = None
    last_seq: int = 0
    """Sequence number of the newest event of this command, 0 if it had none."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Not done; what was found instead."""

    reason: RefusalReason
    message: str
    task: Task | None = None
    """The row as it is, where there is one."""
    limit: str = ""
    """The limit that would be passed, by name."""


Result = Applied | Refused
