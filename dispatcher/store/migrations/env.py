"""What Alembic runs: the versions that are missing, on the connection that `upgrade` gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from dispatcher.store.schema import metadata


def _note(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    context.config.attributes["applied"].append(step.up_revision_id)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    on_version_apply=_note,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
