"""The latest status that a target with state was sent.

Revision ID: 0007
"""

from __future__ import annotations

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the schema has beyond the last revision."""
