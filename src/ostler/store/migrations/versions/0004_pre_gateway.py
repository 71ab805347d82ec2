"""Tables for the keys of the gateway, its calls, their decisions, and what pruned calls have cost."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "gateway_key",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("revoked_ms", _BIG),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "call",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("asked_model", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("cost_micro_usd", _BIG),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("call_at", "call", ["at_ms", "id", "model", "asked_model", "endpoint"])
    _partial_index("call_of_key", "call", ["key", "at_ms", "id", "cost_micro_usd"], "\"key\" != ''")
    _partial_index("call_failed", "call", ["at_ms", "id"], "failure IS NOT NULL")
    op.create_table(
        "call_decision",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("used_ms", _BIG, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "pruned_use",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("day_ms", _BIG, primary_key=True, autoincrement=False),
        sa.Column("calls", _BIG, nullable=False),
        sa.Column("micro_usd", _BIG, nullable=False),
        sa.Column("last_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
