"""Quotas: what an owner may have is counted in the transaction that adds to it, so that two requests cannot both fit.

Each function is a part of a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import Connection, func, select

from dispatcher.domain.errors import QuotaExceeded
from dispatcher.store import queries

IN_USE = ("active", "paused")


class SubscriptionQuota(Struct, frozen=True):
    """How many subscriptions in use a subscriber may have: `alike` with the same match key."""

    alike: int


def check(connection: Connection, row: Mapping[str, object], quota: SubscriptionQuota | None) -> None:
    """Raise QuotaExceeded when there is no room for a subscription, of which this is the row, beside the others.

    Until the transaction ends no other one of the same subscriber is let in.
    """
    if quota is None or row["status"] not in IN_USE:
        return
    key, subscriber = str(row["match_key"]), str(row["subscriber"])
    _lock(connection, f"quota {row['tenant']} {subscriber}")
    if queries.count_alike(connection, key, subscriber, str(row["id"]), quota.alike) >= quota.alike:
        jobs = "all your jobs" if row["job_id"] is None else f"job {row['job_id']!r}"
        raise QuotaExceeded(
            f"there are {quota.alike} subscriptions for {jobs} already: remove one, or change it"
        )


def _lock(connection: Connection, name: str) -> None:
    """Wait for others who count the same. SQLite has one writer, which needs no lock."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
