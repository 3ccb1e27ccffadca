"""Memos: what a target kind noted for the next attempt of a delivery. They are few."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, insert, select

from dispatcher.store.lists import chunks
from dispatcher.store.schema import memos


def note(connection: Connection, noted: Mapping[str, str]) -> None:
    """Keep these memos, by delivery, in place of those before."""
    forget(connection, noted)
    connection.execute(insert(memos), [{"delivery_id": key, "memo": memo} for key, memo in noted.items()])


def forget(connection: Connection, delivery_ids: Collection[str]) -> None:
    """Drop the memos of these deliveries."""
    for some in chunks(list(delivery_ids)):
        connection.execute(delete(memos).where(memos.c.delivery_id.in_(some)))


def of(connection: Connection, delivery_ids: Collection[str]) -> dict[str, str]:
    """The memos of these deliveries."""
    found: dict[str, str] = {}
    for some in chunks(list(delivery_ids)):
        found |= dict(
            connection.execute(
                select(memos.c.delivery_id, memos.c.memo).where(memos.c.delivery_id.in_(some))
            ).all()
        )
    return found
