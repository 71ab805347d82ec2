"""The ledger, and its sums by scope and time."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COUNTS = (
    "micro_usd",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "requests",
)


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "ledger",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("charged_ms", _BIG, nullable=False),
        sa.Column("micro_usd", _BIG, nullable=False),
        sa.Column("tokens", _BIG, nullable=False),
        sa.Column("requests", _BIG, nullable=False),
        sa.Column("once", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.CheckConstraint(
            "kind = 'reserve' OR kind = 'settle' OR kind = 'release' OR kind = 'adjust'", name="ledger_kind"
        ),
        sa.CheckConstraint("micro_usd >= 0 AND tokens >= 0 AND requests >= 0", name="ledger_amount"),
        sa.CheckConstraint(
            "CASE kind WHEN 'reserve' THEN once = 'reserve' WHEN 'adjust' THEN once LIKE 'adjust _%'"
            " ELSE once = 'end' END",
            name="ledger_once",
        ),
        sa.CheckConstraint("seq > 0", name="ledger_seq"),
        sqlite_strict=True,
    )
    op.create_index("ledger_of_attempt", "ledger", ["attempt", "once"], unique=True)
    op.create_table(
        "spending",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("grain", _BIG, primary_key=True, autoincrement=False),
        sa.Column("start_ms", _BIG, primary_key=True, autoincrement=False),
        sa.Column("entries", _BIG, nullable=False),
        *(sa.Column(f"used_{name}", _BIG, nullable=False) for name in _COUNTS),
        *(sa.Column(f"held_{name}", _BIG, nullable=False) for name in _COUNTS),
        *(
            sa.CheckConstraint(
                " AND ".join(f"{part}_{name} >= 0" for name in _COUNTS if name != "reasoning_tokens"),
                name=f"spending_{part}",
            )
            for part in ("used", "held")
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
