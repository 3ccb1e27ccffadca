"""Quotas of owners.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
TEXT = sa.Text()


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "quotas",
        Column("tenant", TEXT, primary_key=True),
        Column("owner", TEXT, primary_key=True),
        Column(
            "limits", sa.LargeBinary(), nullable=False, comment="JSON: what counts in place of the defaults."
        ),
        Column("updated_at", MOMENT, nullable=False),
        comment="What admins allow owners.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage",
        Column("tenant", TEXT, primary_key=True),
        Column("owner", TEXT, primary_key=True),
        Column("day", sa.Integer(), primary_key=True, autoincrement=False, comment="Days since 1970, UTC."),
        Column("bytes", sa.BigInteger(), nullable=False),
        comment="How many bytes of events owners' own keys published.",
        sqlite_with_rowid=False,
    )
    op.create_index("usage_by_day", "usage", ["day"])
