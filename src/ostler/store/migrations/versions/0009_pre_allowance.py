"""What subscriptions covered, beside the sums of money; and what providers report of their windows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BEFORE = (
    "micro_usd",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "requests",
)
_NEW = "covered_micro_usd"
_COUNTS = (*_BEFORE, _NEW)
_KEY = ("scope", "value", "grain", "start_ms", "entries")


def _count(name: str) -> sa.Column[int]:
    """Code of before goes on writing rows without the new ones."""
    return sa.Column(name, _BIG, nullable=False, server_default="0" if name.endswith(_NEW) else None)


def upgrade() -> None:
    """Add the table, and make the one of sums anew: a rule about a new column cannot be added to an old one."""
    op.create_table(
        "allowance",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute("CREATE TABLE spending_before AS SELECT * FROM spending")
    op.drop_table("spending")
    op.create_table(
        "spending",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("grain", _BIG, primary_key=True, autoincrement=False),
        sa.Column("start_ms", _BIG, primary_key=True, autoincrement=False),
        sa.Column("entries", _BIG, nullable=False),
        *(_count(f"used_{name}") for name in _COUNTS),
        *(_count(f"held_{name}") for name in _COUNTS),
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
    kept = ", ".join((*_KEY, *(f"{part}_{name}" for part in ("used", "held") for name in _BEFORE)))
    new = "used_covered_micro_usd, held_covered_micro_usd"
    op.execute(f"INSERT INTO spending ({kept}, {new}) SELECT {kept}, 0, 0 FROM spending_before")  # noqa: S608 - our own names
    op.drop_table("spending_before")
