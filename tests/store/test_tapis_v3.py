"""What is stored for Tapis v3, on each database in turn."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from dispatcher.store.tapis_v3 import Named
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription


def named(name: str, *members: Subscription, **changes: Any) -> Named:
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
    return Named(**fields | changes)


async def test_a_name_is_stored_with_all_its_members(store: Store) -> None:
    one, two = make_subscription(), make_subscription()
    made = named("s1", one, two)
    await store.tapis.add(made, [one, two])
    assert await store.tapis.by_name("default", "alice", "s1") == made
    assert await store.tapis.by_id("default", made.id) == await store.tapis.by_id(None, made.id) == made
    assert (await store.tapis.members([made])).keys() == {one.id, two.id}
    assert await store.tapis.by_name("other", "alice", "s1") is None
    assert await store.tapis.by_id("other", made.id) is None


async def test_an_owner_has_a_name_once_and_the_loser_leaves_nothing(store: Store) -> None:
    subscriptions = [make_subscription() for _ in range(5)]
    tries = [store.tapis.add(named("same", one), [one]) for one in subscriptions]
    ends = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(end, Conflict) for end in ends) == 4
    found = [await store.subscriptions.get("default", one.id) for one in subscriptions]
    assert sum(one is not None for one in found) == 1
    await store.tapis.add(named("same", owner="bob"), [])


async def test_an_expired_name_is_not_found_and_free_again(store: Store) -> None:
    past = utc_now() - timedelta(seconds=1)
    old = make_subscription(expires_at=past)
    await store.tapis.add(named("s1", old, expires_at=past), [old])
    assert await store.tapis.by_name("default", "alice", "s1") is None
    assert await store.tapis.listed("default") == []
    await store.tapis.add(named("s1"), [])
    assert await store.subscriptions.get("default", old.id) is None


async def test_lists_are_of_an_owner_and_of_a_subject(store: Store) -> None:
    for name, owner, subject in (("a", "alice", "job-1"), ("b", "alice", "*"), ("c", "bob", "job-1")):
        await store.tapis.add(named(name, owner=owner, subject_filter=subject), [])
    assert [one.name for one in await store.tapis.listed("default")] == ["c", "b", "a"]
    assert [one.name for one in await store.tapis.listed("default", "alice")] == ["b", "a"]
    assert [one.name for one in await store.tapis.listed("default", None, "job-1")] == ["c", "a"]
    assert await store.tapis.listed("other") == []


async def test_a_change_keeps_adds_and_removes_members_together(store: Store) -> None:
    kept, dropped, added = make_subscription(), make_subscription(), make_subscription()
    made = named("s1", kept, dropped)
    await store.tapis.add(made, [kept, dropped])
    changed = replace(made, members=(kept.id, added.id), document=b'{"a":1}')
    await store.tapis.save(changed, changed=[replace(kept, revision=2, job_id="job-9")], added=[added])
    assert await store.tapis.by_name("default", "alice", "s1") == changed
    members = await store.tapis.members([changed])
    assert members[kept.id].job_id == "job-9"
    assert await store.subscriptions.get("default", dropped.id) is None


async def test_a_change_that_was_outrun_changes_nothing(store: Store) -> None:
    member, added = make_subscription(), make_subscription()
    made = named("s1", member)
    await store.tapis.add(made, [member])
    late = replace(made, members=(member.id, added.id))
    with pytest.raises(Conflict):
        await store.tapis.save(late, changed=[replace(member, revision=7)], added=[added])
    assert await store.tapis.by_name("default", "alice", "s1") == made
    assert await store.subscriptions.get("default", added.id) is None


async def test_what_was_removed_is_gone_with_its_members(store: Store) -> None:
    member = make_subscription()
    made = named("s1", member)
    await store.tapis.add(made, [member])
    assert await store.tapis.remove(made)
    assert not await store.tapis.remove(made)
    assert await store.tapis.by_id("default", made.id) is None
    assert await store.subscriptions.get("default", member.id) is None
    with pytest.raises(Conflict):
        await store.tapis.save(made)


async def test_the_end_of_a_subject_lets_what_waits_go_out(store: Store, process: int) -> None:
    member, other = make_subscription(job_id="job-1"), make_subscription()
    made = named("s1", member, subject_filter="job-1")
    await store.tapis.add(made, [member])
    await store.tapis.add(named("s2", other), [other])
    event = make_event()
    due = make_delivery(event, member, claimed=False, due_at=utc_now())
    await store.events.accept(process, [event], [due])
    assert await store.tapis.end_subject("default", "job-1") == 1
    assert await store.tapis.by_id("default", made.id) is None
    assert [
        one.id for one in await store.subscriptions.find_matching([member.match_key, other.match_key])
    ] == [other.id]
    assert [one.id for one in await claim(store, process, 10)] == [due.id]
    assert await store.tapis.end_subject("default", "job-1") == 0


async def test_each_event_of_a_series_gets_the_next_number_until_it_ends(store: Store) -> None:
    series = ("default", "Jobs", "job-1", "job-1")
    counted = await asyncio.gather(*(store.tapis.count_on(*series) for _ in range(20)))
    assert sorted(counted) == list(range(1, 21))
    assert await store.tapis.count_on("other", *series[1:]) == 1
    assert await store.tapis.end_series(*series)
    assert not await store.tapis.end_series(*series)
    assert await store.tapis.count_on(*series) == 1


async def test_a_series_may_have_names_of_any_length(store: Store) -> None:
    series = ("default", "\N{COW}" * 1024, "\N{CAT}" * 1024, "".join(map(chr, range(1, 30_000))))
    assert [await store.tapis.count_on(*series) for _ in range(2)] == [1, 2]
    assert await store.tapis.count_on(*series[:3], series[3] + "x") == 1
    assert await store.tapis.end_series(*series)


async def test_a_notification_is_recorded_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.store.tapis_v3.MAX_RECORDED", 2)
    key = new_id("sub")
    for uuid in ("a", "a", "b"):
        assert await store.tapis.record(key, uuid, uuid.encode())
    assert not await store.tapis.record(key, "c", b"c")
    assert await store.tapis.recorded(key) == [b"a", b"b"]
    assert await store.tapis.recorded(new_id("sub")) == []
