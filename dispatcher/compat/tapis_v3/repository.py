"""What is stored for Tapis v3: names for groups of subscriptions, counts of series, what test sequences got.

A subscription of Tapis v3 has a name and several targets. Each target is one of our subscriptions; they are made,
changed and removed together with the name, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from dispatcher.compat.tapis_v3 import purge, recorded, series
from dispatcher.compat.tapis_v3.tables import tapis_notifications, tapis_subscriptions
from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.quotas import Caps
from dispatcher.domain.retention import Keep
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import delivery_writes, held, lists, subscription_writes
from dispatcher.store.dialect import insert
from dispatcher.store.mapping import Row, safe
from dispatcher.store.purge import Key, next_chunk
from dispatcher.store.schema import subscriptions
from dispatcher.store.session import Repository, Session
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import rows as subscription_rows

MAX_LISTED = 10_000
"""How many a list looks at, the newest first."""

CLEANED = 100
"""Expired ones that are removed in one transaction, for example when their owner makes another one."""


class TapisSubscription(Struct, frozen=True, kw_only=True):
    """A subscription of Tapis v3. `members` are ours, one a target; `document` is JSON, what else is known of it."""

    id: str
    created_at: datetime
    expires_at: datetime | None
    tenant: str
    owner: str
    name: str
    subject_filter: str
    members: tuple[str, ...]
    document: bytes


class TapisRepository(Repository):
    """What only Tapis v3 stores. Expired subscriptions are never found."""

    def __init__(self, session: Session, mapping: SubscriptionRows) -> None:
        super().__init__(session)
        self._rows = mapping

    async def add(
        self, named: TapisSubscription, members: Sequence[Subscription], caps: Caps | None = None
    ) -> None:
        """Store a new one with its members.

        Raises Conflict when its owner has one of this name, and what `SubscriptionRepository.add` raises for `caps`.
        """
        rows = [self._rows.row(member) for member in members]
        for gone in await self._write(_add, _row(named), rows, caps):
            await self._end_waiting(gone)

    async def by_name(self, tenant: str, owner: str, name: str) -> TapisSubscription | None:
        """The one of this name."""
        return await self._first(_table.tenant == safe(tenant), *_called(owner, name))

    async def by_id(self, tenant: str | None, key: str) -> TapisSubscription | None:
        """The one with this id; of any tenant when that is None."""
        mine = [] if tenant is None else [_table.tenant == safe(tenant)]
        return await self._first(_table.id == key, *mine)

    async def listed(
        self, tenant: str, owner: str | None = None, subject_filter: str | None = None
    ) -> list[TapisSubscription]:
        """Those of a tenant, of one owner, for one subject: the newest MAX_LISTED."""
        which = [_table.tenant == safe(tenant)]
        if owner is not None:
            which.append(_table.owner == safe(owner))
        if subject_filter is not None:
            which.append(_table.subject_filter == safe(subject_filter))
        return await self._read(_find, which, MAX_LISTED)

    async def members(self, named: Iterable[TapisSubscription]) -> dict[str, Subscription]:
        """The members of these by their ids, without those that were removed on their own."""
        found: dict[str, Subscription] = {}
        for some in lists.chunks([key for one in named for key in one.members]):
            restored = map(self._rows.restore, await self._read(subscription_rows, some))
            found |= {one.id: one for one in restored}
        return found

    async def save(
        self,
        named: TapisSubscription,
        *,
        changed: Sequence[Subscription] = (),
        added: Sequence[Subscription] = (),
        caps: Caps | None = None,
        deliveries_per_minute: int = 0,
    ) -> None:
        """Store a changed one and its changed and added members; members that it no longer has are removed.

        What was held for members counts as `SubscriptionRepository.save` says.
        Raises Conflict when somebody else changed it or a member meanwhile, and QuotaExceeded.
        """
        old = [(self._rows.row(one), one) for one in changed]
        new = [self._rows.row(one) for one in added]
        for gone in await self._write(_save, _row(named), old, new, caps, deliveries_per_minute):
            await self._end_waiting(gone)

    async def remove(self, named: TapisSubscription) -> bool:
        """Remove one with its members; what waits of them is cancelled."""
        removed, there = await self._write(_remove, named)
        for gone in removed:
            await self._end_waiting(gone)
        return there

    async def end_subject(self, tenant: str, subject: str, owner: str | None = None) -> int:
        """Remove those for one subject when what waits of them is delivered; of one owner, or of all. How many."""
        which = _of_subject(tenant, subject)
        if owner is not None:
            which.append(_table.owner == safe(owner))
        ended = 0
        while some := await self._read(_find, which, lists.MAX_VALUES):
            ended += await self._write(_let_end, some)
        return ended

    async def purge(self, keep: Keep) -> Mapping[str, int]:
        """Remove what was kept for long enough. How many rows of which tables."""
        now = utc_now()
        removed = await self._remove_expired(now - keep.delivered, (purge.LOWEST,))
        return {tapis_subscriptions.name: removed} | await purge.carry_out(keep, now, self._write)

    async def _remove_expired(self, before: datetime, low: Key | None) -> int:
        """Remove those from `low` on that expired before a time, and their members; what waits is cancelled."""
        removed = 0
        while low is not None:
            count, gone, low = await self._write(_clean_chunk, before, low)
            removed += count
            for member in gone:
                await self._end_waiting(member)
        return removed

    async def _first(self, *which: ColumnElement[bool]) -> TapisSubscription | None:
        found = await self._read(_find, which, 1)
        return found[0] if found else None

    async def _end_waiting(self, member: str) -> None:
        ended = delivery_writes.CHUNK
        while ended == delivery_writes.CHUNK:
            ended = await self._write(
                delivery_writes.end_waiting, member, State.CANCELLED, subscription_writes.REMOVED, utc_now()
            )

    # Series

    async def count_on(
        self, tenant: str, source: str, subject: str, series_id: str, publisher: str | None = None
    ) -> int:
        """The number of the next event of a series, from 1.

        `publisher` is the owner for whom alone the publisher may speak: each of them has series apart from all others.
        """
        name = series.series_name(series_id, publisher)
        return await self._write(series.count_on, *map(safe, (tenant, source, subject, name)))

    async def end_series(
        self, tenant: str, source: str, subject: str, series_id: str, publisher: str | None = None
    ) -> bool:
        """Forget the count of a series of this publisher: its next event is the first. False when there was none."""
        name = series.series_name(series_id, publisher)
        return await self._write(series.end, *map(safe, (tenant, source, subject, name)))

    # Test sequences

    async def record(self, key: str, uuid: str, document: bytes) -> bool:
        """Keep a notification of a test sequence, once. False when it has MAX_RECORDED."""
        return await self._write(recorded.record, key, safe(uuid), document)

    async def recorded(self, key: str) -> list[bytes]:
        """The notifications of a test sequence, the first one first."""
        return await self._read(recorded.recorded, key)


_table = tapis_subscriptions.c


def _row(named: TapisSubscription) -> dict[str, object]:
    texts = ("tenant", "owner", "name", "subject_filter")
    return {
        "id": named.id,
        "created_at": named.created_at,
        "expires_at": named.expires_at,
        **{name: safe(getattr(named, name)) for name in texts},
        "members": " ".join(named.members),
        "document": named.document,
    }


def _named(row: Row) -> TapisSubscription:
    return TapisSubscription(**{**row, "members": tuple(row["members"].split())})


def _called(owner: str, name: str) -> list[ColumnElement[bool]]:
    return [_table.owner == safe(owner), _table.name == safe(name)]


def _of_subject(tenant: str, subject: str) -> list[ColumnElement[bool]]:
    return [_table.tenant == safe(tenant), _table.subject_filter == safe(subject)]


def _find(
    connection: Connection, which: Sequence[ColumnElement[bool]], limit: int
) -> list[TapisSubscription]:
    lasting = or_(_table.expires_at.is_(None), _table.expires_at > utc_now())
    statement = select(tapis_subscriptions).where(*which, lasting).order_by(_table.id.desc()).limit(limit)
    return [_named(row) for row in lists.rows_of(connection, statement)]


def _add(
    connection: Connection, row: dict[str, object], members: Sequence[dict[str, object]], caps: Caps | None
) -> list[str]:
    mine = (_table.tenant == row["tenant"], _table.owner == row["owner"])
    _, removed = _clean(connection, *mine, _table.expires_at <= utc_now())
    unique = [_table.tenant, _table.owner, _table.name]
    added = insert(connection, tapis_subscriptions).values(row).on_conflict_do_nothing(index_elements=unique)
    if connection.execute(added).rowcount != 1:
        raise Conflict(f"{row['owner']} has a subscription with the name {row['name']} already")
    for member in members:
        subscription_writes.add(connection, member, caps)
    return removed


def _clean(connection: Connection, *which: ColumnElement[bool]) -> tuple[int, list[str]]:
    """Remove some of these. How many, and their members."""
    some = select(tapis_subscriptions).where(*which).order_by(_table.id).limit(CLEANED)
    named = [_named(row) for row in lists.rows_of(connection, some)]
    return len(named), [key for one in named for key in _remove(connection, one)[0]]


def _clean_chunk(connection: Connection, before: datetime, low: Key) -> tuple[int, list[str], Key | None]:
    """Remove those of the next from `low` on that expired: how many, their members, and where the next ones begin."""
    these, following = next_chunk(connection, tapis_subscriptions, low)
    count, members = _clean(connection, *these, _table.expires_at < before)
    return count, members, low if count == CLEANED else following


def _remove(connection: Connection, named: TapisSubscription) -> tuple[list[str], bool]:
    """Remove one. The members that were removed with it, and whether it was there."""
    there = connection.execute(delete(tapis_subscriptions).where(_table.id == named.id)).rowcount == 1
    connection.execute(delete(tapis_notifications).where(tapis_notifications.c.subscription_id == named.id))
    return _remove_members(connection, named.tenant, named.members), there


def _remove_members(connection: Connection, tenant: str, members: Iterable[str]) -> list[str]:
    return [key for key in members if subscription_writes.remove(connection, tenant, key) is not None]


def _save(
    connection: Connection,
    row: dict[str, object],
    changed: Sequence[tuple[dict[str, object], Subscription]],
    added: Sequence[dict[str, object]],
    caps: Caps | None,
    per_minute: int,
) -> list[str]:
    this = _table.id == row["id"]
    before = connection.execute(select(_table.members).where(this).with_for_update()).scalar()
    if before is None:
        raise Conflict(f"the subscription {row['name']} was removed by somebody else meanwhile")
    connection.execute(update(tapis_subscriptions).values(row).where(this))
    for member, new in changed:
        released = subscription_writes.save(connection, member, new, caps, per_minute)
        while released == delivery_writes.CHUNK:
            released = held.release(connection, new.id, new.counted_for, per_minute, utc_now())
    for member in added:
        subscription_writes.add(connection, member, caps)
    kept = str(row["members"]).split()
    return _remove_members(connection, str(row["tenant"]), [key for key in before.split() if key not in kept])


def _let_end(connection: Connection, ended: Sequence[TapisSubscription]) -> int:
    """Take the names away and let the members want nothing more; what waits of them goes out."""
    keys, members = [one.id for one in ended], [key for one in ended for key in one.members]
    gone: int = connection.execute(delete(tapis_subscriptions).where(_table.id.in_(keys))).rowcount
    connection.execute(delete(tapis_notifications).where(tapis_notifications.c.subscription_id.in_(keys)))
    for some in lists.chunks(members):
        these = (subscriptions.c.id.in_(some), lists.is_there())
        now, later = utc_now(), subscriptions.c.revision + 1
        connection.execute(
            update(subscriptions).values(expires_at=now, updated_at=now, revision=later).where(*these)
        )
    return gone
