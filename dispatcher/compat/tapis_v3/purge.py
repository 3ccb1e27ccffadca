"""What goes of the tables of Tapis v3 when it was kept for long enough."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, exists, update

from dispatcher.compat.tapis_v3.tables import tapis_notifications, tapis_series, tapis_subscriptions
from dispatcher.domain.retention import DAY, Keep
from dispatcher.store import retention
from dispatcher.store.purge import Key, Trim, next_chunk, trim
from dispatcher.store.retention import Swept
from dispatcher.store.session import Run

LOWEST = "sub_" + "0" * 32
"""The lowest id of a subscription."""


async def carry_out(keep: Keep, now: datetime, run: Run) -> dict[str, int]:
    """Purge notifications and series, in many transactions. How many rows of each."""
    noted = of_tests(now)
    series = (trim_series, now - keep.delivered, now)
    return {
        tapis_notifications.name: await retention.carry_out(run, trim, noted, low=noted.low),
        tapis_series.name: await retention.carry_out(run, *series, low=("", "", "", "")),
    }


def of_tests(now: datetime) -> Trim:
    """What goes of notifications: those whose test sequence is gone."""
    of_test = exists().where(tapis_subscriptions.c.id == tapis_notifications.c.subscription_id)
    old = tapis_notifications.c.received_at < now - DAY
    return Trim(tapis_notifications, and_(old, ~of_test), (LOWEST, ""))


def trim_series(connection: Connection, before: datetime, now: datetime, low: Key) -> Swept:
    """Delete those of the next series from `low` on in which nothing was published since a time.

    Those that a version without their age has counted begin to age.
    """
    these, following = next_chunk(connection, tapis_series, low)
    at = tapis_series.c.updated_at
    connection.execute(update(tapis_series).where(*these, at.is_(None)).values(updated_at=now))
    return Swept(connection.execute(delete(tapis_series).where(*these, at < before)).rowcount, following)
