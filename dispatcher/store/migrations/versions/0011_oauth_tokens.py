"""Access tokens that all processes use.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "oauth_tokens",
        Column("key", ID, primary_key=True, comment="A keyed hash of the credentials that a token is for."),
        Column("sealed", sa.LargeBinary(), comment="The token and its times; null until there is one."),
        Column("busy_until", MOMENT, comment="When others may ask for a token, whatever became of it."),
        Column("useful_until", MOMENT, nullable=False, comment="When the row can go."),
        comment="Access tokens of OAuth 2.0: all processes use the same.",
        sqlite_with_rowid=False,
    )
    op.create_index("oauth_tokens_by_end", "oauth_tokens", ["useful_until"])
