"""Which subscriptions want an event: over the real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dispatcher.domain import events
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.subscriptions import Subscription, event_match_keys
from dispatcher.intake.matcher import Matcher, _Page
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.store.store import Store
from dispatcher.telemetry import time_slices
from dispatcher.telemetry.metrics import INTERNAL_ERRORS
from dispatcher.telemetry.time_slices import TimeSlices
from tests.factories import make_event, make_subscription


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/test.db", Sealer(["a key of thirty-two characters or more"]))
    await store.open()
    yield store
    await store.close()


async def matched(store: Store, event: Event, *subscriptions: Subscription) -> list[str]:
    for subscription in subscriptions:
        await store.subscriptions.add(subscription)
    return [subscription.name for _, subscription in await Matcher(store).match([event])]


WANTED: list[dict[str, Any]] = [
    {"job_id": "job-1"},
    {"owner": "alice"},
    {"owner": "*"},
    {"events": ("@terminal",)},
    {"filters": ({"prefix": {"type": "job."}},)},
    {"expires_at": utc_now() + timedelta(days=1)},
    {"status": "paused"},
]
UNWANTED: list[dict[str, Any]] = [
    {"job_id": "job-2"},
    {"owner": "bob"},
    {"job_id": "job-1", "owner": "bob"},
    {"tenant": "other"},
    {"events": ("RUNNING",)},
    {"filters": ({"exact": {"owner": "bob"}},)},
    {"expires_at": utc_now() - timedelta(seconds=1)},
    {"status": "disabled"},
    {"status": "completed"},
]


@pytest.mark.parametrize("which", WANTED)
async def test_an_event_goes_to_who_wants_it(store: Store, which: dict[str, Any]) -> None:
    assert await matched(store, make_event(), make_subscription(name="it", **which)) == ["it"]


@pytest.mark.parametrize("which", UNWANTED)
async def test_an_event_goes_to_no_one_else(store: Store, which: dict[str, Any]) -> None:
    assert await matched(store, make_event(), make_subscription(**which)) == []


async def test_an_event_without_an_owner_is_seen_by_those_who_want_every_job_only(store: Store) -> None:
    subscriptions = [
        make_subscription(name="every", owner="*"),
        make_subscription(name="alice", owner="alice"),
        make_subscription(name="job", job_id="job-1"),
    ]
    assert await matched(store, make_event(owner=None), *subscriptions) == ["every"]


async def test_a_granted_job_is_seen_until_the_grant_is_taken_back(store: Store) -> None:
    process = await store.leases.register("host", 1, 60)
    subscription = make_subscription(name="bob's", job_id="job-1", owner="bob", subscriber="bob")
    grant = make_event(event="PERMISSION_GRANT", data={"username": "bob"})
    revoke = make_event(
        event="PERMISSION_REVOKE", data={"username": "bob"}, time=grant.time + timedelta(seconds=1)
    )
    assert await matched(store, make_event(), subscription) == []
    await store.events.accept(process, [grant], [])
    assert await matched(store, make_event()) == ["bob's"]
    await store.events.accept(process, [revoke], [])
    assert await matched(store, make_event()) == []


async def test_what_follows_a_revocation_in_the_same_batch_is_not_seen(store: Store) -> None:
    process = await store.leases.register("host", 1, 60)
    await store.subscriptions.add(make_subscription(job_id="job-1", owner="bob", subscriber="bob"))
    grant = make_event(event="PERMISSION_GRANT", data={"username": "bob"})
    await store.events.accept(process, [grant], [])
    before, after, again = make_event(), make_event(), make_event()
    revoke = make_event(event="PERMISSION_REVOKE", data={"username": "bob"})
    other = make_event(event="PERMISSION_REVOKE", data={"username": "carol"})

    matches = await Matcher(store).match([before, other, revoke, after, grant, again])

    assert [event for event, _ in matches] == [before, other, revoke, again]


async def test_others_have_turns_between_the_filters_of_one_event(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    monkeypatch.setattr(time_slices, "SLICE", 0.0)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for _ in range(20):
        await store.subscriptions.add(make_subscription(filters=({"sql": "source = '/jobs'"},)))
    event = make_event()
    page = _Page(await store.subscriptions.find_matching(event_match_keys(event)))
    others = asyncio.create_task(count_turns())
    assert len(await page.filtered_places(event, event_match_keys(event), TimeSlices())) == 20
    others.cancel()
    assert turns >= 20


async def test_a_batch_keeps_the_order_of_its_events(store: Store) -> None:
    await store.subscriptions.add(make_subscription())
    events = [make_event(job_id=f"job-{n}") for n in range(20)]
    matches = await Matcher(store).match(events)
    assert [event for event, _ in matches] == events


async def test_one_whose_filters_cannot_be_read_hides_no_event_from_the_others(store: Store) -> None:
    unknown = make_subscription(name="broken", filters=({"regex": {"type": "job."}},))
    before = INTERNAL_ERRORS.labels("match")._value.get()
    assert await matched(store, make_event(), unknown, make_subscription(name="it")) == ["it"]
    assert INTERNAL_ERRORS.labels("match")._value.get() == before + 1


async def test_a_long_document_is_decoded_once_for_all_filters(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    decode = events._decode_document

    def counted(document: bytes) -> dict[str, object]:
        nonlocal decoded
        decoded += 1
        return decode(document)

    for number in range(20):
        filters: Any = ({"data": {f"x{number}": {"exists": False}}}, {"sql": "NOT EXISTS lab AND hop < 3"})
        await store.subscriptions.add(make_subscription(filters=filters))
    event = make_event(data={"x": "a" * events.LONG_DOCUMENT})
    monkeypatch.setattr(events, "_decode_document", counted)
    await Matcher(store).match([event])
    assert decoded == 1
    await Matcher(store).select([[event]])
    assert decoded == 2
