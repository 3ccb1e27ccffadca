"""Tables that have no index for what is over in them: they are gone through by their key, some rows in each round."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from dispatcher.domain.deliveries import State
from dispatcher.domain.ids import lowest_id
from dispatcher.store.dialect import clock
from dispatcher.store.lists import chunks, is_there
from dispatcher.store.rate_limits import PAID
from dispatcher.store.schema import deliveries, mail_unsubscribed, memos, rates, subscriptions
from dispatcher.store.session import Repository, Session

AT_ONCE = 10_000
"""Rows of a table that one round looks at."""

NO_DELIVERY, NO_SUBSCRIPTION = lowest_id("dlv", 0), lowest_id("sub", 0)
"""Below all others."""

_WAITS = (State.PENDING, State.DELIVERING, State.EXHAUSTED, State.CANCELLED)
"""The states of deliveries whose memo is still of use."""


class Orphans(Repository):
    """Rounds through these tables; each goes on where the last one ended."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._rates, self._memos, self._unsubscribed = "", NO_DELIVERY, NO_SUBSCRIPTION

    async def purge(self) -> None:
        """Delete some of what is over: one round."""
        self._rates = await self._write(forget_rates, self._rates)
        self._memos = await self._write(forget_memos, self._memos)
        self._unsubscribed = await self._write(forget_unsubscribed, self._unsubscribed)


def forget_rates(connection: Connection, after: str) -> str:
    """Forget the state of rate limits that owe nothing: a new one starts the same. Where to go on."""
    some = (
        select(rates.c.key, rates.c.full_at).where(rates.c.key > after).order_by(rates.c.key).limit(AT_ONCE)
    )
    found = connection.execute(some).all()
    before = clock(connection).timestamp() - PAID
    for keys in chunks([key for key, full_at in found if full_at < before]):
        connection.execute(delete(rates).where(rates.c.key.in_(keys), rates.c.full_at < before))
    return found[-1][0] if len(found) == AT_ONCE else ""


def forget_memos(connection: Connection, after: str) -> str:
    """Drop the memos of deliveries that arrived, or that are there no more. Where to go on."""
    key = memos.c.delivery_id
    ids = list(connection.execute(select(key).where(key > after).order_by(key).limit(AT_ONCE)).scalars())
    for some in chunks(ids):
        waits = select(deliveries.c.id).where(deliveries.c.id.in_(some), deliveries.c.state.in_(_WAITS))
        over = set(some) - set(connection.execute(waits).scalars())
        connection.execute(delete(memos).where(key.in_(sorted(over))))
    return ids[-1] if len(ids) == AT_ONCE else NO_DELIVERY


def forget_unsubscribed(connection: Connection, after: str) -> str:
    """Drop who left subscriptions that are gone. Where to go on."""
    key = mail_unsubscribed.c.subscription_id
    ids = list(connection.execute(select(key).where(key > after).order_by(key).limit(AT_ONCE)).scalars())
    for some in chunks(sorted(set(ids))):
        kept = select(subscriptions.c.id).where(subscriptions.c.id.in_(some), is_there())
        over = set(some) - set(connection.execute(kept).scalars())
        connection.execute(delete(mail_unsubscribed).where(key.in_(sorted(over))))
    return ids[-1] if len(ids) == AT_ONCE else NO_SUBSCRIPTION
