"""The queue of deliveries on PostgreSQL: hot statements, and what this process knows of its claims."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime

from dispatcher.domain.deliveries import OpenDelivery, Outcome, Share, Waiting
from dispatcher.domain.events import Event, utc_now
from dispatcher.store import batches, column_arrays
from dispatcher.store.batches import ATTEMPT, OUTCOME
from dispatcher.store.claims import CLAIM_BYTES, Claim
from dispatcher.store.filters import Place
from dispatcher.store.mapping import Row, hex_digits
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres import queue_sql
from dispatcher.store.postgres.accept import TO, resumed_of
from dispatcher.store.postgres.session import PostgresSession
from dispatcher.store.postgres.subscriptions import revisions_of
from dispatcher.store.queue import DeliveryQueue
from dispatcher.store.subscriptions import Revision, SubscriptionRepository


class PostgresQueue(DeliveryQueue):
    """See `dispatcher.store.queue.DeliveryQueue`."""

    def __init__(self, session: PostgresSession, subscriptions: SubscriptionRepository) -> None:
        super().__init__(session, subscriptions)
        self._session = session
        self._claimed: defaultdict[int, set[str]] = defaultdict(set)
        self._unsure: set[int] = set()
        self._claiming = asyncio.Lock()

    def forget(self, lease_id: int) -> None:
        """Forget the claims of a process: its lease has ended."""
        self._claimed.pop(lease_id, None)
        self._unsure.discard(lease_id)

    async def waiting_destinations(self, after: str, limit: int) -> list[tuple[str, datetime | None]]:
        async with self._session.hot() as connection:
            return await queue_sql.waiting_destinations(connection, after, limit)

    async def find_queues(self, after: Mapping[str, str], first: int, more: int) -> dict[str, Waiting]:
        async with self._session.hot() as connection:
            return await queue_sql.find_queues(connection, after, utc_now(), first, more)

    async def _waiting(self, after: Mapping[str, Place | None], limit: int) -> Mapping[str, Sequence[Row]]:
        async with self._session.hot() as connection:
            return await queue_sql.waiting(connection, after, limit)

    async def claim(self, lease_id: int, limit: int, shares: Sequence[Share]) -> list[OpenDelivery]:
        async with self._claiming:
            try:
                claims, revisions = await self._claim(lease_id, limit, shares)
                wanted = await self._wanted(lease_id, claims, revisions)
            except BaseException:
                # It may have been committed although the answer was lost. The next call finds out.
                self._unsure.add(lease_id)
                raise
            self._claimed[lease_id].update(delivery.id for delivery in wanted)
        return wanted

    async def _claim(
        self, lease_id: int, limit: int, shares: Sequence[Share]
    ) -> tuple[list[Claim], list[Revision]]:
        async with self._session.hot() as connection:
            if lease_id in self._unsure:
                await connection.execute(
                    sql.UNCLAIM, lease_id, list(map(hex_digits, self._claimed[lease_id]))
                )
                self._unsure.discard(lease_id)
            of = [hex_digits(share.subscription_id) for share in shares]
            places = [share.places for share in shares]
            found = await connection.fetch(queue_sql.CLAIM_SHARES, lease_id, utc_now(), limit, of, places)
            rows = sorted(found, key=queue_sql.due_at)
            if not rows:
                return [], []
            events = await connection.fetch(sql.EVENTS, list({row["event_key"] for row in rows}), CLAIM_BYTES)
            kept = await connection.fetch(sql.REVISIONS, list({row["subscription_id"] for row in rows}))
        by_key = {row["key"]: Event(**{**row, "key": f"evt_{row['key'].hex}"}) for row in events}
        claims = [queue_sql.claim_of(row, by_key.get(row["event_key"])) for row in rows]
        return claims, revisions_of(kept)

    async def _record(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        held = [outcome.delivery_id for outcome in outcomes if batches.held_outcome(outcome)]
        async with self._session.hot() as connection, connection.transaction() if held else nullcontext():
            resumed = await resumed_of(connection, sql.RESUMED_DELIVERIES, "dlv", held)
            await connection.execute(
                sql.FINISH,
                lease_id,
                *column_arrays.parameters(OUTCOME, column_arrays.of_outcomes(outcomes, resumed, TO)),
                *column_arrays.parameters(ATTEMPT, column_arrays.of_attempts(outcomes, TO)),
            )
        if lease_id in self._claimed:
            self._claimed[lease_id].difference_update(outcome.delivery_id for outcome in outcomes)
