"""The reads of the port, written in Core from the tables of `schema`: where the texts of `texts` come from.

Run when those are made anew and when they are tested, never by a hub.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from ostler.budget.buckets import Grain
from ostler.store import schema
from ostler.store.call_reads import CallQueries
from ostler.store.compose_statements import at_most, lookups, observations_named, spending_sums
from ostler.store.ledger_reads import LedgerQueries
from ostler.store.reads import EVERY_STATE, Queries
from ostler.store.rows import COUNTS


def compile_queries(dialect: Dialect, last_event_seq: str) -> Queries:
    """Every read for one engine, which gives its own way to ask for the newest event number."""

    def text(query: sa.ClauseElement) -> str:
        return str(query.compile(dialect=dialect))

    def by_generation(table: sa.Table) -> str:
        query = sa.select(table.c.body).where(table.c.task_seq == sa.bindparam("seq"))
        return text(query.order_by(table.c.generation))

    task, spec, token, late = schema.task, schema.task_spec, schema.token, schema.late_report
    session, endpoint, measurement = schema.worker_session, schema.endpoint, schema.measurement
    newest = at_most(sa.select(task.c.seq, task.c.body).order_by(task.c.seq.desc()))
    below = task.c.seq < sa.bindparam("below")
    any_state = task.c.state.in_([sa.bindparam(f"state_{place}") for place in range(len(EVERY_STATE))])
    # Naming `finished_ms` is what lets the engine use the partial indexes.
    ended, unfinished = task.c.finished_ms.is_not(None), task.c.finished_ms.is_(None)
    named_task = sa.select(task.c.seq, task.c.body, spec.c.body).join(spec, spec.c.task_seq == task.c.seq)
    named_token = sa.select(token.c.name).where(token.c.token_hash == sa.bindparam("token_hash"))
    return Queries(
        open_tasks=text(sa.select(task.c.body).where(unfinished).order_by(task.c.seq)),
        sessions=text(sa.select(session.c.body).order_by(session.c.joined_ms, session.c.id)),
        endpoints=text(sa.select(endpoint.c.body).order_by(endpoint.c.name)),
        measurements=text(sa.select(measurement.c.body).order_by(*measurement.primary_key)),
        observations=text(_observations()),
        alerts=text(sa.select(schema.alert.c.body).order_by(*schema.alert.primary_key)),
        event_totals=text(_event_totals()),
        last_task_seq=text(sa.select(sa.func.max(task.c.seq))),
        last_event_seq=last_event_seq,
        states_by_id=lookups(dialect, sa.select(task.c.id, task.c.state), task.c.id),
        rows_by_id=lookups(dialect, sa.select(task.c.id, task.c.body), task.c.id),
        outputs_by_id=lookups(dialect, _newest_outputs(), task.c.id),
        specs_by_id=lookups(
            dialect, sa.select(task.c.id, spec.c.body).join(spec, spec.c.task_seq == task.c.seq), task.c.id
        ),
        task=text(named_task.where(task.c.id == sa.bindparam("id"))),
        attempts=by_generation(schema.attempt),
        decisions=by_generation(schema.decision),
        outputs=by_generation(schema.output),
        late_reports=text(sa.select(late.c.body).where(late.c.task_seq == sa.bindparam("seq")).order_by(late.c.id)),
        tasks_above=text(at_most(_tasks_above())),
        newest_tasks=text(newest.where(below)),
        newest_of_batch=text(newest.where(task.c.batch == sa.bindparam("batch"), below, any_state)),
        newest_ended=text(newest.where(below, task.c.state == sa.bindparam("state"), ended)),
        newest_open=text(newest.where(below, any_state, unfinished)),
        events=text(at_most(_events().order_by(schema.event.c.seq))),
        events_of_task=text(_events_of_task()),
        token_name=text(named_token.where(token.c.scope == sa.bindparam("scope"))),
        tokens=text(sa.select(token.c.name, token.c.scope, token.c.created_ms).order_by(token.c.name)),
        plans=text(
            sa.select(schema.plan.c.body)
            .where(schema.plan.c.batch == sa.bindparam("batch"))
            .order_by(schema.plan.c.version)
        ),
        newest_late=text(at_most(sa.select(late.c.body).order_by(late.c.id.desc()))),
        loops=text(sa.select(schema.loop.c.body).order_by(schema.loop.c.name)),
        gateway=compile_call_queries(dialect),
        ledger=compile_ledger_queries(dialect),
    )


def _tasks_above() -> sa.Select[*tuple[Any, ...]]:
    task = schema.task
    return sa.select(task.c.seq, task.c.body).where(task.c.seq > sa.bindparam("above")).order_by(task.c.seq)


def _observations() -> sa.Select[*tuple[Any, ...]]:
    table = schema.observation
    return sa.select(table.c.body).where(*observations_named()).order_by(table.c.seq)


def _event_totals() -> sa.Select[*tuple[Any, ...]]:
    table = schema.event_total
    return sa.select(table).where(table.c.day_ms >= sa.bindparam("since")).order_by(*table.primary_key)


def _newest_outputs() -> sa.Select[Any]:
    task, output = schema.task, schema.output
    older = output.alias("older")
    newest = sa.select(sa.func.max(older.c.generation)).where(older.c.task_seq == task.c.seq).scalar_subquery()
    joined = sa.select(task.c.id, output.c.body).join(output, output.c.task_seq == task.c.seq)
    return joined.where(output.c.generation == newest)


def _events() -> sa.Select[Any]:
    event = schema.event
    columns = (event.c.seq, event.c.at_ms, event.c.name, event.c.task_id, event.c.body)
    return sa.select(*columns).where(event.c.seq > sa.bindparam("above"))


def _events_of_task() -> sa.CompoundSelect[Any]:
    # By number or by id (see `schema`): two indexes, merged into one answer.
    event, task = schema.event, schema.task
    number = sa.select(task.c.seq).where(task.c.id == sa.bindparam("id")).scalar_subquery()
    by_number = _events().where(event.c.task_seq == number)
    by_id = _events().where(event.c.task_seq.is_(None), event.c.task_id == sa.bindparam("id"))
    return at_most(sa.union_all(by_number, by_id).order_by("seq"))


def compile_ledger_queries(dialect: Dialect) -> LedgerQueries:
    """Every read for one engine."""

    def text(query: sa.ClauseElement) -> str:
        return str(query.compile(dialect=dialect))

    entry, spending = schema.ledger, schema.spending
    end = entry.alias("ended")
    ended = sa.exists().where(end.c.attempt == entry.c.attempt, end.c.kind != sa.literal_column("'reserve'"))
    listed = sa.select(entry.c.body).where(
        entry.c.seq > sa.bindparam("after"),
        entry.c.charged_ms >= sa.bindparam("since"),
    )
    upward, downward = entry.c.seq, entry.c.seq.desc()
    of_attempt = listed.where(entry.c.attempt == sa.bindparam("attempt"))
    is_open = (entry.c.kind == sa.literal_column("'reserve'"), ~ended)
    all_time = spending.c.grain == sa.literal_column(str(int(Grain.ALL)))
    counts = [spending.c[f"{part}_{name}"] for part in ("used", "held") for name in COUNTS]
    rows_since = (
        sa.select(spending.c.scope, spending.c.value, spending.c.grain, spending.c.start_ms, *counts)
        .where(
            spending.c.scope == sa.bindparam("scope"), sa.or_(all_time, spending.c.start_ms >= sa.bindparam("since"))
        )
        .order_by(spending.c.value, spending.c.grain, spending.c.start_ms)
    )
    values = sa.select(spending.c.value).where(spending.c.scope == sa.bindparam("scope"), all_time)
    return LedgerQueries(
        sums=text(spending_sums()),
        rows=text(rows_since),
        entries=text(at_most(listed.order_by(upward))),
        entries_of_attempt=text(at_most(of_attempt.order_by(upward))),
        newest_entries=text(at_most(listed.order_by(downward))),
        newest_of_attempt=text(at_most(of_attempt.order_by(downward))),
        open_reservations=text(sa.select(entry.c.body).where(*is_open).order_by(entry.c.seq)),
        values=text(values.order_by(spending.c.value)),
        allowances=text(sa.select(schema.allowance.c.body).order_by(*schema.allowance.primary_key)),
    )


def compile_call_queries(dialect: Dialect) -> CallQueries:
    """Every read for one engine."""

    def text(query: sa.ClauseElement) -> str:
        return str(query.compile(dialect=dialect))

    key, call, decision, pruned = schema.gateway_key, schema.call, schema.call_decision, schema.pruned_use
    below = sa.tuple_(call.c.at_ms, call.c.id) < sa.tuple_(sa.bindparam("at_ms"), sa.bindparam("id"))
    # Both columns are never NULL: compared with itself, each is equal.
    model = sa.func.coalesce(sa.bindparam("model"), call.c.model).in_([call.c.model, call.c.asked_model])
    endpoint = call.c.endpoint == sa.func.coalesce(sa.bindparam("endpoint"), call.c.endpoint)
    newest = sa.select(call.c.body).order_by(call.c.at_ms.desc(), call.c.id.desc())
    failed = call.c.failure.is_not(None)
    # Naming that the key is not empty is what lets the engine use the partial index.
    keyed = call.c.key != sa.literal_column("''")
    of_key = newest.where(call.c.key == sa.bindparam("key"), keyed, below, model, endpoint)
    sums = (
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(call.c.cost_micro_usd), sa.literal_column("0")),
        sa.func.max(call.c.at_ms),
    )
    spent = sa.select(call.c.key, *sums).where(keyed, call.c.at_ms >= sa.bindparam("since")).group_by(call.c.key)
    was = (pruned.c.key, pruned.c.calls, pruned.c.micro_usd, pruned.c.last_ms)
    return CallQueries(
        keys=text(sa.select(key.c.body).order_by(key.c.name)),
        place=text(sa.select(call.c.at_ms, call.c.id).where(call.c.id == sa.bindparam("id"))),
        newest=text(at_most(newest.where(below, model, endpoint))),
        newest_failed=text(at_most(newest.where(below, failed, model, endpoint))),
        newest_of_key=text(at_most(of_key.where(sa.or_(sa.literal_column("0") == sa.bindparam("failed"), failed)))),
        call=text(sa.select(call.c.body).where(call.c.id == sa.bindparam("id"))),
        decision=text(sa.select(decision.c.body).where(decision.c.key == sa.bindparam("key"))),
        spent=text(spent),
        pruned=text(
            sa.select(*was).where(pruned.c.key != sa.literal_column("''"), pruned.c.day_ms >= sa.bindparam("since"))
        ),
        oldest=text(sa.select(sa.func.min(call.c.at_ms))),
    )
