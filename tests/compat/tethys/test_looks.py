"""The form "job": a portal looks at a job at most every ten seconds, and says of every request that it did.

It is asked so that the last status of the job arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web

from dispatcher.compat.tethys import target as tethys_target
from dispatcher.compat.tethys.target import TethysKind
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.encryption import Sealer
from dispatcher.store.store import Store
from dispatcher.targets.http.egress import Egress
from tests.delivery.conftest import Running, deliveries, settled
from tests.e2e.service import Service
from tests.factories import make_event, make_subscription
from tests.receiver import Arrived, Receiver
from tests.stores import prepared_store

INTERVAL = 1.0
"""Seconds, in place of ten."""

SEALER = Sealer(["a key of thirty-two characters or more"])


class Portal:
    """A portal that has just started its jobs: what it shows of each, and when it was asked."""

    def __init__(self, receiver: Receiver) -> None:
        self.url = receiver.url
        self.status: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.asked: dict[str, list[float]] = {}
        self.refuses = 0
        self._looked_at: dict[str, float] = {}
        receiver.answer = self

    def start(self, *jobs: str) -> None:
        self._looked_at |= dict.fromkeys(jobs, monotonic())

    def look(self, job: str) -> None:
        """What the portal does when asked, and when somebody opens its page."""
        now = monotonic()
        if now - self._looked_at.get(job, 0.0) > INTERVAL:
            self.shown[job] = self.status[job]
            self._looked_at[job] = now

    async def __call__(self, arrived: Arrived) -> web.Response:
        job = arrived.path.removeprefix("/update-job-status/").rstrip("/")
        self.asked.setdefault(job, []).append(monotonic())
        if self.refuses:
            self.refuses -= 1
            return web.Response(status=502)
        self.look(job)
        return web.json_response({"success": True})

    def gaps(self, job: str = "27") -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.asked[job])]


@pytest.fixture(autouse=True)
def _short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tethys_target, "LOOK_INTERVAL", INTERVAL + 0.1)


@pytest.fixture
def portal(receiver: Receiver) -> Portal:
    return Portal(receiver)


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with prepared_store(sqlite_url, SEALER) as store:
        yield store


class Process(Running):
    """An engine with the real kind, that hears of jobs as they change."""

    def __init__(self, store: Store, egress: Egress, portal: Portal) -> None:
        super().__init__(store, TethysKind(egress, store.target_statuses), Limits())
        self._portal = portal

    async def changes(self, status: str, *jobs: str) -> None:
        self._portal.status |= dict.fromkeys(jobs or ("27",), status)
        await self.accept(*(happened(status, job) for job in jobs or ("27",)))


def happened(status: str, job: str) -> Event:
    return make_event(event=status, job_id=job, accepted_at=utc_now())


def notified(portal: Portal, *events: str, **changes: object) -> Subscription:
    return make_subscription(
        events=events or ("*",),
        target={"kind": "tethys", "portal": portal.url, "job": "$<JOB_ID>"},
        destination=portal.url,
        retry=RetryPolicy(strategy="delayed", delay=0.2, jitter=0),
        **changes,
    )


async def test_the_end_of_a_job_that_was_just_asked_about_arrives(
    store: Store, egress: Egress, portal: Portal
) -> None:
    await store.subscriptions.add(notified(portal))
    async with Process(store, egress, portal).runs() as process:
        await process.changes("RUNNING")
        await settled(store, {State.DELIVERED: 1})
        await process.changes("FINISHED")
        await settled(store, {State.DELIVERED: 2})

    assert portal.shown == {"27": "FINISHED"}
    assert len(portal.asked["27"]) == 2
    assert min(portal.gaps()) > INTERVAL


async def test_the_end_of_a_job_that_was_just_started_is_sent_at_once_and_arrives(
    store: Store, egress: Egress, portal: Portal
) -> None:
    await store.subscriptions.add(notified(portal, "@terminal"))
    portal.start("27")
    async with Process(store, egress, portal).runs() as process:
        began = monotonic()
        await process.changes("FAILED")
        (delivery,) = await settled(store, {State.DELIVERED: 1})

    assert portal.shown == {"27": "FAILED"}
    assert portal.asked["27"][0] - began < INTERVAL
    assert min(portal.gaps()) > INTERVAL
    assert delivery.attempts == 2


async def test_the_end_of_a_job_that_the_portal_looked_at_by_itself_arrives(
    store: Store, egress: Egress, portal: Portal
) -> None:
    await store.subscriptions.add(notified(portal))
    async with Process(store, egress, portal).runs() as process:
        portal.status["27"] = "RUNNING"
        portal.look("27")
        await process.changes("FINISHED")
        await settled(store, {State.DELIVERED: 1})

    assert portal.shown == {"27": "FINISHED"}


async def test_of_many_statuses_the_last_goes_first_when_the_portal_may_be_asked_again(
    store: Store, egress: Egress, portal: Portal
) -> None:
    await store.subscriptions.add(notified(portal))
    names = ("PENDING", "STAGING_INPUTS", "STAGED", "QUEUED", "RUNNING", "CLEANING_UP", "PAUSED")
    async with Process(store, egress, portal).runs() as process:
        for name in names:
            await process.changes(name)
        last = asyncio.get_running_loop().time()
        await settled(store, {State.DELIVERED: 2, State.SUPERSEDED: 5})

    assert asyncio.get_running_loop().time() - last < 3 * INTERVAL
    assert portal.shown == {"27": "PAUSED"}
    assert len(portal.asked["27"]) == 2
    assert min(portal.gaps()) > INTERVAL


async def test_a_retry_waits_for_its_time_too(store: Store, egress: Egress, portal: Portal) -> None:
    await store.subscriptions.add(notified(portal))
    portal.refuses = 1
    async with Process(store, egress, portal).runs() as process:
        await process.changes("PAUSED")
        await settled(store, {State.DELIVERED: 1})

    assert portal.shown == {"27": "PAUSED"}
    assert min(portal.gaps()) > INTERVAL


async def test_two_subscriptions_of_a_subscriber_ask_one_after_the_other(
    store: Store, egress: Egress, portal: Portal
) -> None:
    for _ in range(2):
        await store.subscriptions.add(notified(portal))
    async with Process(store, egress, portal).runs() as process:
        await process.changes("RUNNING")
        await settled(store, {State.DELIVERED: 2})

    assert min(portal.gaps()) > INTERVAL


async def test_another_job_does_not_wait(store: Store, egress: Egress, portal: Portal) -> None:
    await store.subscriptions.add(notified(portal))
    async with Process(store, egress, portal).runs() as process:
        began = monotonic()
        await process.changes("RUNNING", "27", "28", "29")
        await settled(store, {State.DELIVERED: 3})

    assert all(asked[0] - began < INTERVAL for asked in portal.asked.values())


async def test_processes_leave_a_job_alone_that_another_asked_about(
    postgres_url: str, egress: Egress, portal: Portal
) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(prepared_store(postgres_url, SEALER))
        await store.subscriptions.add(notified(portal))
        one, other = [
            await stack.enter_async_context(Process(store, egress, portal).runs()) for _ in range(2)
        ]
        await one.changes("QUEUED")
        await other.changes("RUNNING")
        await one.changes("FINISHED")
        async with asyncio.timeout(30):
            while not all(one.state.final for one in await deliveries(store)):  # noqa: ASYNC110 - only the store knows
                await asyncio.sleep(0.05)

    assert portal.shown == {"27": "FINISHED"}
    assert min(portal.gaps()) > INTERVAL


async def test_a_test_of_a_subscription_does_not_wait_for_the_second_request(
    tmp_path: Path, portal: Portal
) -> None:
    portal.status["27"] = "RUNNING"
    async with Service(tmp_path, database_url=f"sqlite:///{tmp_path / 'dispatcher.db'}") as service:
        target = {"kind": "tethys", "portal": portal.url, "job": "27"}
        made = await service.subscribe("", target=target)
        trial = await service.call("POST", f"/v1/subscriptions/{made['id']}/test")

    assert (trial["delivered"], trial["status"]) == (True, 200)
    assert len(portal.asked["27"]) == 1
