"""The tables, alike in SQLite and PostgreSQL.

There are no foreign keys. Batches are written in one statement that keeps the rows consistent by itself, a
check per row would cost as much as the row, and what is old can be dropped with its partition.

In PostgreSQL events, deliveries and attempts are partitioned by time, see `dispatcher.store.postgres.partitions`.
"""

from __future__ import annotations

from dispatcher.store.schema.deliveries import (
    attempts,
    claims,
    deliveries,
    digest_members,
    digests,
    expansion_candidates,
    expansions,
    memos,
    oauth_tokens,
    target_statuses,
    turns,
)
from dispatcher.store.schema.events import events, grants, identities, jobs, permissions, unclaimed_jobs
from dispatcher.store.schema.metadata import metadata
from dispatcher.store.schema.recipients import mail_consents, mail_counts, mail_unsubscribed
from dispatcher.store.schema.subscriptions import (
    api_keys,
    breakers,
    destinations,
    processes,
    quotas,
    rates,
    subscriptions,
    usage,
)

__all__ = [
    "api_keys",
    "attempts",
    "breakers",
    "claims",
    "deliveries",
    "destinations",
    "digest_members",
    "digests",
    "events",
    "expansion_candidates",
    "expansions",
    "grants",
    "identities",
    "jobs",
    "mail_consents",
    "mail_counts",
    "mail_unsubscribed",
    "memos",
    "metadata",
    "oauth_tokens",
    "permissions",
    "processes",
    "quotas",
    "rates",
    "subscriptions",
    "target_statuses",
    "turns",
    "unclaimed_jobs",
    "usage",
]
