"""What is stored for Tapis v3, on each database in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.compat.tapis_v3.tables import tapis_notifications, tapis_series, tapis_subscriptions
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.retention import DAY
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription
from tests.plugins import tapis_of
from tests.store.conftest import SEALER
from tests.store.test_purge import keys, put, run
from tests.store.test_retention import KEEP
from tests.stores import prepared_store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, of each kind in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """Yield an open store with nothing in it, on each database in turn."""
    async with prepared_store(url, SEALER) as opened:
        yield opened


@pytest.fixture
async def process(store: Store) -> int:
    """Return a process with a lease."""
    return await store.leases.register("a-host", 4711, lease=60)


def named(name: str, *members: Subscription, **changes: Any) -> TapisSubscription:
    fields: dict[str, Any] = {
        "id": new_id("sub"),
        "created_at": utc_now(),
        "expires_at": None,
        "tenant": "default",
        "owner": "alice",
        "name": name,
        "subject_filter": "*",
        "members": tuple(member.id for member in members),
        "document": b"{}",
    }
    return TapisSubscription(**fields | changes)


async def test_a_name_is_stored_with_all_its_members(store: Store) -> None:
    one, two = make_subscription(), make_subscription()
    made = named("s1", one, two)
    await tapis_of(store).add(made, [one, two])
    assert await tapis_of(store).by_name("default", "alice", "s1") == made
    assert (
        await tapis_of(store).by_id("default", made.id) == await tapis_of(store).by_id(None, made.id) == made
    )
    assert (await tapis_of(store).members([made])).keys() == {one.id, two.id}
    assert await tapis_of(store).by_name("other", "alice", "s1") is None
    assert await tapis_of(store).by_id("other", made.id) is None


async def test_an_owner_has_a_name_once_and_the_loser_leaves_nothing(store: Store) -> None:
    subscriptions = [make_subscription() for _ in range(5)]
    tries = [tapis_of(store).add(named("same", one), [one]) for one in subscriptions]
    ends = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(end, Conflict) for end in ends) == 4
    found = [await store.subscriptions.get("default", one.id) for one in subscriptions]
    assert sum(one is not None for one in found) == 1
    await tapis_of(store).add(named("same", owner="bob"), [])


async def test_an_expired_name_is_not_found_and_free_again(store: Store) -> None:
    past = utc_now() - timedelta(seconds=1)
    old = make_subscription(expires_at=past)
    await tapis_of(store).add(named("s1", old, expires_at=past), [old])
    assert await tapis_of(store).by_name("default", "alice", "s1") is None
    assert await tapis_of(store).listed("default") == []
    await tapis_of(store).add(named("s1"), [])
    assert await store.subscriptions.get("default", old.id) is None


async def test_lists_are_of_an_owner_and_of_a_subject(store: Store) -> None:
    for name, owner, subject in (("a", "alice", "job-1"), ("b", "alice", "*"), ("c", "bob", "job-1")):
        await tapis_of(store).add(named(name, owner=owner, subject_filter=subject), [])
    assert [one.name for one in await tapis_of(store).listed("default")] == ["c", "b", "a"]
    assert [one.name for one in await tapis_of(store).listed("default", "alice")] == ["b", "a"]
    assert [one.name for one in await tapis_of(store).listed("default", None, "job-1")] == ["c", "a"]
    assert await tapis_of(store).listed("other") == []


async def test_a_change_keeps_adds_and_removes_members_together(store: Store) -> None:
    kept, dropped, added = make_subscription(), make_subscription(), make_subscription()
    made = named("s1", kept, dropped)
    await tapis_of(store).add(made, [kept, dropped])
    changed = replace(made, members=(kept.id, added.id), document=b'{"a":1}')
    await tapis_of(store).save(changed, changed=[replace(kept, revision=2, job_id="job-9")], added=[added])
    assert await tapis_of(store).by_name("default", "alice", "s1") == changed
    members = await tapis_of(store).members([changed])
    assert members[kept.id].job_id == "job-9"
    assert await store.subscriptions.get("default", dropped.id) is None


async def test_a_change_that_was_outrun_changes_nothing(store: Store) -> None:
    member, added = make_subscription(), make_subscription()
    made = named("s1", member)
    await tapis_of(store).add(made, [member])
    late = replace(made, members=(member.id, added.id))
    with pytest.raises(Conflict):
        await tapis_of(store).save(late, changed=[replace(member, revision=7)], added=[added])
    assert await tapis_of(store).by_name("default", "alice", "s1") == made
    assert await store.subscriptions.get("default", added.id) is None


async def test_what_was_removed_is_gone_with_its_members(store: Store) -> None:
    member = make_subscription()
    made = named("s1", member)
    await tapis_of(store).add(made, [member])
    assert await tapis_of(store).remove(made)
    assert not await tapis_of(store).remove(made)
    assert await tapis_of(store).by_id("default", made.id) is None
    assert await store.subscriptions.get("default", member.id) is None
    with pytest.raises(Conflict):
        await tapis_of(store).save(made)


async def test_the_end_of_a_subject_lets_what_waits_go_out(store: Store, process: int) -> None:
    member, other = make_subscription(job_id="job-1"), make_subscription()
    made = named("s1", member, subject_filter="job-1")
    await tapis_of(store).add(made, [member])
    await tapis_of(store).add(named("s2", other), [other])
    event = make_event()
    due = make_delivery(event, member, claimed=False, due_at=utc_now())
    await store.events.accept(process, [event], [due])
    assert await tapis_of(store).end_subject("default", "job-1") == 1
    assert await tapis_of(store).by_id("default", made.id) is None
    assert [
        one.id for one in await store.subscriptions.find_matching([member.match_key, other.match_key])
    ] == [other.id]
    assert [one.id for one in await claim(store, process, 10)] == [due.id]
    assert await tapis_of(store).end_subject("default", "job-1") == 0


async def test_each_event_of_a_series_gets_the_next_number_until_it_ends(store: Store) -> None:
    series = ("default", "Jobs", "job-1", "job-1")
    counted = await asyncio.gather(*(tapis_of(store).count_on(*series) for _ in range(20)))
    assert sorted(counted) == list(range(1, 21))
    assert await tapis_of(store).count_on("other", *series[1:]) == 1
    assert await tapis_of(store).end_series(*series)
    assert not await tapis_of(store).end_series(*series)
    assert await tapis_of(store).count_on(*series) == 1


async def test_a_series_may_have_names_of_any_length(store: Store) -> None:
    series = ("default", "\N{COW}" * 1024, "\N{CAT}" * 1024, "".join(map(chr, range(1, 30_000))))
    assert [await tapis_of(store).count_on(*series) for _ in range(2)] == [1, 2]
    assert await tapis_of(store).count_on(*series[:3], series[3] + "x") == 1
    assert await tapis_of(store).end_series(*series)


async def test_a_notification_is_recorded_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.compat.tapis_v3.recorded.MAX_RECORDED", 2)
    key = new_id("sub")
    for uuid in ("a", "a", "b"):
        assert await tapis_of(store).record(key, uuid, uuid.encode())
    assert not await tapis_of(store).record(key, "c", b"c")
    assert await tapis_of(store).recorded(key) == [b"a", b"b"]
    assert await tapis_of(store).recorded(new_id("sub")) == []


async def test_subscriptions_go_with_their_members_when_they_have_expired(store: Store) -> None:
    async def named(name: str, age: timedelta) -> str:
        member = make_subscription()
        one = TapisSubscription(
            id=new_id("sub"),
            created_at=utc_now(),
            expires_at=utc_now() - age,
            tenant="default",
            owner="alice",
            name=name,
            subject_filter="*",
            members=(member.id,),
            document=b"{}",
        )
        # The members come last: making one removes those of its owner that have expired.
        await tapis_of(store).add(one, [member])
        return member.id

    await named("young", -DAY)
    shown = await keys(store, tapis_subscriptions)
    gone = await named("old", -DAY)
    [old_key] = await keys(store, tapis_subscriptions) - shown
    expired = update(tapis_subscriptions).where(tapis_subscriptions.c.id == old_key)
    before = utc_now() - 31 * DAY
    await run(store, lambda c: c.execute(expired.values(expires_at=before)))
    note = {"uuid": "u", "document": b"{}"}
    orphan = new_id("sub")
    await put(
        store,
        tapis_notifications,
        note | {"subscription_id": old_key, "received_at": utc_now()},
        note | {"subscription_id": orphan, "received_at": utc_now() - 2 * DAY},
        note | {"subscription_id": next(iter(shown)), "received_at": utc_now() - 2 * DAY},
    )
    await tapis_of(store).purge(KEEP)
    assert await keys(store, tapis_subscriptions) == shown
    assert await keys(store, tapis_notifications) == shown
    assert await store.subscriptions.get("default", gone) is None


async def test_series_go_when_nothing_was_published_in_them_and_those_without_a_time_begin_to_age(
    store: Store,
) -> None:
    row: dict[str, object] = {"tenant": "default", "source": "s", "series": "x", "count": 3}
    old_one, now = utc_now() - 31 * DAY, utc_now()
    await put(
        store,
        tapis_series,
        row | {"subject": "old", "updated_at": old_one},
        row | {"subject": "young", "updated_at": now},
        row | {"subject": "before", "updated_at": None},
    )
    assert await tapis_of(store).count_on("default", "s", "young", "x") == 4
    assert (await tapis_of(store).purge(KEEP))["tapis_series"] == 1
    found = await run(
        store, lambda c: dict(c.execute(select(tapis_series.c.subject, tapis_series.c.updated_at)).all())
    )
    assert found.keys() == {"young", "before"}
    assert all(at is not None for at in found.values())


async def test_the_purge_goes_through_a_table_chunk_by_chunk_past_what_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.purge.CHUNK", 3)
    monkeypatch.setattr("dispatcher.compat.tapis_v3.repository.CLEANED", 1)
    now, days = utc_now(), [31, 1, 31, 31, 31, 1, 1, 1, 31]
    expired = [named(f"n{number}", expires_at=now - age * DAY) for number, age in enumerate(days)]
    fields = ("id", "created_at", "expires_at", "tenant", "owner", "name", "subject_filter", "document")
    rows: list[dict[str, object]] = [
        {name: getattr(one, name) for name in fields} | {"members": ""} for one in expired
    ]
    series: list[dict[str, object]] = [
        {
            "tenant": f"t{number // 4}",
            "source": "s",
            "subject": f"{number}",
            "series": "x",
            "count": 1,
            "updated_at": now - age * DAY,
        }
        for number, age in enumerate(days)
    ]
    notes: list[dict[str, object]] = [
        {
            "subscription_id": new_id("sub"),
            "uuid": f"{age}",
            "document": b"{}",
            "received_at": now - age * DAY,
        }
        for age in (2, 0, 2, 2, 2, 0, 2)
    ]
    await put(store, tapis_subscriptions, *rows)
    await put(store, tapis_series, *series)
    await put(store, tapis_notifications, *notes)
    deleted = await tapis_of(store).purge(KEEP)
    assert deleted == {"tapis_subscriptions": 5, "tapis_series": 5, "tapis_notifications": 5}
    assert await keys(store, tapis_subscriptions) == {
        one.id for one, age in zip(expired, days, strict=True) if age == 1
    }
