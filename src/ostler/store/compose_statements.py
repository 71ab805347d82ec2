"""The statements of a flush, written in Core from the tables of `schema`: where the texts of `texts` come from.

Run when those are made anew and when they are tested, never by a hub.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from ostler.store import schema
from ostler.store.rows import COUNTS
from ostler.store.statements import IN_SIZES, OPEN_CHANGES, GatewayStatements, LedgerStatements, Statements

Limited = TypeVar("Limited", bound=sa.GenerativeSelect)


class Upsert(Protocol):
    """The engine's own `insert` construct with `on_conflict_do_update`: both engines spell it alike, Core does not."""

    def __call__(self, table: sa.Table) -> Any:  # noqa: ANN401 - two classes without a common base
        """Begin a statement."""
        ...


def compile_statements(dialect: Dialect, upsert: Upsert) -> Statements:
    """Every statement for one engine. The dialect must bind parameters by position."""

    def text(statement: sa.ClauseElement) -> str:
        return str(statement.compile(dialect=dialect))

    task, spec, event, token = schema.task, schema.task_spec, schema.event, schema.token
    rest = tuple(column.name for column in task.columns if column.name not in {"seq", "id"})
    known = sa.select(task.c.id, task.c.seq, task.c.state, task.c.generation, task.c.batch)
    specs = sa.select(task.c.id, spec.c.body).join(spec, spec.c.task_seq == task.c.seq)
    return Statements(
        insert_task=text(sa.insert(task)),
        insert_spec=text(sa.insert(spec)),
        change=_change(dialect, rest),
        change_open=_change(dialect, (*OPEN_CHANGES, "body")),
        put_attempt=_upsert(dialect, upsert, schema.attempt),
        put_decision=_upsert(dialect, upsert, schema.decision),
        put_output=_upsert(dialect, upsert, schema.output),
        insert_late_report=_insert(dialect, schema.late_report, ("task_seq", "generation", "at_ms", "body")),
        insert_event=text(sa.insert(event)),
        put_session=_upsert(dialect, upsert, schema.worker_session),
        put_endpoint=_upsert(dialect, upsert, schema.endpoint),
        put_measurement=_upsert(dialect, upsert, schema.measurement),
        put_allowance=_upsert(dialect, upsert, schema.allowance),
        put_plan=_upsert(dialect, upsert, schema.plan),
        put_loop=_upsert(dialect, upsert, schema.loop),
        insert_observation=_insert_observation(dialect, upsert),
        forget_observations=text(sa.delete(schema.observation).where(*observations_named())),
        drop_observation=_delete(dialect, schema.observation.c.id),
        put_alert=_upsert(dialect, upsert, schema.alert),
        **_pruning_of_tasks(text),
        old_events=text(_old_events()),
        drop_event=text(sa.delete(event).where(event.c.seq == sa.bindparam("key"))),
        add_total=_add_total(dialect, upsert),
        insert_token=text(sa.insert(token)),
        drop_session=_delete(dialect, schema.worker_session.c.id),
        drop_endpoint=_delete(dialect, schema.endpoint.c.name),
        drop_token=_delete(dialect, token.c.name),
        drop_loop=_delete(dialect, schema.loop.c.name),
        tasks_by_id=lookups(dialect, known, task.c.id),
        specs_by_id=lookups(dialect, specs, task.c.id),
        seqs_taken=lookups(dialect, sa.select(task.c.seq), task.c.seq),
        task_by_seq=text(sa.select(task.c.body).where(task.c.seq == sa.bindparam("seq"))),
        all_tokens=text(sa.select(token)),
        all_endpoint_names=text(sa.select(schema.endpoint.c.name)),
        loop_versions=text(sa.select(schema.loop.c.name, schema.loop.c.version)),
        last_task_seq=text(sa.select(sa.func.max(task.c.seq))),
        gateway=_gateway_statements(dialect, upsert),
        ledger=_ledger_statements(dialect, upsert),
    )


def _ledger_statements(dialect: Dialect, upsert: Upsert) -> LedgerStatements:
    def text(statement: sa.ClauseElement) -> str:
        return str(statement.compile(dialect=dialect))

    entry, spending = schema.ledger, schema.spending
    counts = [column for column in spending.columns if not column.primary_key]
    added = {column.name: column + sa.bindparam(f"new_{column.name}") for column in counts}
    key = [column == sa.bindparam(f"at_{column.name}") for column in spending.primary_key]
    return LedgerStatements(
        by_attempt=lookups(dialect, sa.select(entry.c.seq, entry.c.body), entry.c.attempt),
        sums=text(spending_sums()),
        insert_entry=text(sa.insert(entry)),
        insert_sum=text(upsert(spending).on_conflict_do_nothing(index_elements=list(spending.primary_key))),
        add_sum=text(sa.update(spending).values(added).where(*key)),
    )


def spending_sums() -> sa.Select[*tuple[Any, ...]]:
    """Totals of used and held counts; parameters: scope, value, grain, from an instant, before another."""
    table = schema.spending
    counts = [table.c[f"{part}_{name}"] for part in ("used", "held") for name in COUNTS]
    return (
        sa.select(*(sa.func.sum(column) for column in counts))
        .where(
            table.c.scope == sa.bindparam("scope"),
            table.c.value == sa.bindparam("value"),
            table.c.grain == sa.bindparam("grain"),
            table.c.start_ms >= sa.bindparam("low"),
            table.c.start_ms < sa.bindparam("high"),
        )
        .having(sa.func.count() > sa.literal_column("0"))
    )


def _gateway_statements(dialect: Dialect, upsert: Upsert) -> GatewayStatements:
    def text(statement: sa.ClauseElement) -> str:
        return str(statement.compile(dialect=dialect))

    key, call, decision, pruned = schema.gateway_key, schema.call, schema.call_decision, schema.pruned_use
    oldest = sa.select(call.c.id, call.c.key, call.c.at_ms, call.c.cost_micro_usd).order_by(call.c.at_ms, call.c.id)
    used = upsert(decision)
    add = upsert(pruned)
    new = add.excluded
    sums = {
        "calls": pruned.c.calls + new.calls,
        "micro_usd": pruned.c.micro_usd + new.micro_usd,
        "last_ms": sa.case((new.last_ms > pruned.c.last_ms, new.last_ms), else_=pruned.c.last_ms),
    }
    return GatewayStatements(
        all_keys=text(sa.select(key.c.name, key.c.body)),
        put_key=_upsert(dialect, upsert, key),
        insert_call=text(upsert(call).on_conflict_do_nothing(index_elements=list(call.primary_key))),
        put_call_decision=text(
            used.on_conflict_do_update(
                index_elements=list(decision.primary_key), set_={"used_ms": used.excluded.used_ms}
            )
        ),
        oldest_calls=text(at_most(oldest.where(call.c.at_ms < sa.bindparam("before")))),
        drop_call=_delete(dialect, call.c.id),
        add_pruned=text(add.on_conflict_do_update(index_elements=list(pruned.primary_key), set_=sums)),
        drop_call_decisions=text(sa.delete(decision).where(decision.c.used_ms < sa.bindparam("before"))),
    )


def _insert(dialect: Dialect, table: sa.Table, columns: tuple[str, ...]) -> str:
    return str(sa.insert(table).compile(dialect=dialect, column_keys=list(columns)))


def _pruning_of_tasks(text: Callable[[sa.ClauseElement], str]) -> dict[str, Any]:
    task, plan = schema.task, schema.plan
    last = sa.select(sa.func.max(task.c.seq)).scalar_subquery()
    old = sa.select(task.c.seq, task.c.id, task.c.batch).where(
        task.c.seq > sa.bindparam("above"),
        task.c.seq <= sa.bindparam("up_to"),
        task.c.finished_ms < sa.bindparam("before"),
        task.c.seq < last,
    )
    of_batch = sa.select(task.c.seq).where(task.c.batch == sa.bindparam("batch"), task.c.batch.is_not(None))
    going_on = sa.or_(task.c.finished_ms.is_(None), task.c.finished_ms >= sa.bindparam("before"))
    parts = (schema.late_report, schema.output, schema.decision, schema.attempt, schema.task_spec)
    # Both written out: for either alone, SQLite's dialect would add a parameter.
    one, none = (sa.literal_column(text, sa.Integer) for text in ("1", "0"))
    return {
        "old_tasks": text(old.order_by(task.c.seq)),
        "batch_goes_on": text(of_batch.where(going_on).limit(one).offset(none)),
        "batch_is_there": text(of_batch.limit(one).offset(none)),
        "drop_tasks": (
            *(text(sa.delete(part).where(part.c.task_seq == sa.bindparam("key"))) for part in parts),
            text(sa.delete(task).where(task.c.seq == sa.bindparam("key"))),
        ),
        "drop_plans": text(sa.delete(plan).where(plan.c.batch == sa.bindparam("key"))),
    }


def _old_events() -> sa.Select[*tuple[Any, ...]]:
    event, task = schema.event, schema.task
    of_old_task = sa.or_(task.c.id.is_(None), task.c.finished_ms < sa.bindparam("ended_before"))
    return (
        sa.select(event.c.seq, event.c.at_ms, event.c.name, event.c.task_id, event.c.body)
        .join_from(event, task, task.c.id == event.c.task_id, isouter=True)
        .where(
            event.c.seq > sa.bindparam("above"),
            event.c.seq <= sa.bindparam("up_to"),
            event.c.at_ms < sa.bindparam("before"),
            of_old_task,
        )
        .order_by(event.c.seq)
    )


def _add_total(dialect: Dialect, upsert: Upsert) -> str:
    table = schema.event_total
    add = upsert(table)
    new = add.excluded
    sums = {
        "events": table.c.events + new.events,
        "total": table.c.total + new.total,
        "highest": sa.case((new.highest > table.c.highest, new.highest), else_=table.c.highest),
    }
    statement = add.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)
    return str(statement.compile(dialect=dialect))


def _insert_observation(dialect: Dialect, upsert: Upsert) -> str:
    statement = upsert(schema.observation).on_conflict_do_nothing(index_elements=["id"])
    return str(statement.compile(dialect=dialect, column_keys=["id", "task_type", "model", "tier", "body"]))


def observations_named() -> list[sa.ColumnElement[bool]]:
    """Conditions of a query of observations; each value is bound twice, see `rows.observation_query`."""
    table = schema.observation
    return [
        sa.or_(sa.bindparam(f"any_{column.name}", type_=sa.Text) == "", column == sa.bindparam(f"of_{column.name}"))
        for column in (table.c.task_type, table.c.model, table.c.tier)
    ]


def _delete(dialect: Dialect, key: sa.Column[str]) -> str:
    return str(sa.delete(key.table).where(key == sa.bindparam("key")).compile(dialect=dialect))


def _change(dialect: Dialect, columns: tuple[str, ...]) -> str:
    # The guard repeats what the flush has just read in the same transaction. It can only fail to match when somebody
    # else writes to the file; then the row count tells, and the flush is rolled back instead of losing a write.
    task = schema.task
    guard = (
        task.c.seq == sa.bindparam("at_seq"),
        task.c.state == sa.bindparam("from_state"),
        task.c.generation == sa.bindparam("from_generation"),
    )
    statement = sa.update(task).values({name: sa.bindparam(f"new_{name}") for name in columns}).where(*guard)
    compiled = statement.compile(dialect=dialect)
    expected = [*(f"new_{name}" for name in columns), "at_seq", "from_state", "from_generation"]
    if getattr(compiled, "positiontup", None) != expected:
        msg = f"the parameters of an update are not in the order of `rows`: {getattr(compiled, 'positiontup', None)}"
        raise AssertionError(msg)
    return str(compiled)


def _upsert(dialect: Dialect, upsert: Upsert, table: sa.Table) -> str:
    """Insert, or replace all that is not the key."""
    statement = upsert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return str(statement.compile(dialect=dialect))


def lookups(dialect: Dialect, query: sa.Select[*tuple[Any, ...]], key: sa.Column[Any]) -> tuple[str, ...]:
    """Texts of a query by a list of values, one for each of `IN_SIZES`."""
    return tuple(
        str(query.where(key.in_([sa.bindparam(f"value_{n}") for n in range(size)])).compile(dialect=dialect))
        for size in IN_SIZES
    )


def at_most(query: Limited) -> Limited:
    """The query with a parameter more, the last one: how many rows to give."""
    # The offset is written out: for a limit alone, SQLite's dialect would add a parameter of its own for it.
    return query.limit(sa.bindparam("at_most")).offset(sa.literal_column("0", sa.Integer))
