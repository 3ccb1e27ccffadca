"""The quota of deliveries a minute in the store: what admins set, and what was granted to all processes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Select, Text, and_, column, select, values

from dispatcher.domain.delivery_quota import Grant, Owner, grant
from dispatcher.domain.quotas import QuotaOverride
from dispatcher.store import dialect
from dispatcher.store.lists import chunks
from dispatcher.store.mapping import safe
from dispatcher.store.schema import quotas, rates

UNLIMITED = 0


class StoredOverride(QuotaOverride, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The same as it is stored: a later version may have written quotas that are not known here."""


_decode = msgspec.json.Decoder(StoredOverride).decode


def per_minute(connection: Connection, owners: Sequence[Owner], default: int) -> dict[Owner, int]:
    """How many deliveries a minute each of these owners may have; 0 is no limit."""
    found = dict.fromkeys(owners, default)
    for some in chunks(owners):
        stored = {(safe(tenant), safe(owner)): (tenant, owner) for tenant, owner in some}
        for tenant, owner, limits in connection.execute(_overrides_of(list(stored))):
            own = _decode(limits).deliveries_per_minute
            if own is not None:
                found[stored[tenant, owner]] = own
    return found


def take(connection: Connection, needed: Mapping[Owner, int], default: int) -> dict[Owner, Grant]:
    """What each of these owners' quotas gives of the deliveries that a process needs; see `domain.delivery_quota`.

    The database's clock counts. A quota that is changed begins with nothing owed.
    """
    limits = per_minute(connection, list(needed), default)
    given = {owner: Grant(UNLIMITED, needed[owner]) for owner, limit in limits.items() if limit == UNLIMITED}
    # In one order, so that processes that do it together do not wait for each other in a circle.
    limited = sorted((_key(owner, limit), owner) for owner, limit in limits.items() if limit != UNLIMITED)
    for some in chunks(limited):
        owed = _locked(connection, [key for key, _ in some])
        now = dialect.clock(connection).timestamp()
        for key, owner in some:
            given[owner], owed[key] = grant(limits[owner], owed[key], now, needed[owner])
        _keep(connection, owed)
    return given


def _overrides_of(owners: Sequence[Owner]) -> Select[str, str, bytes]:
    columns = (quotas.c.tenant, quotas.c.owner)
    # Not "in", for which SQLite would read all of them.
    asked = values(*(column(one.name, Text) for one in columns)).data(list(owners)).cte("asked")
    same = and_(*(one == asked.c[one.name] for one in columns))
    return select(*columns, quotas.c.limits).select_from(asked).join(quotas, same)


def _key(owner: Owner, limit: int) -> str:
    tenant, name = owner
    return f"deliveries {limit}:{safe(tenant)}\x1f{safe(name)}"


def _locked(connection: Connection, keys: Sequence[str]) -> dict[str, float]:
    """What is owed under each of these keys, which are sorted; it stays so until the transaction ends."""
    owed = dict.fromkeys(keys, 0.0)
    connection.execute(_new(connection, owed).on_conflict_do_nothing())
    this = select(rates.c.key, rates.c.full_at).where(rates.c.key.in_(keys)).order_by(rates.c.key)
    return owed | dict(connection.execute(this.with_for_update()).all())


def _keep(connection: Connection, owed: Mapping[str, float]) -> None:
    new = _new(connection, owed)
    more = {"full_at": new.excluded.full_at}
    connection.execute(new.on_conflict_do_update(index_elements=[rates.c.key], set_=more))


def _new(connection: Connection, owed: Mapping[str, float]) -> dialect.Insert:
    return dialect.insert(connection, rates).values(
        [{"key": key, "full_at": full_at} for key, full_at in owed.items()]
    )
