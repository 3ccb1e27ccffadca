"""Orders to make further deliveries of an event.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    """Add what the schema has beyond the last revision."""
    op.create_table(
        "expansions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("queue", ID, nullable=False),
        sa.Column("event_key", ID, nullable=False),
        sa.Column("candidates", ID, nullable=False),
        sa.Column("claimed_until", MOMENT, comment="Until when a process is about to carry it out."),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("wanted", sa.LargeBinary(), nullable=False, comment="Which of the candidates: a bitmap."),
        comment="Orders to make further deliveries of an event, one for up to 500 subscriptions.",
        sqlite_autoincrement=True,
    )
    op.create_index("expansions_of_queue", "expansions", ["queue", "seq"])
    op.create_index("expansions_of_job", "expansions", ["tenant", "job_id"])
    op.create_index("expansions_of_event", "expansions", ["event_key"])
    op.create_index("expansions_of_candidates", "expansions", ["candidates"])
    op.create_table(
        "expansion_candidates",
        sa.Column("id", ID, primary_key=True),
        sa.Column("subscriptions", sa.LargeBinary(), nullable=False, comment="Their ids, 16 bytes each."),
        comment="Subscriptions that orders name, listed once for all orders of a batch.",
        sqlite_with_rowid=False,
    )
