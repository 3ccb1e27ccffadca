"""What is asked for those who wait: a job's version changes with every event, in whichever order they are stored."""

from __future__ import annotations

from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.keys import ApiKey, hash_key
from dispatcher.store.store import Store
from dispatcher.store.waits import UNKNOWN, Version
from tests.factories import NOW, make_event

JOB = ("default", "j")


async def version_after(store: Store, process: int, *events: Event) -> Version:
    await store.events.accept(process, events, [])
    return (await store.waits.versions([JOB]))[JOB]


async def test_every_event_changes_the_version_of_its_job_with_any_publisher(
    store: Store, process: int
) -> None:
    assert await store.waits.versions([JOB]) == {JOB: UNKNOWN}
    early = make_event(job_id="j", event="FINISHED")  # stored last: it waited for the database
    seen = [
        await version_after(store, process, event)
        for event in (
            make_event(job_id="j", owner="bob", published_by="bob"),
            make_event(job_id="j", owner="alice", published_by="alice"),
            make_event(job_id="j", owner=None),
            make_event(job_id="j", owner="alice"),
            make_event(job_id="j", owner="alice", published_by="alice"),
            early,
        )
    ]
    assert len({UNKNOWN, *seen}) == 7


async def test_other_jobs_and_tenants_change_nothing(store: Store, process: int) -> None:
    before = await version_after(store, process, make_event(job_id="j"))
    others = (make_event(job_id="J"), make_event(job_id="j2"), make_event(job_id="j", tenant="other"))
    assert await version_after(store, process, *others) == before


async def test_any_number_of_jobs_and_any_names_may_be_asked_for(store: Store, process: int) -> None:
    names = [f"job {number}" for number in range(1100)] + ["ü'\"[]{}", "a\x1fb", "\ud800", "nul\0"]
    await store.events.accept(process, [make_event(job_id="ü'\"[]{}")], [])
    found = await store.waits.versions([("default", name) for name in names])
    assert len(found) == len(names)
    assert [name for (_, name), version in found.items() if version != UNKNOWN] == ["ü'\"[]{}"]


async def test_what_is_seen_of_a_job_is_what_the_viewer_may_see(store: Store, process: int) -> None:
    events = [make_event(job_id="j", event=name) for name in ("RUNNING", "PAUSED", "RUNNING")]
    version = await version_after(store, process, *events)
    hers, admins, bobs = [await store.waits.seen(JOB, viewer, 2) for viewer in ("alice", None, "bob")]
    assert hers == admins
    assert [event.key for event in hers.events.items] == [event.key for event in reversed(events[1:])]
    assert hers.events.next is not None
    assert (bobs.version, bobs.job, bobs.events.items) == (version, None, [])


async def test_a_key_is_known_until_it_is_deleted(store: Store) -> None:
    keys = [
        ApiKey(id=new_id("key"), name="k", owner="o", tenant="default", scopes=(), created_at=NOW)
        for _ in range(2)
    ]
    for key in keys:
        await store.keys.add(key, hash_key(key.id))
    ids = [key.id for key in keys]
    assert await store.waits.known_keys([*ids, new_id("key")]) == set(ids)
    await store.keys.remove("default", ids[0])
    assert await store.waits.known_keys(ids) == {ids[1]}
