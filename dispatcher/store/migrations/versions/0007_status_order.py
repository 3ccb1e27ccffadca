"""The latest status that a target with state was sent.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "target_statuses",
        Column("key", ID, primary_key=True, comment="Of what keeps the state, such as a portal's job."),
        Column("delivered", ID, comment="The latest event that arrived there."),
        Column("busy_delivery", ID, comment="The delivery that is on its way there."),
        Column("busy_until", MOMENT, comment="When others may go, whatever became of it."),
        Column("updated_at", MOMENT, nullable=False),
        comment="What targets that keep state were sent last: an earlier status never follows a later one.",
        sqlite_with_rowid=False,
    )
    op.create_index("target_statuses_by_age", "target_statuses", ["updated_at"])
