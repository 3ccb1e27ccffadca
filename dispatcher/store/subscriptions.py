"""Subscriptions: found by what they match, by id, and in lists; those in use are kept ready in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

from sqlalchemy import Connection, func, select

from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import is_id
from dispatcher.domain.quotas import Caps
from dispatcher.domain.subscriptions import Subscription, SubscriptionStatus
from dispatcher.store import delivery_writes, held, subscription_writes
from dispatcher.store.filters import Page, SubscriptionFilter, Window
from dispatcher.store.lists import Branch, below, chunks, heavy_page, is_there, limit_of, rows_of, walk
from dispatcher.store.mapping import Row, safe, safe_filter
from dispatcher.store.schema import subscriptions
from dispatcher.store.session import Repository, Session
from dispatcher.store.subscription_mapping import SubscriptionRows

Revision = tuple[str, int]
"""The id of a subscription and its revision."""


class SubscriptionRepository(Repository, ABC):
    """Subscriptions."""

    def __init__(self, session: Session, mapping: SubscriptionRows) -> None:
        super().__init__(session)
        self._mapping = mapping

    @abstractmethod
    async def _matching(self, match_keys: Sequence[str]) -> Sequence[Revision]:
        """Ids and revisions of the subscriptions that `find_matching` means."""

    async def find_matching(self, match_keys: Iterable[str]) -> list[Subscription]:
        """The active and paused subscriptions that have one of these match keys and have not expired."""
        found = await self._matching([safe(key) for key in match_keys])
        return [one for one in await self.of_revisions(found) if one.status in ("active", "paused")]

    async def find_matching_pages(
        self, match_keys: Iterable[str], size: int
    ) -> AsyncIterator[list[Subscription]]:
        """The same, `size` at a time."""
        found = await self._matching([safe(key) for key in match_keys])
        for start in range(0, len(found), size):
            some = await self.of_revisions(found[start : start + size])
            yield [one for one in some if one.status in ("active", "paused")]

    async def of_revisions(self, found: Sequence[Revision]) -> list[Subscription]:
        """The subscriptions, from memory if it has the revision, without those that were removed since."""
        ready = [(key, self._mapping.ready(key, revision)) for key, revision in found]
        missing = [key for key, subscription in ready if subscription is None]
        loaded = [subscription for _, subscription in ready if subscription is not None]
        for some in chunks(missing):
            restored = map(self._mapping.restore_for_delivery, await self._read(rows, some))
            loaded += [one for one in restored if one is not None]
        return loaded

    async def by_ids(self, subscription_ids: Collection[str]) -> list[Subscription]:
        """Those of these subscriptions that were not removed."""
        return await self.of_revisions(await self._read(revisions, subscription_ids))

    async def in_use(self, subscription_ids: Collection[str]) -> list[Subscription]:
        """Those of these subscriptions that are active or paused."""
        return [one for one in await self.by_ids(subscription_ids) if one.status in ("active", "paused")]

    async def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        """One subscription by its id."""
        row = await self._read(_row, safe(tenant), subscription_id)
        return None if row is None else self._mapping.restore(row)

    async def page(self, which: SubscriptionFilter, window: Window) -> Page[Subscription]:
        """Subscriptions, newest first."""
        found = await self._read(_page, safe_filter(which), window)
        return Page([self._mapping.restore(row) for row in found.items], found.next)

    async def add(self, subscription: Subscription, caps: Caps | None = None) -> None:
        """Store a new one; it works from the moment that this returns.

        Raises Conflict or QuotaExceeded when its subscriber has as many as `caps` allow.
        """
        await self._write(subscription_writes.add, self._mapping.row(subscription), caps)

    async def save(
        self, subscription: Subscription, caps: Caps | None = None, deliveries_per_minute: int = 0
    ) -> None:
        """Store a changed one whose `revision` is one more than the stored one's; Conflict when it is not.

        QuotaExceeded when it takes room that it did not take before, and there is none.

        When it becomes `active` again, the deliveries that were held for it are due now; of an ordered one the
        first of each job. They count for the quota of its owner, which is `deliveries_per_minute` (0: none) by
        default: what is over it is due later.
        """
        row, key, owner = self._mapping.row(subscription), subscription.id, subscription.counted_for
        released = await self._write(subscription_writes.save, row, subscription, caps, deliveries_per_minute)
        while released == delivery_writes.CHUNK:
            released = await self._write(held.release, key, owner, deliveries_per_minute, utc_now())

    async def end(self, subscription_id: str, status: SubscriptionStatus, reason: str) -> None:
        """Set `disabled` or `completed`; what waits of it is cancelled or superseded, with the reason."""
        state = State.SUPERSEDED if status == "completed" else State.CANCELLED
        ended = await self._write(subscription_writes.end, subscription_id, status, state, reason)
        await self._end_rest(ended, subscription_id, state, reason)

    async def remove(self, tenant: str, subscription_id: str) -> bool:
        """Remove one: it is not seen again, its secrets are gone, what waits of it is cancelled."""
        ended = await self._write(subscription_writes.remove, safe(tenant), subscription_id)
        if ended is None:
            return False
        await self._end_rest(ended, subscription_id, State.CANCELLED, subscription_writes.REMOVED)
        return True

    async def _end_rest(self, ended: int, subscription_id: str, state: State, reason: str) -> None:
        while ended == delivery_writes.CHUNK:
            ended = await self._write(delivery_writes.end_waiting, subscription_id, state, reason, utc_now())

    async def check_encryption(self) -> None:
        """SettingsError when the keys do not open the secrets of the first and of the last subscription."""
        for row in await self._read(_outermost):
            self._mapping.restore(row)


def _row(connection: Connection, tenant: str, subscription_id: str) -> Row | None:
    """One subscription that was not removed."""
    if not is_id("sub", subscription_id):
        return None
    found = rows(connection, [subscription_id])
    return found[0] if found and found[0]["tenant"] == tenant else None


def rows(connection: Connection, ids: Sequence[str]) -> list[Row]:
    """Those of at most MAX_VALUES subscriptions that were not removed."""
    table = subscriptions
    return rows_of(connection, select(table).where(table.c.id.in_(ids), is_there()))


def revisions(connection: Connection, ids: Collection[str]) -> list[tuple[str, int]]:
    """Ids and revisions of those of these subscriptions that were not removed."""
    table = subscriptions.c
    found: list[tuple[str, int]] = []
    for some in chunks(list(ids)):
        kept = select(table.id, table.revision).where(table.id.in_(some), is_there())
        found += [(key, revision) for key, revision in connection.execute(kept)]
    return found


def _outermost(connection: Connection) -> list[Row]:
    """The first and the last subscription of all that were not removed."""
    kept = select(subscriptions).where(subscriptions.c.removed_at.is_(None)).limit(1)
    ends = (kept.order_by(subscriptions.c.id), kept.order_by(subscriptions.c.id.desc()))
    return [row for end in ends for row in rows_of(connection, end)]


def _page(connection: Connection, which: SubscriptionFilter, window: Window) -> Page[Row]:
    """A page of subscriptions, as rows."""
    table = subscriptions.c
    named = {"job_id": which.job_id, "subscriber": which.subscriber, "tenant": which.tenant}
    # The most selective one leads; the others are conditions.
    (lead, value), *others = [(table[name], value) for name, value in named.items() if value is not None]
    conditions = [table.removed_at.is_(None), *(column == other for column, other in others)]
    if which.status is not None:
        conditions.append(table.status == which.status)
    size = func.length(table.details) + func.length(table.sealed)
    sizes = walk(connection, table.id, Branch(conditions, lead, value), below(window, "sub"))
    sizes = sizes.limit(limit_of(window) + 1)
    return heavy_page(connection, [*table], size, sizes, window, lambda row: row)
