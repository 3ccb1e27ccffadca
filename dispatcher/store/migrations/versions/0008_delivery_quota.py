"""When a delivery that waits for its turn may go at the earliest.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "turns",
        Column("not_before", MOMENT, comment="When it may go at the earliest, for the quota of its owner."),
    )
