"""Turns and failures of subscriptions within a destination.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")

# Processes of an earlier version beside this one change destinations without saying when.
CHANGED = """
create function destination_changed() returns trigger language plpgsql as
$$ begin new.changed_at := clock_timestamp(); return new; end $$;
create trigger destination_changed before insert or update on destinations
for each row execute function destination_changed();
"""


def upgrade() -> None:
    """Add breakers within destinations, and what finds turns and changes."""
    op.create_table(
        "breakers",
        Column(
            "key", sa.Text, primary_key=True, comment="A subscription's id, or an owner and a destination."
        ),
        Column("open_until", MOMENT, comment="Null while it is closed."),
        Column("opened_at", MOMENT),
        Column("changed_at", MOMENT, nullable=False),
        Column("openings", sa.Integer, nullable=False),
        Column("asked", sa.Boolean, nullable=False),
        Column("alone", sa.Boolean, nullable=False, comment="Nothing else arrives at the destination."),
        Column("destination", sa.Text, nullable=False),
        Column("reason", sa.Text),
        comment="Breakers of subscriptions and owners within a destination.",
        sqlite_with_rowid=False,
    )
    op.create_index("breakers_by_change", "breakers", ["changed_at"])
    op.create_index("breakers_of_destination", "breakers", ["destination"])
    op.add_column(
        "destinations",
        Column(
            "asked",
            sa.Boolean,
            comment="Whether receivers asked to wait; then no answer in between closes it.",
        ),
    )
    op.add_column("destinations", Column("changed_at", MOMENT, comment="When one of the above changed last."))
    op.create_index("destinations_by_change", "destinations", ["changed_at"])
    op.create_index(
        "deliveries_queued",
        "deliveries",
        ["destination", "subscription_id"],
        postgresql_where=sa.text("due_at is not null"),
        sqlite_where=sa.text("due_at is not null"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for statement in CHANGED.strip().split(";\n"):
            op.execute(statement)
