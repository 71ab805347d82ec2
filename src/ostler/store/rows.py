"""Between the domain's types and the columns of `schema`: one function for each direction, nothing else.

Rows are plain tuples in the order of the table's columns, because building a mapping for each row costs more than
writing it. The JSON text of a `Task`, `TaskSpec`, `Attempt` ... is the value itself; the columns beside it repeat what
is asked for in queries. An event's columns are its fields, so only the two mappings are in its body.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ostler.domain.alerts import Alert
from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Decision
from ostler.domain.event import Event, Scalar
from ostler.domain.event_totals import EventTotal
from ostler.domain.fleet import Session
from ostler.domain.ledger import NOTHING, EntryKind, LedgerEntry
from ostler.domain.live import CallDecision, CallRecord, GatewayKey
from ostler.domain.loops import Loop
from ostler.domain.measured import Measurement
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.states import TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec

Row = tuple[Any, ...]

COUNTS = NOTHING.__struct_fields__
"""Fields of an amount; `spending` has a column of each, for what is used and for what is held."""
Run = Callable[[str, Sequence[object]], list[Row]]
"""Run a query inside a snapshot and return all of its rows."""
Stored = (
    Task
    | TaskSpec
    | Attempt
    | Decision
    | Session
    | EndpointSpec
    | Measurement
    | Reported
    | Observation
    | StoredPlan
    | Loop
    | GatewayKey
    | CallRecord
    | LedgerEntry
    | Alert
)

STATE_TEXT: Mapping[TaskState, str] = {state: str(state.value) for state in TaskState}
"""A `str` subclass is bound by a slower path of the driver than `str` itself."""
STATE_OF: Mapping[str, TaskState] = {state.value: state for state in TaskState}

DecodeError = msgspec.DecodeError

_encode = msgspec.json.Encoder().encode
_event_body = msgspec.json.Decoder(tuple[dict[str, int | float], dict[str, Scalar]])

decode_task = msgspec.json.Decoder(Task).decode
decode_spec = msgspec.json.Decoder(TaskSpec).decode
decode_attempt = msgspec.json.Decoder(Attempt).decode
decode_decision = msgspec.json.Decoder(Decision).decode
decode_session = msgspec.json.Decoder(Session).decode
decode_endpoint = msgspec.json.Decoder(EndpointSpec).decode
decode_measurement = msgspec.json.Decoder(Measurement).decode
decode_allowance = msgspec.json.Decoder(Reported).decode
decode_observation = msgspec.json.Decoder(Observation).decode
decode_plan = msgspec.json.Decoder(StoredPlan).decode
decode_loop = msgspec.json.Decoder(Loop).decode
decode_key = msgspec.json.Decoder(GatewayKey).decode
decode_alert = msgspec.json.Decoder(Alert).decode
decode_entry = msgspec.json.Decoder(LedgerEntry).decode
decode_call = msgspec.json.Decoder(CallRecord).decode


def body(value: Stored) -> str:
    """The JSON text that is stored for a value."""
    return _encode(value).decode()


def task_row(task: Task) -> Row:
    """All columns of `task`, in their order."""
    return (
        task.seq,
        task.id,
        STATE_TEXT[task.state],
        STATE_TEXT[task.prev_state] if task.prev_state is not None else None,
        task.generation,
        int(task.priority),
        task.batch,
        task.session,
        task.wait.code.value if task.wait is not None else None,
        task.created_ms,
        task.updated_ms,
        task.finished_ms,
        body(task),
    )


def open_change_row(task: Task, from_state: TaskState, from_generation: int) -> Row:
    """Parameters of `statements.CHANGE_OPEN`: what a transition between open states can change, then the guard."""
    return (
        STATE_TEXT[task.state],
        STATE_TEXT[task.prev_state] if task.prev_state is not None else None,
        task.generation,
        int(task.priority),
        task.session,
        task.wait.code.value if task.wait is not None else None,
        task.created_ms,
        task.updated_ms,
        body(task),
        task.seq,
        STATE_TEXT[from_state],
        from_generation,
    )


def change_row(task: Task, from_state: TaskState, from_generation: int) -> Row:
    """Parameters of `statements.CHANGE`: every column but the identity, then the guard."""
    return (*task_row(task)[2:], task.seq, STATE_TEXT[from_state], from_generation)


def event_row(event: Event, seq: int, task_seq: int | None) -> Row:
    """All columns of `event`, in their order."""
    return (
        seq,
        event.at_ms,
        event.name,
        task_seq,
        event.task_id,
        _encode((event.measurements, event.metadata)).decode(),
    )


def event_of(seq: int, at_ms: int, name: str, task_id: str | None, text: str) -> Event:
    """The event of a stored row."""
    measurements, metadata = _event_body.decode(text)
    return Event(name=name, at_ms=at_ms, task_id=task_id, seq=seq, measurements=measurements, metadata=metadata)


def total_row(total: EventTotal) -> Row:
    """All columns of `event_total`, in their order."""
    return (total.day_ms, total.name, total.part, total.measure, total.events, total.total, total.highest)


def total_of(row: Row) -> EventTotal:
    """The total of a stored row."""
    day_ms, name, part, measure, events, total, highest = row
    return EventTotal(day_ms=day_ms, name=name, part=part, measure=measure, events=events, total=total, highest=highest)


def alert_row(alert: Alert) -> Row:
    """All columns of `alert`, in their order."""
    return (alert.rule, alert.subject, body(alert))


def session_row(session: Session) -> Row:
    """All columns of `worker_session`, in their order."""
    return (session.id, session.joined_ms, session.renewed_ms, body(session))


def measurement_row(row: Measurement) -> Row:
    """All columns of `measurement`, in their order."""
    return (row.host, row.model, row.context_tokens, row.quantity.value, body(row))


def allowance_row(row: Reported) -> Row:
    """All columns of `allowance`, in their order."""
    return (row.provider, row.window, body(row))


def observation_row(one: Observation) -> Row:
    """The columns of `observation` but its place in the order."""
    return (one.id, one.task_type, one.model, one.tier, body(one))


def observation_query(query: ObservationQuery) -> Row:
    """Parameters of `compose_statements.observations_named`: each value twice, and the text of an unset one.

    The order is that of the text: value, "", value.
    """
    return tuple(part for value in (query.task_type, query.model, query.tier) for part in (value, "", value))


def plan_row(plan: StoredPlan) -> Row:
    """All columns of `plan`, in their order."""
    return (plan.batch, plan.version, body(plan))


def key_row(key: GatewayKey) -> Row:
    """All columns of `gateway_key`, in their order."""
    return (key.name, key.key_hash, key.revoked_ms, body(key))


def call_row(record: CallRecord) -> Row:
    """All columns of `call`, in their order."""
    return (
        record.id,
        record.at_ms,
        record.key,
        record.model,
        record.asked_model,
        record.endpoint,
        record.failure.value if record.failure is not None else None,
        record.cost_micro_usd,
        body(record),
    )


def call_decision_row(row: CallDecision) -> Row:
    """All columns of `call_decision`, in their order."""
    return (row.key, row.used_ms, body(row.decision))


def ledger_row(entry: LedgerEntry) -> Row:
    """All columns of `ledger`, in their order."""
    amount = entry.amount
    return (
        entry.seq,
        entry.attempt,
        str(entry.kind.value),
        entry.at_ms,
        entry.charged_ms,
        amount.micro_usd,
        amount.tokens,
        amount.requests,
        _once(entry),
        body(entry),
    )


def _once(entry: LedgerEntry) -> str:
    """What an attempt can be told only once."""
    if entry.kind is EntryKind.RESERVE:
        return "reserve"
    return f"adjust {entry.ref}" if entry.kind is EntryKind.ADJUST else "end"
