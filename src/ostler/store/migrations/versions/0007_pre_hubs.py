"""Who may write, and which hubs there are: for several hubs on one database."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables; the one row of `writer` begins with nobody."""
    op.create_table(
        "writer",
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("until_ms", _BIG, nullable=False),
        sa.Column("flush", _BIG, nullable=False),
        sa.Column("last_event_seq", _BIG, nullable=False),
        sa.CheckConstraint("id = 1", name="writer_one"),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO writer VALUES (1, 0, '', '', 0, 0, 0)")
    op.create_table(
        "hub",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("seen_ms", _BIG, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
