"""A table for what became of attempts, which learning adds up."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "observation",
        sa.Column("seq", _BIG, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
