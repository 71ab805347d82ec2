"""The tables, once, as SQLAlchemy metadata.

`task` is the hot table: narrow columns that are asked for, and the whole row as JSON in `body`, so that nothing is
lost and a new field of `Task` needs no migration. What is large or seldom read lies in side tables keyed by the
task's sequence number: integers that grow with time keep new rows side by side, where random text ids would touch a
page of their own for each row.

Invariants that the database itself refuses to break (CHECK): only transitions of the domain's table; queued <=> wait;
final <=> finished_ms; leased <=> session. The code checks them before; the constraint is for the day it does not.

Events carry no such constraint: they are observations, and a record of something odd must not be lost for being odd.
An event that came with a command about its task belongs to it by `task_seq`; any other by its `task_id` alone.

Migrations create these tables from text of their own; a test compares the two, so that a change here, or in the
domain's transitions, fails until a migration says how to get there.
"""

import sqlalchemy as sa

from ostler.domain.ledger import EntryKind
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TRANSITIONS, TaskState
from ostler.store.guards import FIRST_STATES
from ostler.store.rows import COUNTS

METADATA = sa.MetaData()

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits everywhere; SQLite's INTEGER has them, and only that word makes a primary key the row id."""

NUMBER: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
"""A strict table of SQLite knows no other word for it."""


def _one_of(column: str, states: frozenset[TaskState]) -> str:
    # A chain of comparisons, not IN: SQLite would build a lookup table for the list at each row it writes.
    return " OR ".join(f"{column} = '{state.value}'" for state in TaskState if state in states)


def transition_check() -> str:
    """`prev_state -> state` as a CHECK, generated from the domain's table.

    The NULL of a first state has an arm of its own: a comparison with NULL is NULL, and a CHECK that is NULL passes.
    """
    arms = [f"WHEN prev_state IS NULL THEN {_one_of('state', FIRST_STATES)}"]
    arms += [
        f"WHEN prev_state = '{origin.value}' THEN {_one_of('state', targets)}"
        for origin, targets in TRANSITIONS.items()
        if targets
    ]
    return "CASE " + " ".join(arms) + " ELSE FALSE END"


task = sa.Table(
    "task",
    METADATA,
    sa.Column("seq", BIG, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("prev_state", sa.Text),
    sa.Column("generation", BIG, nullable=False),
    sa.Column("priority", BIG, nullable=False),
    sa.Column("batch", sa.Text),
    sa.Column("session", sa.Text),
    sa.Column("wait_code", sa.Text),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("updated_ms", BIG, nullable=False),
    sa.Column("finished_ms", BIG),
    sa.Column("body", sa.Text, nullable=False),
    sa.CheckConstraint(_one_of("state", frozenset(TaskState)), name="task_state"),
    sa.CheckConstraint(transition_check(), name="task_transition"),
    sa.CheckConstraint("(state = 'queued') = (wait_code IS NOT NULL)", name="task_wait"),
    sa.CheckConstraint(f"({_one_of('state', FINAL_STATES)}) = (finished_ms IS NOT NULL)", name="task_finished"),
    sa.CheckConstraint(f"({_one_of('state', LEASED_STATES)}) = (session IS NOT NULL)", name="task_lease"),
    sqlite_strict=True,
)
# Partial, and over columns that most transitions leave alone: a transition inside an open life touches no index.
# The conditions are given for SQLite only; the migrations have them for PostgreSQL too, where naming it costs nothing:
# here it would import that dialect, a tenth of a second at each start.
sa.Index("task_open", task.c.seq, sqlite_where=task.c.finished_ms.is_(None))
sa.Index("task_ended", task.c.state, task.c.seq, sqlite_where=task.c.finished_ms.is_not(None))
sa.Index("task_batch", task.c.batch, task.c.seq, sqlite_where=task.c.batch.is_not(None))

task_spec = sa.Table(
    "task_spec",
    METADATA,
    sa.Column("task_seq", BIG, sa.ForeignKey("task.seq"), primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)


def _by_attempt(name: str, *columns: sa.Column[str], rowid: bool) -> sa.Table:
    return sa.Table(
        name,
        METADATA,
        sa.Column("task_seq", BIG, sa.ForeignKey("task.seq"), primary_key=True, autoincrement=False),
        sa.Column("generation", BIG, primary_key=True, autoincrement=False),
        *columns,
        sqlite_strict=True,
        sqlite_with_rowid=rowid,
    )


attempt = _by_attempt("attempt", sa.Column("body", sa.Text, nullable=False), rowid=False)
decision = _by_attempt("decision", sa.Column("body", sa.Text, nullable=False), rowid=True)
output = _by_attempt("output", sa.Column("body", sa.Text, nullable=False), rowid=True)

late_report = sa.Table(
    "late_report",
    METADATA,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("task_seq", BIG, sa.ForeignKey("task.seq"), nullable=False),
    sa.Column("generation", BIG, nullable=False),
    sa.Column("at_ms", BIG, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
)
sa.Index("late_report_of_task", late_report.c.task_seq)

event = sa.Table(
    "event",
    METADATA,
    # AUTOINCREMENT: a number is never given twice, not even after old events were pruned away to the last one.
    sa.Column("seq", BIG, primary_key=True),
    sa.Column("at_ms", BIG, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("task_seq", BIG),
    sa.Column("task_id", sa.Text),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
_BY_ID = sa.and_(event.c.task_seq.is_(None), event.c.task_id.is_not(None))
sa.Index("event_of_task", event.c.task_seq, event.c.seq, sqlite_where=event.c.task_seq.is_not(None))
sa.Index("event_of_task_by_id", event.c.task_id, event.c.seq, sqlite_where=_BY_ID)

event_total = sa.Table(
    "event_total",
    METADATA,
    sa.Column("day_ms", BIG, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("measure", sa.Text, primary_key=True),
    sa.Column("events", BIG, nullable=False),
    sa.Column("total", NUMBER, nullable=False),
    sa.Column("highest", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What events that are no longer kept add up to (`ostler.domain.event_totals`)."""

alert = sa.Table(
    "alert",
    METADATA,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

worker_session = sa.Table(
    "worker_session",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("joined_ms", BIG, nullable=False),
    sa.Column("renewed_ms", BIG, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

endpoint = sa.Table(
    "endpoint",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

measurement = sa.Table(
    "measurement",
    METADATA,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("context_tokens", BIG, primary_key=True, autoincrement=False),
    sa.Column("quantity", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

allowance = sa.Table(
    "allowance",
    METADATA,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What providers last reported of the windows of their subscriptions."""

plan = sa.Table(
    "plan",
    METADATA,
    sa.Column("batch", sa.Text, primary_key=True),
    sa.Column("version", BIG, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

loop = sa.Table(
    "loop",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", BIG, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

observation = sa.Table(
    "observation",
    METADATA,
    # The order in which they came: what learning adds up fades in it.
    sa.Column("seq", BIG, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("task_type", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

token = sa.Table(
    "token",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token_hash", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sqlite_strict=True,
)

writer = sa.Table(
    "writer",
    METADATA,
    sa.Column("id", BIG, primary_key=True, autoincrement=False),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("until_ms", BIG, nullable=False),
    sa.Column("flush", BIG, nullable=False),
    sa.Column("last_event_seq", BIG, nullable=False),
    sa.CheckConstraint("id = 1", name="writer_one"),
    sqlite_strict=True,
)
"""One row: who may write until when, and what it wrote last. Of use where several hubs share a database; a file has a
lock instead."""

hub = sa.Table(
    "hub",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("seen_ms", BIG, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

gateway_key = sa.Table(
    "gateway_key",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key_hash", sa.Text, nullable=False, unique=True),
    sa.Column("revoked_ms", BIG),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

call = sa.Table(
    "call",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at_ms", BIG, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("asked_model", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("cost_micro_usd", BIG),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)
# What lists filter by is in it, so that a filter which few calls pass does not read all the bodies on its way.
sa.Index("call_at", call.c.at_ms, call.c.id, call.c.model, call.c.asked_model, call.c.endpoint)
# With the cost in it, what a key has spent is answered by the index alone, however long the bodies are.
sa.Index(
    "call_of_key",
    call.c.key,
    call.c.at_ms,
    call.c.id,
    call.c.cost_micro_usd,
    sqlite_where=call.c.key != sa.literal_column("''"),
)
sa.Index("call_failed", call.c.at_ms, call.c.id, sqlite_where=call.c.failure.is_not(None))

call_decision = sa.Table(
    "call_decision",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("used_ms", BIG, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_strict=True,
)

pruned_use = sa.Table(
    "pruned_use",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("day_ms", BIG, primary_key=True, autoincrement=False),
    sa.Column("calls", BIG, nullable=False),
    sa.Column("micro_usd", BIG, nullable=False),
    sa.Column("last_ms", BIG, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What calls that are no longer kept have cost, by key and day: a limit outlives the records of the calls."""

ledger = sa.Table(
    "ledger",
    METADATA,
    # Numbered by the writer without a gap: a number that is missing is an entry that somebody took away.
    sa.Column("seq", BIG, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at_ms", BIG, nullable=False),
    sa.Column("charged_ms", BIG, nullable=False),
    sa.Column("micro_usd", BIG, nullable=False),
    sa.Column("tokens", BIG, nullable=False),
    sa.Column("requests", BIG, nullable=False),
    sa.Column("once", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.CheckConstraint(" OR ".join(f"kind = '{kind.value}'" for kind in EntryKind), name="ledger_kind"),
    sa.CheckConstraint("micro_usd >= 0 AND tokens >= 0 AND requests >= 0", name="ledger_amount"),
    sa.CheckConstraint(
        "CASE kind WHEN 'reserve' THEN once = 'reserve' WHEN 'adjust' THEN once LIKE 'adjust _%' ELSE once = 'end' END",
        name="ledger_once",
    ),
    sa.CheckConstraint("seq > 0", name="ledger_seq"),
    sqlite_strict=True,
)
# What makes a charge happen once is the database's own rule: one reservation, one end, one adjustment of a name. There
# is no other index: each costs a page more in every commit.
sa.Index("ledger_of_attempt", ledger.c.attempt, ledger.c.once, unique=True)

spending = sa.Table(
    "spending",
    METADATA,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("grain", BIG, primary_key=True, autoincrement=False),
    sa.Column("start_ms", BIG, primary_key=True, autoincrement=False),
    sa.Column("entries", BIG, nullable=False),
    *(
        # What came later has a default, for rows of code from before it.
        sa.Column(f"{part}_{name}", BIG, nullable=False, server_default="0" if name == "covered_micro_usd" else None)
        for part in ("used", "held")
        for name in COUNTS
    ),
    *(
        sa.CheckConstraint(
            # Reasoning is a part of the output, and no limit counts it.
            " AND ".join(f"{part}_{name} >= 0" for name in COUNTS if name != "reasoning_tokens"),
            name=f"spending_{part}",
        )
        for part in ("used", "held")
    ),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Sums of the ledger by scope and time (`ostler.budget.buckets`): limits are checked on them."""
