"""The first tables.

A migration never changes once it was released, so everything is spelled out here, the transitions too, instead of
being taken from `schema`, which moves on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_STATES = (
    "scheduled", "queued", "assigned", "running", "evaluating", "retry_wait", "needs_human", "succeeded", "failed",
    "expired", "cancelled", "dead_letter",
)  # fmt: skip
_FINAL = ("succeeded", "failed", "expired", "cancelled", "dead_letter")
_LEASED = ("assigned", "running", "evaluating")
_FIRST = ("scheduled", "queued")
_TRANSITIONS = {
    "scheduled": ("queued", "expired", "cancelled"),
    "queued": ("queued", "assigned", "needs_human", "failed", "expired", "cancelled", "dead_letter"),
    "assigned": (
        "queued", "running", "evaluating", "retry_wait", "needs_human", "failed", "cancelled", "dead_letter",
    ),
    "running": ("queued", "evaluating", "retry_wait", "needs_human", "failed", "cancelled", "dead_letter"),
    "evaluating": ("queued", "retry_wait", "needs_human", "succeeded", "failed", "cancelled", "dead_letter"),
    "retry_wait": ("queued", "expired", "cancelled", "dead_letter"),
    "needs_human": ("queued", "failed", "cancelled"),
    "failed": ("queued",),
    "expired": ("queued",),
    "cancelled": ("queued",),
    "dead_letter": ("queued",),
}  # fmt: skip


def upgrade() -> None:
    """Create everything."""
    _create_task()
    _create_side_tables()
    _create_event()
    _create_registries()


def _any_of(states: tuple[str, ...]) -> str:
    return " OR ".join(f"state = '{state}'" for state in states)


def _create_task() -> None:
    arms = [f"WHEN prev_state IS NULL THEN {_any_of(_FIRST)}"]
    arms += [f"WHEN prev_state = '{origin}' THEN {_any_of(targets)}" for origin, targets in _TRANSITIONS.items()]
    op.create_table(
        "task",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("prev_state", sa.Text),
        sa.Column("generation", _BIG, nullable=False),
        sa.Column("priority", _BIG, nullable=False),
        sa.Column("batch", sa.Text),
        sa.Column("session", sa.Text),
        sa.Column("wait_code", sa.Text),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("updated_ms", _BIG, nullable=False),
        sa.Column("finished_ms", _BIG),
        sa.Column("body", sa.Text, nullable=False),
        sa.CheckConstraint(_any_of(_STATES), name="task_state"),
        sa.CheckConstraint(f"CASE {' '.join(arms)} ELSE FALSE END", name="task_transition"),
        sa.CheckConstraint("(state = 'queued') = (wait_code IS NOT NULL)", name="task_wait"),
        sa.CheckConstraint(f"({_any_of(_FINAL)}) = (finished_ms IS NOT NULL)", name="task_finished"),
        sa.CheckConstraint(f"({_any_of(_LEASED)}) = (session IS NOT NULL)", name="task_lease"),
        sqlite_strict=True,
    )
    _partial_index("task_open", "task", ["seq"], "finished_ms IS NULL")
    _partial_index("task_ended", "task", ["state", "seq"], "finished_ms IS NOT NULL")
    _partial_index("task_batch", "task", ["batch", "seq"], "batch IS NOT NULL")


def _create_side_tables() -> None:
    op.create_table(
        "task_spec",
        sa.Column("task_seq", _BIG, sa.ForeignKey("task.seq"), primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    for name, with_rowid in (("attempt", False), ("decision", True), ("output", True)):
        op.create_table(
            name,
            sa.Column("task_seq", _BIG, sa.ForeignKey("task.seq"), primary_key=True, autoincrement=False),
            sa.Column("generation", _BIG, primary_key=True, autoincrement=False),
            sa.Column("body", sa.Text, nullable=False),
            sqlite_strict=True,
            sqlite_with_rowid=with_rowid,
        )
    op.create_table(
        "late_report",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("task_seq", _BIG, sa.ForeignKey("task.seq"), nullable=False),
        sa.Column("generation", _BIG, nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("late_report_of_task", "late_report", ["task_seq"])


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("seq", _BIG, primary_key=True),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("task_seq", _BIG),
        sa.Column("task_id", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    _partial_index("event_of_task", "event", ["task_seq", "seq"], "task_seq IS NOT NULL")
    _partial_index("event_of_task_by_id", "event", ["task_id", "seq"], "task_seq IS NULL AND task_id IS NOT NULL")


def _create_registries() -> None:
    op.create_table(
        "worker_session",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("joined_ms", _BIG, nullable=False),
        sa.Column("renewed_ms", _BIG, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "endpoint",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "token",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sqlite_strict=True,
    )


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
