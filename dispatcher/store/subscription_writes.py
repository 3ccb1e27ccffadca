"""Writes of subscriptions, and what follows for their deliveries. Each function is a part of one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import is_id
from dispatcher.domain.quotas import Caps
from dispatcher.domain.subscriptions import Subscription, SubscriptionStatus
from dispatcher.store import destinations, digests, held, ordering
from dispatcher.store.delivery_writes import end_waiting, redirect_waiting
from dispatcher.store.lists import is_there, unindexed
from dispatcher.store.mapping import safe
from dispatcher.store.quotas import IN_USE, check_caps
from dispatcher.store.schema import subscriptions

REMOVED = "the subscription was removed"


def add(connection: Connection, row: Mapping[str, object], caps: Caps | None) -> None:
    """Store a new one. Raises Conflict or QuotaExceeded when there are as many as `caps` allow."""
    if caps is not None:
        check_caps(connection, row, str(row["id"]), caps)
    connection.execute(insert(subscriptions).values(row))
    destinations.enter(connection, str(row["destination"]))


def save(
    connection: Connection,
    row: Mapping[str, object],
    changed: Subscription,
    caps: Caps | None = None,
    deliveries_per_minute: int = 0,
) -> int:
    """Store a changed one over the revision before it; how many held ones became due, see `held.release`.

    Raises Conflict, and TooManyAlike or QuotaExceeded when it takes room that it did not take before.
    """
    table, subscription_id = subscriptions.c, changed.id
    this = (table.id == subscription_id, table.revision == changed.revision - 1, is_there())
    # The lock waits for those who are storing held deliveries: so these are seen below.
    columns = (table.destination, table.match_key, table.status)
    before = connection.execute(select(*columns).where(*this).with_for_update()).one_or_none()
    if before is None:
        raise Conflict(
            f"{subscription_id} was changed or removed by somebody else meanwhile; read it again and repeat"
        )
    moved = before.match_key != row["match_key"] or before.destination != row["destination"]
    if caps is not None and (moved or before.status not in IN_USE):
        check_caps(connection, row, subscription_id, caps.for_change())
    connection.execute(update(subscriptions).values(row).where(*this))
    if row["destination"] != before.destination:
        redirect_waiting(connection, subscription_id, str(row["destination"]))
        destinations.enter(connection, str(row["destination"]))
    if not changed.ordered:
        ordering.clear(connection, subscription_id)
    gathered = digests.disband(connection, subscription_id) if changed.digest is None else 0
    if changed.status != "active":
        return 0
    # What was held while it was active waited for its turn, and was counted before.
    owner = changed.counted_for if gathered or before.status != "active" else None
    return held.release(connection, subscription_id, owner, deliveries_per_minute, utc_now())


def end(
    connection: Connection, subscription_id: str, status: SubscriptionStatus, state: State, reason: str
) -> int:
    """Disable or complete one that is in use, and end what waits of it, see `end_waiting`."""
    table, now = subscriptions.c, utc_now()
    ended = update(subscriptions).values(
        status=status, status_reason=safe(reason), revision=table.revision + 1, updated_at=now
    )
    in_use = (table.id == subscription_id, table.status.in_(IN_USE), is_there())
    connection.execute(ended.where(*in_use))
    return end_waiting(connection, subscription_id, state, reason, now)


def remove(connection: Connection, tenant: str, subscription_id: str) -> int | None:
    """Remove one with its secrets and cancel what waits of it, see `end_waiting`; None when there is none."""
    if not is_id("sub", subscription_id):
        return None
    table, now = subscriptions.c, utc_now()
    this = (table.id == subscription_id, unindexed(table.tenant) == tenant, is_there())
    removed = (
        update(subscriptions).values(removed_at=now, sealed=b"", revision=table.revision + 1).where(*this)
    )
    if connection.execute(removed).rowcount != 1:
        return None
    return end_waiting(connection, subscription_id, State.CANCELLED, REMOVED, now)
