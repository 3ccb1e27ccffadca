"""Indexes for what failed, and for breakers that are open, late, closed or alone.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


INDEXES = (
    ("breakers_open", "breakers", ["key"], "open_until is not null"),
    ("breakers_late", "breakers", ["open_until"], "open_until is not null"),
    ("breakers_closed", "breakers", ["changed_at"], "open_until is null"),
    ("breakers_alone", "breakers", ["destination"], "alone and open_until is not null"),
    ("deliveries_failed_of", "deliveries", ["tenant", "subscriber", "listed_as", "id"], "listed_as > 2"),
    ("deliveries_failed_to", "deliveries", ["tenant", "destination", "listed_as", "id"], "listed_as > 2"),
)


def upgrade() -> None:
    """Add them."""
    for name, table, columns, where in INDEXES:
        condition = sa.text(where)
        op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
