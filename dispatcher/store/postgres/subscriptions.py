"""Finding subscriptions by their match keys on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from dispatcher.domain.events import utc_now
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.session import PostgresSession
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import Revision, SubscriptionRepository


class PostgresSubscriptions(SubscriptionRepository):
    """See `dispatcher.store.subscriptions.SubscriptionRepository`."""

    def __init__(self, session: PostgresSession, mapping: SubscriptionRows) -> None:
        super().__init__(session, mapping)
        self._session = session

    async def _matching(self, match_keys: Sequence[str]) -> Sequence[Revision]:
        async with self._session.hot() as connection:
            return revisions_of(await connection.fetch(sql.MATCHING, match_keys, utc_now()))


def revisions_of(rows: Sequence[asyncpg.Record]) -> list[Revision]:
    """Ids and revisions from rows of the two."""
    return [(f"sub_{key.hex}", revision) for key, revision in rows]
