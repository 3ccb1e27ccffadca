"""When the last event of a series was published, so that series which are over can go.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    """Add the column."""
    comment = "When the last one was; null when version 0.1.0 counted it."
    op.add_column("tapis_series", Column("updated_at", MOMENT, comment=comment))
