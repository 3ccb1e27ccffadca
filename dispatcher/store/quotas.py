"""Quotas in the store: what admins set for owners, what owners have stored, and the check that no race gets around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, delete, func, select

from dispatcher.domain.delivery_quota import Grant, Owner
from dispatcher.domain.errors import TooManyAlike
from dispatcher.domain.events import utc_now
from dispatcher.domain.quotas import Caps, QuotaOverride, exceeded
from dispatcher.domain.retention import Keep
from dispatcher.store import delivery_quotas, dialect
from dispatcher.store.column_types import EPOCH
from dispatcher.store.delivery_quotas import StoredOverride
from dispatcher.store.filters import Page, Window
from dispatcher.store.lists import limit_of
from dispatcher.store.mapping import safe
from dispatcher.store.schema import quotas, subscriptions, usage
from dispatcher.store.session import Repository

_DAY = timedelta(days=1)
_MIB = 1024 * 1024

_THERE = subscriptions.c.removed_at.is_(None)

IN_USE = ("active", "paused")
"""The statuses in which a subscription is looked at for events."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredOverride).decode


class QuotaRepository(Repository):
    """What is stored of quotas. All methods raise StoreUnavailable when the database cannot be reached."""

    async def override(self, tenant: str, owner: str) -> QuotaOverride | None:
        """What an admin set for an owner."""
        return await self._read(_override, safe(tenant), safe(owner))

    async def overrides(self, tenant: str, window: Window) -> Page[tuple[str, QuotaOverride]]:
        """Owners with their own quotas, by name; the cursor is the last one."""
        return await self._read(_page, safe(tenant), window)

    async def set_override(self, tenant: str, owner: str, override: QuotaOverride) -> None:
        """Set an owner's quotas."""
        await self._write(_set_override, safe(tenant), safe(owner), override, utc_now())

    async def remove_override(self, tenant: str, owner: str) -> bool:
        """Let the defaults count for an owner again. False when they did."""
        return await self._write(_remove_override, safe(tenant), safe(owner))

    async def stored_mib(self, tenant: str, owner: str) -> float:
        """MiB of events that an owner's keys have published and that are kept, as far as it was noted."""
        return await self._read(_stored, safe(tenant), safe(owner)) / _MIB

    async def take_deliveries(self, needed: Mapping[Owner, int], default: int) -> Mapping[Owner, Grant]:
        """What the quotas of owners give of the deliveries that a process needs; `default` (0: none) a minute."""
        return await self._write(delivery_quotas.take, needed, default)

    async def deliveries_per_minute(self, owners: Sequence[Owner], default: int) -> Mapping[Owner, int]:
        """How many deliveries a minute these owners may have; 0 is no limit."""
        return await self._read(delivery_quotas.per_minute, owners, default)

    async def note_stored(self, stored: Mapping[tuple[str, str], int]) -> None:
        """Add bytes that owners, by tenant and name, have published."""
        await self._write(
            _note, {(safe(t), safe(o)): size for (t, o), size in stored.items()}, _day(utc_now())
        )

    async def purge(self, keep: Keep) -> Mapping[str, int]:
        """Forget what was stored, once it is kept no longer. How many rows of which table."""
        return {usage.name: await self._write(_forget, _day(utc_now() - keep.delivered))}


def check_caps(connection: Connection, row: Mapping[str, object], subscription_id: str, caps: Caps) -> None:
    """Raise TooManyAlike or QuotaExceeded unless a subscription may be stored beside the others of its subscriber.

    A second one for the same subscriber waits until this transaction has ended: the count cannot be raced.
    """
    tenant, subscriber = str(row["tenant"]), str(row["subscriber"])
    dialect.advisory_lock(connection, f"quota\x1f{tenant}\x1f{subscriber}")
    table = subscriptions.c
    others = table.id != subscription_id
    mine = (table.tenant == tenant, table.subscriber == subscriber, _THERE, others)
    if row["status"] in IN_USE:
        alike = (*mine, table.match_key == row["match_key"], table.status.in_(IN_USE))
        if _count(connection, alike, caps.alike) >= caps.alike:
            jobs = "all your jobs" if row["job_id"] is None else f"job {row['job_id']!r}"
            raise TooManyAlike(
                f"there are {caps.alike} subscriptions for {jobs} already: remove one, or change it"
            )
    if caps.subscriptions and _count(connection, mine, caps.subscriptions) >= caps.subscriptions:
        raise exceeded("subscriptions", caps.subscriptions, subscriber, "remove one first")
    tenants = (table.tenant == tenant, _THERE, others)
    if caps.in_tenant and _count(connection, tenants, caps.in_tenant) >= caps.in_tenant:
        raise exceeded("tenant_subscriptions", caps.in_tenant, f"the tenant {tenant}", "remove one first")
    if caps.destinations:
        to = select(table.destination).where(*mine, table.destination != row["destination"]).distinct()
        if _counted(connection, to.limit(caps.destinations)) >= caps.destinations:
            raise exceeded(
                "destinations", caps.destinations, subscriber, "use one that is there, or remove one"
            )


def _count(connection: Connection, conditions: tuple[ColumnElement[bool], ...], limit: int) -> int:
    return _counted(connection, select(subscriptions.c.id).where(*conditions).limit(limit))


def _counted(connection: Connection, found: Select[tuple[str]]) -> int:
    return connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()


def _override(connection: Connection, tenant: str, owner: str) -> QuotaOverride | None:
    this = (quotas.c.tenant == tenant, quotas.c.owner == owner)
    found = connection.execute(select(quotas.c.limits).where(*this)).scalar()
    return None if found is None else _decode(found)


def _page(connection: Connection, tenant: str, window: Window) -> Page[tuple[str, QuotaOverride]]:
    limit, after = limit_of(window), safe(window.cursor or "")
    mine = (quotas.c.tenant == tenant, quotas.c.owner > after)
    wanted = select(quotas.c.owner, quotas.c.limits).where(*mine).order_by(quotas.c.owner).limit(limit + 1)
    rows = connection.execute(wanted)
    items: list[tuple[str, QuotaOverride]] = [(owner, _decode(limits)) for owner, limits in rows]
    return Page(items[:limit], items[limit - 1][0] if len(items) > limit else None)


def _set_override(
    connection: Connection, tenant: str, owner: str, override: QuotaOverride, now: datetime
) -> None:
    new = dialect.insert(connection, quotas).values(
        tenant=tenant, owner=owner, limits=_encode(override), updated_at=now
    )
    changed = {"limits": new.excluded.limits, "updated_at": new.excluded.updated_at}
    connection.execute(
        new.on_conflict_do_update(index_elements=[quotas.c.tenant, quotas.c.owner], set_=changed)
    )


def _remove_override(connection: Connection, tenant: str, owner: str) -> bool:
    this = (quotas.c.tenant == tenant, quotas.c.owner == owner)
    return connection.execute(delete(quotas).where(*this)).rowcount == 1


def _day(moment: datetime) -> int:
    return (moment - EPOCH) // _DAY


def _stored(connection: Connection, tenant: str, owner: str) -> int:
    mine = (usage.c.tenant == tenant, usage.c.owner == owner)
    found = connection.execute(select(func.sum(usage.c.bytes)).where(*mine)).scalar()
    return int(found or 0)


def _note(connection: Connection, stored: Mapping[tuple[str, str], int], day: int) -> None:
    # In one order, so that processes that do it together do not wait for each other in a circle.
    for (tenant, owner), size in sorted(stored.items()):
        new = dialect.insert(connection, usage).values(tenant=tenant, owner=owner, day=day, bytes=size)
        unique = [usage.c.tenant, usage.c.owner, usage.c.day]
        more = {"bytes": usage.c.bytes + new.excluded.bytes}
        connection.execute(new.on_conflict_do_update(index_elements=unique, set_=more))


def _forget(connection: Connection, day: int) -> int:
    return connection.execute(delete(usage).where(usage.c.day < day)).rowcount
