"""Finding subscriptions by their match keys on SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.store.sqlite import hot_sql
from dispatcher.store.subscriptions import Revision, SubscriptionRepository


class SqliteSubscriptions(SubscriptionRepository):
    """See `dispatcher.store.subscriptions.SubscriptionRepository`."""

    async def _matching(self, match_keys: Sequence[str]) -> Sequence[Revision]:
        return await self._read(hot_sql.matching, match_keys)
