"""What goes of the tables of Tapis v3 when it was kept for long enough."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, select, tuple_, update

from dispatcher.compat.tapis_v3.tables import tapis_notifications, tapis_series, tapis_subscriptions
from dispatcher.domain.retention import DAY, Keep
from dispatcher.store.purge import Trim
from dispatcher.store.retention import CHUNK


def trims(keep: Keep, now: datetime) -> list[Trim]:
    """What goes of notifications whose test sequence is gone, and of series in which nothing was published."""
    of_test = exists().where(tapis_subscriptions.c.id == tapis_notifications.c.subscription_id)
    return [
        Trim(tapis_notifications, and_(tapis_notifications.c.received_at < now - DAY, ~of_test)),
        Trim(tapis_series, tapis_series.c.updated_at < now - keep.delivered),
    ]


def begin_ages(connection: Connection, now: datetime) -> None:
    """Let some series that a version without their age has counted begin to age."""
    table = tapis_series.c
    key: ColumnElement[Any] = tuple_(*tapis_series.primary_key)
    some = select(*tapis_series.primary_key).where(table.updated_at.is_(None)).limit(CHUNK)
    connection.execute(update(tapis_series).where(key.in_(some)).values(updated_at=now))
