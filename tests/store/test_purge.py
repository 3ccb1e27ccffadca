"""Purge: each table has a rule; what is over goes in bounded batches, what is young or still needed stays."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, func, insert, select, update

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.digests import DigestPolicy, group_id
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.retention import DAY
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import purge, subscription_writes
from dispatcher.store import retention as rows_retention
from dispatcher.store.dialect import clock
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.schema import destinations as destination_table
from dispatcher.store.schema import (
    digests,
    mail_consents,
    mail_counts,
    metadata,
    processes,
    rates,
    subscriptions,
)
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.factories import make_subscription
from tests.store.conftest import OpenAnother
from tests.store.helpers import stored
from tests.store.test_retention import KEEP

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_table_has_a_rule_that_operators_can_read() -> None:
    section = OPERATING.read_text().partition("## What is forgotten")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)))
    assert sorted(named) == sorted(metadata.tables)


async def run(store: Store, operation: Any, *args: Any) -> Any:
    """Carry out an operation in a transaction of the store."""
    return await store.session.write(operation, *args)


async def put(store: Store, table: Table, *rows: dict[str, object]) -> None:
    await run(store, lambda connection: connection.execute(insert(table), list(rows)))


async def keys(store: Store, table: Table) -> set[Any]:
    """The first column of the primary key of each row."""
    key = next(iter(table.primary_key))
    found: set[Any] = await run(store, lambda connection: set(connection.execute(select(key)).scalars()))
    return found


async def subscribed(store: Store, **columns: object) -> Subscription:
    """A subscription with these columns as they are stored."""
    subscription = make_subscription()
    await store.subscriptions.add(subscription)
    changed = update(subscriptions).where(subscriptions.c.id == subscription.id).values(columns)
    if columns:
        await run(store, lambda connection: connection.execute(changed))
    return subscription


async def test_subscriptions_that_are_over_go_when_no_delivery_needs_them(store: Store, process: int) -> None:
    now = utc_now()
    gone = [
        await subscribed(store, removed_at=now - 31 * DAY),
        await subscribed(store, status="completed", updated_at=now - 91 * DAY),
        await subscribed(store, expires_at=now - 91 * DAY),
    ]
    needed = await subscribed(store)
    await stored(store, process, needed)
    await run(
        store,
        lambda connection: connection.execute(
            update(subscriptions).where(subscriptions.c.id == needed.id).values(removed_at=now - 400 * DAY)
        ),
    )
    stay = [
        needed,
        await subscribed(store, removed_at=now - 29 * DAY),
        await subscribed(store, status="completed", updated_at=now - 89 * DAY),
        await subscribed(store, status="disabled", updated_at=now - 400 * DAY),
        await subscribed(store, expires_at=now - 89 * DAY),
        await subscribed(store, created_at=now - 400 * DAY, updated_at=now - 400 * DAY),
    ]
    kept = await store.retain(KEEP)
    assert kept.deleted["subscriptions"] == len(gone)
    assert await keys(store, subscriptions) == {one.id for one in stay}


async def test_digests_of_groups_that_have_been_quiet_go(store: Store) -> None:
    now = utc_now()
    there, gone = await subscribed(store), make_subscription()
    quiet = now - 8 * DAY

    def group(name: str, of: Subscription, leader: str | None, sent_at: datetime | None) -> dict[str, object]:
        key = group_id(of.id, (name,))
        row: dict[str, object] = {"id": key, "subscription_id": of.id, "members": 0, "bytes": 0}
        return row | {"leader": leader, "sent_at": sent_at}

    stay = [group("leads", there, new_id("dlv"), quiet), group("young", there, None, now - 6 * DAY)]
    over = [
        group("quiet", there, None, quiet),
        group("disbanded", there, None, None),
        group("of nothing", gone, None, now),
    ]
    await put(store, digests, *stay, *over)
    assert (await store.retain(KEEP)).deleted["digests"] == len(over)
    assert await keys(store, digests) == {one["id"] for one in stay}


async def test_unused_destinations_go_and_their_pauses_and_limits_stay(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = make_subscription(destination="waits")
    await store.subscriptions.add(waits)
    await stored(store, process, waits, claimed=False, due_at=utc_now())
    elsewhere = update(subscriptions).where(subscriptions.c.id == waits.id).values(destination="used")
    await run(store, lambda connection: connection.execute(elsewhere))
    await store.destinations.pause("paused", "a person")
    await store.destinations.set_rate_limit("limited", RateLimit(5))
    await open_breaker(store, "open", utc_now() + DAY, "down")
    rows: list[dict[str, object]] = [
        {"key": key, "openings": 0, "changed_at": utc_now()} for key in ("used", "unused")
    ]
    await put(store, destination_table, *rows)
    assert (await store.retain(KEEP)).deleted["destinations"] == 0
    monkeypatch.setattr(purge, "UNUSED", timedelta(0))
    assert (await store.retain(KEEP)).deleted["destinations"] == 1
    assert await keys(store, destination_table) == {"used", "waits", "paused", "limited", "open"}


async def test_consents_go_with_the_last_subscription_of_the_subscriber(store: Store) -> None:
    there = await subscribed(store)
    long_ago, now = utc_now() - 91 * DAY, utc_now()

    def consent(address: str, subscriber: str, **moments: datetime) -> dict[str, object]:
        names = ("asked_at", "asking_until", "confirmed_at", "refused_at")
        row: dict[str, object] = {"tenant": "default", "subscriber": subscriber, "address": address}
        return row | {name: moments.get(name) for name in names}

    await put(
        store,
        mail_consents,
        consent("kept@x", there.subscriber, confirmed_at=long_ago),
        consent("gone@x", "neither", confirmed_at=long_ago, asked_at=long_ago),
        consent("young@x", "neither", confirmed_at=long_ago, refused_at=now),
    )
    assert (await store.retain(KEEP)).deleted["mail_consents"] == 1
    left = await run(store, lambda c: set(c.execute(select(mail_consents.c.address)).scalars()))
    assert left == {"kept@x", "young@x"}


async def test_a_process_whose_lease_lasts_impossibly_long_goes_and_stops_no_other(
    store: Store, process: int
) -> None:
    """The database's clock was set back since it was renewed for the last time."""

    def set_back(connection: Connection) -> None:
        later = clock(connection) + 365 * DAY
        connection.execute(update(processes).where(processes.c.id == process).values(lease_until=later))

    other = await store.leases.register("b-host", 4712, lease=60)
    await run(store, set_back)
    assert await store.leases.is_oldest(other)
    await store.leases.release_expired()
    assert await keys(store, processes) == {other}


async def test_a_rate_limit_is_forgotten_as_soon_as_it_owes_nothing(store: Store) -> None:
    now = (await run(store, clock)).timestamp()
    await put(store, rates, {"key": "paid", "full_at": now - 601}, {"key": "owes", "full_at": now + 600})
    await store.purge_orphans()
    assert await keys(store, rates) == {"owes"}


async def test_counts_of_mails_are_forgotten_after_their_period(store: Store) -> None:
    now = utc_now()
    await put(
        store,
        mail_counts,
        {"name": "old", "began": now - timedelta(hours=3), "count": 1},
        {"name": "young", "began": now - timedelta(hours=1), "count": 1},
    )
    await store.purge_orphans()
    assert await keys(store, mail_counts) == {"young"}


async def test_what_goes_goes_in_bounded_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_retention, "CHUNK", 2)
    monkeypatch.setattr(purge, "CHUNK", 2)
    removed = [await subscribed(store, removed_at=utc_now() - 31 * DAY) for _ in range(5)]
    consent: dict[str, object] = {
        "tenant": "default",
        "subscriber": "gone",
        "confirmed_at": utc_now() - 91 * DAY,
    }
    await put(store, mail_consents, *[consent | {"address": f"{number}@x"} for number in range(5)])
    sizes: list[int] = []
    trim = purge.trim

    def counted(connection: Connection, what: purge.Trim, low: purge.Key) -> rows_retention.Swept:
        swept = trim(connection, what, low)
        sizes.append(swept.deleted)
        return swept

    monkeypatch.setattr(purge, "trim", counted)
    kept = await store.retain(KEEP)
    assert (kept.deleted["subscriptions"], kept.deleted["mail_consents"]) == (len(removed), 5)
    assert sizes[-3:] == [2, 2, 1]


async def test_a_digest_that_is_purged_while_something_joins_it_is_made_again(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = make_subscription(digest=DigestPolicy(wait=60))
    await store.subscriptions.add(subscription)
    await stored(store, process, subscription, claimed=False)
    quiet = {"leader": None, "due_at": None, "sent_at": None, "members": 0}
    await run(store, lambda c: c.execute(update(digests).values(quiet)))
    await asyncio.gather(
        *(stored(store, process, subscription, claimed=False) for _ in range(20)), store.retain(KEEP)
    )
    counted = await run(store, lambda c: c.execute(select(func.count()).select_from(digests)).scalar_one())
    assert counted == 1


async def test_a_destination_that_a_subscription_is_about_to_use_is_not_purged(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_postgres()
    assert isinstance(store, PostgresStore)
    monkeypatch.setattr(purge, "UNUSED", timedelta(0))
    name = "https://new:443"
    await put(store, destination_table, {"key": name, "openings": 0, "changed_at": utc_now()})
    subscription = make_subscription(destination=name)
    async with store.session._engine.connect() as connection, connection.begin():
        row = store.subscriptions._mapping.row(subscription)
        await connection.run_sync(subscription_writes.add, row, None)
        await store.retain(KEEP)
    await store.retain(KEEP)
    assert name in await keys(store, destination_table)
