"""Both clients against the real API: what they send is understood, and what comes back is typed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.client import Client, Conflict, Forbidden, InvalidRequest, NotFound, Unauthorized, WaitTimeout
from dispatcher.client.models import RateLimit, RetryPolicy
from dispatcher.domain.deliveries import State
from tests.api.conftest import ADMIN_KEY, HOOK, Api
from tests.client.conftest import Caller

TARGET = {"kind": "webhook", "url": HOOK}
EVENT = {"event": "FINISHED", "job_id": "job-1", "owner": "alice"}


async def test_a_subscription_lives_from_its_creation_to_its_end(api: Api, call: Caller) -> None:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    made = await call(
        api.url,
        lambda client: client.subscriptions.create(
            events=["FINISHED"],
            target=TARGET,
            retry=RetryPolicy(strategy="none"),
            rate_limit=RateLimit(5.0, 2),
            expires_at=expires,
        ),
        ADMIN_KEY,
    )
    assert (made.status, made.expires_at, made.rate_limit) == ("active", expires, RateLimit(5.0, 2))
    assert made.secret.startswith("whsec_")

    changed = await call(
        api.url, lambda client: client.subscriptions.update(made.id, name="new", expires_at=None), ADMIN_KEY
    )
    assert (changed.name, changed.expires_at, changed.events) == ("new", None, ("FINISHED",))
    paused = await call(api.url, lambda client: client.subscriptions.pause(made.id), ADMIN_KEY)
    resumed = await call(api.url, lambda client: client.subscriptions.resume(made.id), ADMIN_KEY)
    assert (paused.status, resumed.status) == ("paused", "active")
    rotated = await call(api.url, lambda client: client.subscriptions.rotate_secret(made.id), ADMIN_KEY)
    assert rotated.secret != made.secret
    assert rotated.previous_secret_until is not None

    await call(api.url, lambda client: client.subscriptions.delete(made.id), ADMIN_KEY)
    with pytest.raises(NotFound):
        await call(api.url, lambda client: client.subscriptions.get(made.id), ADMIN_KEY)


async def test_an_event_is_published_listed_shown_and_replayed(api: Api, call: Caller) -> None:
    await api.admin.subscribe()
    first = await call(api.url, lambda client: client.publish(EVENT | {"id": "one"}), ADMIN_KEY)
    again = await call(api.url, lambda client: client.publish(EVENT | {"id": "one"}), ADMIN_KEY)
    assert (first.accepted, again.duplicates, again.ids) == (1, 1, first.ids)

    since = datetime.now(UTC) - timedelta(minutes=1)
    listed = await call(api.url, lambda client: client.events.list(since=since), ADMIN_KEY)
    assert [(event.id, event.source_id) for event in listed] == [(first.ids[0], "one")]
    shown = await call(api.url, lambda client: client.events.get(first.ids[0]), ADMIN_KEY)
    assert shown.document["subject"] == "job-1"
    replayed = await call(api.url, lambda client: client.events.replay(first.ids[0]), ADMIN_KEY)
    assert len(replayed.deliveries) == 1


async def test_deliveries_are_listed_retried_and_cancelled(api: Api, call: Caller) -> None:
    await api.admin.subscribe()
    await api.admin.publish()
    [id] = await api.settle(State.EXHAUSTED, "answered 500")
    [listed] = await call(api.url, lambda client: client.deliveries.list(state="exhausted"), ADMIN_KEY)
    assert (listed.id, listed.ended, listed.reason) == (id, True, "answered 500")
    counted = await call(api.url, lambda client: client.deliveries.retry_many(dry_run=True), ADMIN_KEY)
    assert counted == 1
    retried = await call(api.url, lambda client: client.deliveries.retry(id), ADMIN_KEY)
    assert (retried.state, retried.latest_attempts[0].status) == ("pending", 500)
    cancelled = await call(api.url, lambda client: client.deliveries.cancel(id), ADMIN_KEY)
    assert cancelled.state == "cancelled"
    with pytest.raises(Conflict):
        await call(api.url, lambda client: client.deliveries.cancel(id), ADMIN_KEY)


async def test_iterating_a_list_asks_for_one_page_after_the_other(api: Api, call: Caller) -> None:
    for number in range(5):
        await api.admin.publish(job_id=f"job-{number}")
    names = [f"job-{number}" for number in reversed(range(5))]
    found = await call(api.url, lambda client: client.events.list(page_size=2), ADMIN_KEY)
    assert [event.job_id for event in found] == names
    first = await call(api.url, lambda client: client.events.list().collect(3), ADMIN_KEY)
    assert [event.job_id for event in first] == names[:3]
    page = await call(api.url, lambda client: client.events.list(page_size=4).page(), ADMIN_KEY)
    rest = await call(api.url, lambda client: client.events.list().page(page.next), ADMIN_KEY)
    assert [event.job_id for event in (*page.items, *rest.items)] == names


async def test_a_job_is_waited_for_until_it_ends(api: Api, call: Caller) -> None:
    waiting = asyncio.create_task(
        call(api.url, lambda client: client.jobs.wait("job-1", timeout=30), ADMIN_KEY)
    )
    await api.admin.publish("RUNNING")
    await api.admin.publish("FINISHED")
    status = await waiting
    assert (status.reached, status.terminal, status.status) == (True, True, "FINISHED")
    with pytest.raises(WaitTimeout, match="job job-2 did not reach terminal"):
        await call(api.url, lambda client: client.jobs.wait("job-2", timeout=0.01), ADMIN_KEY)


async def test_admins_manage_keys_quotas_and_destinations(api: Api, call: Caller) -> None:
    key = await call(
        api.url,
        lambda client: client.keys.create(name="ci", owner="alice", scopes=["publish", "subscribe"]),
        ADMIN_KEY,
    )
    await call(api.url, lambda client: client.publish(EVENT), key.key)
    with pytest.raises(Forbidden):
        await call(api.url, lambda client: client.keys.list(), key.key)
    await call(api.url, lambda client: client.keys.delete(key.id), ADMIN_KEY)
    with pytest.raises(Unauthorized):
        await call(api.url, lambda client: client.publish(EVENT), key.key)

    quota = await call(api.url, lambda client: client.quotas.set("alice", waiters=3), ADMIN_KEY)
    assert quota.waiters == 3
    await call(api.url, lambda client: client.quotas.reset("alice"), ADMIN_KEY)

    destination = (await api.admin.subscribe())["destination"]
    held = await call(api.url, lambda client: client.destinations.pause(destination, reason="x"), ADMIN_KEY)
    assert held.paused_reason == "x"
    limited = await call(
        api.url, lambda client: client.destinations.limit(destination, RateLimit(2.0)), ADMIN_KEY
    )
    assert limited.rate_limit == RateLimit(2.0, 1)


async def test_a_server_says_that_it_is_ready_and_what_it_counts(api: Api, call: Caller) -> None:
    ready = await call(api.url, lambda client: client.service.ready())
    assert (ready.status, ready.parts) == ("ok", ["database"])
    assert "dispatcher_" in await call(api.url, lambda client: client.service.metrics())


async def test_what_is_wrong_is_named(api: Api, call: Caller) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await call(api.url, lambda client: client.subscriptions.create(events=[], target=TARGET), ADMIN_KEY)
    assert [fault.field for fault in caught.value.problem.errors] == ["events"]


async def test_one_client_serves_many_threads(api: Api) -> None:
    threads = 8
    together = threading.Barrier(threads)

    def publish(number: int) -> str:
        together.wait(10)
        return str(client.publish(EVENT | {"id": f"event-{number}"}).ids[0])

    def run() -> list[str]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(publish, range(threads)))

    with Client(api.url, ADMIN_KEY) as client:
        ids = await asyncio.to_thread(run)
    assert len(set(ids)) == threads
