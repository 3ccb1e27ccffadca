"""Databases of released versions, with rows in every table, are migrated and go on.

`released/VERSION` has a dump of each engine's database as that version made it, by its own store. `sqlite.sql` is what
sqlite3 dumps, `postgres.sql` what pg_dump does with --inserts. A dump never changes once its version is released.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.domain.deliveries import State
from dispatcher.domain.recipients import Recipient
from dispatcher.store.factory import migrate, open_store, pending
from dispatcher.store.filters import DeliveryFilter, EventFilter, JobFilter, SubscriptionFilter
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import SECRET, make_delivery, make_event
from tests.store.conftest import SEALER
from tests.store.helpers import ALL, accept, outcome

DUMPS = Path(__file__).parent / "released"
HOOK = "https://example.org/hook?token=secret"


@pytest.fixture(params=["sqlite", "postgres"])
def released_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database of version 0.1.0, on each engine in turn."""
    dump = (DUMPS / "0.1.0" / f"{request.param}.sql").read_text()
    if request.param == "sqlite":
        path = tmp_path / "released.db"
        with closing(sqlite3.connect(path)) as file:
            file.executescript(dump)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("database_url")
    asyncio.run(_restore(url, dump))
    return url


async def _restore(url: str, dump: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(dump)
    await connection.close()


@pytest.fixture
async def store(released_url: str) -> AsyncIterator[Store]:
    """A store on it that has migrated it. The process that delivered from it is gone."""
    store = open_store(released_url, SEALER)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_dump_has_rows_in_every_table(engine: str) -> None:
    dump = (DUMPS / "0.1.0" / f"{engine}.sql").read_text()
    tables = set(re.findall(r'^CREATE TABLE (?:public\.)?"?(\w+)', dump, re.MULTILINE))
    filled = set(re.findall(r'^INSERT INTO (?:public\.)?"?(\w+)', dump, re.MULTILINE))
    parts = {re.sub(r"_\d{8}$", "", name) for name in filled}
    assert {re.sub(r"_(\d{8}|oldest)$", "", name) for name in tables} == parts - {"sqlite_sequence"}


def test_what_is_pending_is_said(released_url: str) -> None:
    waiting = pending(released_url)
    assert waiting[0] == "0002"
    assert migrate(released_url) == waiting
    assert pending(released_url) == []


async def test_subscriptions_keep_their_targets_and_secrets(store: Store) -> None:
    which = SubscriptionFilter(tenant="default")
    found = {one.name: one for one in (await store.subscriptions.page(which, ALL)).items}
    assert found.keys() == {
        "plain",
        "ordered",
        "digest",
        "e-mail",
        "paused",
        "limited",
        "of a job",
        "expires",
        "of Tapis",
    }
    plain = found["plain"]
    assert plain.target == {
        "kind": "webhook",
        "url": HOOK,
        "headers": {"authorization": "Bearer secret"},
    }
    assert plain.secrets == (SECRET,)
    assert found["ordered"].ordered
    assert found["limited"].rate_limit is not None
    assert found["digest"].digest is not None
    assert found["paused"].status == "paused"


async def test_jobs_events_and_grants_are_shown(store: Store) -> None:
    jobs = {one.id: one for one in (await store.jobs.page(JobFilter(tenant="default"), ALL)).items}
    assert [jobs[f"job-{number}"].status for number in range(3)] == ["SUBMITTED", "RUNNING", "FINISHED"]
    assert [jobs[f"job-{number}"].owner for number in range(4)] == ["alice", "alice", "alice", None]
    assert len((await store.events.page(EventFilter(tenant="default"), ALL)).items) == 19
    granted = JobFilter(tenant="default", visible_to="bob")
    assert [one.id for one in (await store.jobs.page(granted, ALL)).items] == ["job-1"]


async def test_what_waited_is_claimed_and_delivered(store: Store) -> None:
    await store.leases.release_expired()
    backlog = await store.deliveries.backlog()
    assert (backlog[State.PENDING], backlog[State.DELIVERING]) == (11, 0)
    lease = await store.leases.register("a-host", 1, lease=60)
    claimed = await claim(store, lease, 100)
    names = sorted(one.subscription.name for one in claimed)
    assert names == ["digest", "e-mail", "limited", "ordered", "plain", "plain", "plain"]
    assert [one.attempt_state for one in claimed if one.subscription.name == "e-mail"] == ["ann has it"]
    ended = [
        outcome(
            one.id,
            State.DELIVERED,
            ordered=one.subscription.ordered,
            leads=one.subscription.digest is not None,
        )
        for one in claimed
    ]
    await store.queue.finish(lease, ended)
    # The second in order may go now, the second of the digest has ended with the first, and one is paused.
    assert [one.subscription.name for one in await claim(store, lease, 100)] == ["ordered"]
    delivered = DeliveryFilter(tenant="default", state=State.DELIVERED)
    assert await store.deliveries.count(delivered) == 1 + len(claimed) + 1


async def test_attempts_are_shown(store: Store) -> None:
    exhausted = DeliveryFilter(tenant="default", state=State.EXHAUSTED)
    [one] = (await store.deliveries.page(exhausted, ALL)).items
    [attempt] = await store.deliveries.attempts(one.id)
    assert (attempt.request, attempt.status, attempt.answer) == (
        "POST https://example.org/hook",
        200,
        "ok",
    )


async def test_a_known_event_is_a_duplicate_still(store: Store) -> None:
    known = (await store.events.page(EventFilter(tenant="default"), ALL)).items[0]
    lease = await store.leases.register("a-host", 1, lease=60)
    again = make_event(id=known.id, source=known.source, job_id=known.job_id)
    assert await store.events.accept(lease, [again], []) == {again.key: known.key}


async def test_later_deliveries_of_an_ordered_subscription_wait_behind_those_that_were_there(
    store: Store,
) -> None:
    lease = await store.leases.register("a-host", 1, lease=60)
    which = SubscriptionFilter(tenant="default")
    [ordered] = [one for one in (await store.subscriptions.page(which, ALL)).items if one.ordered]
    new = make_delivery(make_event(), ordered, claimed=False)
    await accept(store, lease, new)
    await store.leases.release_expired()
    assert new.id not in {one.id for one in await claim(store, lease, 100)}


async def test_keys_and_recipients_are_known(store: Store) -> None:
    keys = {one.name: one.scopes for one in (await store.keys.page(None, ALL)).items}
    assert keys == {
        "a publisher": ("publish", "publish:any"),
        "alice's": ("publish", "subscribe"),
        "an admin": ("admin", "publish", "subscribe"),
    }
    which = SubscriptionFilter(tenant="default")
    [mails] = [one for one in (await store.subscriptions.page(which, ALL)).items if one.name == "e-mail"]
    ann, bob, carl = (
        Recipient("default", "alice", mails.id, f"{name}@example.org") for name in ("ann", "bob", "carl")
    )
    confirmed, unsubscribed, refused = await store.recipients.standings([ann, bob, carl])
    assert confirmed.confirmed_at is not None
    assert unsubscribed.unsubscribed_at is not None
    assert refused.refused_at is not None


async def test_tapis_subscriptions_are_known(store: Store) -> None:
    repository = TapisRepository(store.session, store.subscription_mapping)
    found = await repository.by_name("default", "alice", "a-name")
    assert found is not None
    [member] = (await repository.members([found])).values()
    assert member.name == "of Tapis"
    assert len(await repository.recorded(member.id)) == 1
