"""What test sequences of Tapis v3 got. Each function is a part of a transaction."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from dispatcher.compat.tapis_v3.tables import tapis_notifications
from dispatcher.domain.events import utc_now
from dispatcher.store.dialect import insert

MAX_RECORDED = 200
"""Notifications that are kept for one test sequence."""


def record(connection: Connection, key: str, uuid: str, document: bytes) -> bool:
    """Keep a notification, once. False when there are MAX_RECORDED."""
    of_this = tapis_notifications.c.subscription_id == key
    count = connection.execute(select(func.count()).where(of_this)).scalar_one()
    if count >= MAX_RECORDED:
        return False
    row = {"subscription_id": key, "uuid": uuid, "received_at": utc_now(), "document": document}
    connection.execute(insert(connection, tapis_notifications).values(row).on_conflict_do_nothing())
    return True


def recorded(connection: Connection, key: str) -> list[bytes]:
    """The notifications of a test sequence, the first one first."""
    table = tapis_notifications.c
    statement = (
        select(table.document).where(table.subscription_id == key).order_by(table.received_at, table.uuid)
    )
    return list(connection.execute(statement.limit(MAX_RECORDED)).scalars())
