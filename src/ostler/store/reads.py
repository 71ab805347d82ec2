"""The reads of the port, each inside one snapshot, with queries that are text (see `texts`).

What one commit made visible is visible here whole: events are numbered and committed by one writer in order, so a
reader that has seen event n has seen all before it, and `after_seq` is a safe cursor. With several writers a lower
number could be committed after a higher one, and the cursor would have to wait for it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ostler.domain.alerts import Alert
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal
from ostler.domain.loops import Loop
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.ports import OpenWork, TaskDetail, TaskQuery
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.domain.tokens import KnownToken
from ostler.store import ledger_reads, rows
from ostler.store.call_reads import CallQueries
from ostler.store.ledger_reads import LedgerQueries
from ostler.store.rows import Run
from ostler.store.statements import chunks

EVERY_STATE = tuple(rows.STATE_TEXT.values())
_ABOVE_ALL = 2**63 - 1


class Queries(NamedTuple):
    """Text of every read; parameters by position, in the order of the words that describe it."""

    open_tasks: str
    sessions: str
    endpoints: str
    measurements: str
    observations: str
    alerts: str
    event_totals: str
    """Columns of a total: of days from this instant on."""
    last_task_seq: str
    last_event_seq: str
    states_by_id: tuple[str, ...]
    """id, state; one text for each length of a list (see `statements.chunks`)."""
    rows_by_id: tuple[str, ...]
    """id, body; as the next two."""
    outputs_by_id: tuple[str, ...]
    """id, newest output."""
    specs_by_id: tuple[str, ...]
    """id, spec."""
    task: str
    """seq, body, spec by id."""
    attempts: str
    decisions: str
    outputs: str
    late_reports: str
    tasks_above: str
    """seq, body: above this number, oldest first, at most so many."""
    newest_tasks: str
    """seq, body: below this number, at most so many."""
    newest_of_batch: str
    """The same: batch, below, states (all places filled), at most."""
    newest_ended: str
    """The same: below, one final state, at most."""
    newest_open: str
    """The same: below, states (all places filled), at most."""
    events: str
    """Columns of an event: above this number, at most so many."""
    events_of_task: str
    """The same: above, task, above, task again, at most."""
    token_name: str
    """By hash and scope."""
    tokens: str
    """Name, scope and creation of all, by name; never a hash."""
    plans: str
    """By batch."""
    newest_late: str
    """At most so many."""
    loops: str
    gateway: CallQueries
    ledger: LedgerQueries


def open_work(run: Run, queries: Queries) -> OpenWork:
    """Everything a hub goes on with. O(open tasks)."""
    return OpenWork(
        tasks=tuple(rows.decode_task(text) for (text,) in run(queries.open_tasks, ())),
        sessions=tuple(rows.decode_session(text) for (text,) in run(queries.sessions, ())),
        endpoints=tuple(rows.decode_endpoint(text) for (text,) in run(queries.endpoints, ())),
        allowances=tuple(ledger_reads.allowances(run, queries.ledger)),
        measurements=tuple(rows.decode_measurement(text) for (text,) in run(queries.measurements, ())),
        next_seq=(run(queries.last_task_seq, ())[0][0] or 0) + 1,
        last_event_seq=run(queries.last_event_seq, ())[0][0],
    )


def alerts(run: Run, queries: Queries) -> list[Alert]:
    """All alerts by name."""
    return [rows.decode_alert(text) for (text,) in run(queries.alerts, ())]


def event_totals(run: Run, queries: Queries, since_ms: int) -> list[EventTotal]:
    """What pruned events add up to."""
    return [rows.total_of(row) for row in run(queries.event_totals, (since_ms,))]


def observations(run: Run, queries: Queries, query: ObservationQuery) -> list[Observation]:
    """What became of attempts, in order. O(all observations)."""
    found = run(queries.observations, rows.observation_query(query))
    return [rows.decode_observation(text) for (text,) in found]


def states(run: Run, queries: Queries, ids: Sequence[str]) -> dict[str, TaskState]:
    """States of the tasks that exist. O(ids)."""
    return {
        task_id: rows.STATE_OF[state]
        for fitting, chunk in chunks(ids)
        for task_id, state in run(queries.states_by_id[fitting], chunk)
    }


def task_rows(run: Run, queries: Queries, ids: Sequence[str]) -> dict[str, Task]:
    """Rows of the tasks that exist. O(ids)."""
    return {task_id: rows.decode_task(text) for task_id, text in _by_id(run, queries.rows_by_id, ids)}


def newest_outputs(run: Run, queries: Queries, ids: Sequence[str]) -> dict[str, str]:
    """The newest output of the tasks that have one. O(ids and their attempts)."""
    return dict(_by_id(run, queries.outputs_by_id, ids))


def task_specs(run: Run, queries: Queries, ids: Sequence[str]) -> dict[str, TaskSpec]:
    """Specs of the tasks that exist. O(ids)."""
    return {task_id: rows.decode_spec(text) for task_id, text in _by_id(run, queries.specs_by_id, ids)}


def _by_id(run: Run, texts: tuple[str, ...], ids: Sequence[str]) -> Iterator[rows.Row]:
    for fitting, chunk in chunks(ids):
        yield from run(texts[fitting], chunk)


def task_detail(run: Run, queries: Queries, task_id: str) -> TaskDetail | None:
    """One task with everything about it. O(its attempts and events)."""
    found = run(queries.task, (task_id,))
    if not found:
        return None
    seq, task_text, spec_text = found[0]
    outputs = run(queries.outputs, (seq,))
    return TaskDetail(
        task=rows.decode_task(task_text),
        spec=rows.decode_spec(spec_text),
        attempts=tuple(rows.decode_attempt(text) for (text,) in run(queries.attempts, (seq,))),
        decisions=tuple(rows.decode_decision(text) for (text,) in run(queries.decisions, (seq,))),
        events=tuple(events(run, queries, after_seq=0, limit=_ABOVE_ALL, task_id=task_id)),
        output=outputs[-1][0] if outputs else None,
        late_reports=tuple(body for (body,) in run(queries.late_reports, (seq,))),
    )


def tasks(run: Run, queries: Queries, query: TaskQuery) -> list[Task]:
    """The newest tasks that match. Each branch walks one index from its end and stops at the limit.

    1. a batch: its index, states filtered; 2. no states: all tasks by number; 3. some states: one walk over the ended
    tasks of each final state, one over the open tasks for the others, then the newest of all of them.
    """
    limit = max(0, query.limit)
    if query.after_seq is not None:
        return [rows.decode_task(text) for _seq, text in run(queries.tasks_above, (query.after_seq, limit))]
    below = query.before_seq if query.before_seq is not None else _ABOVE_ALL
    wanted = frozenset(query.states)
    if query.batch is not None:  # 1
        found = run(queries.newest_of_batch, (query.batch, below, *_places(wanted), limit))
    elif not wanted:  # 2
        found = run(queries.newest_tasks, (below, limit))
    else:  # 3
        found = [
            row
            for state in sorted(wanted & FINAL_STATES)
            for row in run(queries.newest_ended, (below, rows.STATE_TEXT[state], limit))
        ]
        if unfinished := wanted - FINAL_STATES:
            found += run(queries.newest_open, (below, *_places(unfinished), limit))
        found.sort(reverse=True)
    return [rows.decode_task(text) for _seq, text in found[:limit]]


def _places(wanted: frozenset[TaskState]) -> tuple[str, ...]:
    """As many states as the query has places for, the last one repeated; all of them when none is named."""
    named = tuple(rows.STATE_TEXT[state] for state in wanted) or EVERY_STATE
    return named + named[-1:] * (len(EVERY_STATE) - len(named))


def events(run: Run, queries: Queries, *, after_seq: int, limit: int, task_id: str | None) -> list[Event]:
    """Events above a number, oldest first. O(answer)."""
    at_most = max(0, limit)
    if task_id is None:
        found = run(queries.events, (after_seq, at_most))
    else:
        found = run(queries.events_of_task, (after_seq, task_id, after_seq, task_id, at_most))
    return [rows.event_of(*row) for row in found]


def late_reports(run: Run, queries: Queries, limit: int) -> list[bytes]:
    """Late reports of all tasks, newest first. O(answer)."""
    return [body for (body,) in run(queries.newest_late, (max(0, limit),))]


def token_name(run: Run, queries: Queries, token_hash: str, scope: str) -> str | None:
    """Name of a token."""
    found = run(queries.token_name, (token_hash, scope))
    return found[0][0] if found else None


def tokens(run: Run, queries: Queries) -> list[KnownToken]:
    """See the port. O(tokens)."""
    return [KnownToken(name=name, scope=scope, created_ms=at_ms) for name, scope, at_ms in run(queries.tokens, ())]


def plans(run: Run, queries: Queries, batch: str) -> list[StoredPlan]:
    """Versions of a plan, oldest first. O(versions)."""
    return [rows.decode_plan(text) for (text,) in run(queries.plans, (batch,))]


def loops(run: Run, queries: Queries) -> list[Loop]:
    """See the port."""
    return [rows.decode_loop(text) for (text,) in run(queries.loops, ())]
