"""Statuses at a target that keeps state: a later one is never followed by an earlier one, whatever is retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from aiohttp import web

from dispatcher.compat.tethys.target import TethysKind
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.delivery.conftest import Running, deliveries, settled
from tests.factories import make_event, make_subscription
from tests.receiver import Arrived, Receiver

STATUSES = ("processing", "finished")


@pytest.fixture
async def portal() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(Guard([ip_network("127.0.0.0/8")]), timeout=5)
    yield egress
    await egress.close()


def statuses(arrived: list[Arrived]) -> list[str]:
    return [one.path.partition("status=")[2] for one in arrived]


async def taken(_: Arrived) -> web.Response:
    return web.json_response({"success": True})


def notified(portal: Receiver) -> Subscription:
    return make_subscription(
        target={"kind": "tethys", "portal": portal.url, "job": "$<JOB_ID>", "form": "dask"},
        destination=portal.url,
        retry=RetryPolicy(strategy="delayed", delay=0.3, jitter=0),
    )


def happened(event: str, job_id: str = "job-1") -> Event:
    """An event that is accepted now: its deliveries have their whole `max_age`."""
    return make_event(event=event, job_id=job_id, accepted_at=utc_now())


class Process(Running):
    """An engine with the real kind, over a store that others may use too."""

    def __init__(self, store: Store, egress: Egress) -> None:
        kind = TethysKind(egress, store.target_statuses)
        super().__init__(store, kind, Limits())


async def test_a_retried_status_does_not_revive_a_job_that_has_ended(
    store: Store, portal: Receiver, egress: Egress
) -> None:
    async def fails_first(arrived: Arrived) -> web.Response:
        if len(portal.arrived) == 1:
            return web.Response(status=502)
        return await taken(arrived)

    portal.answer = fails_first
    await store.subscriptions.add(notified(portal))
    async with Process(store, egress).runs() as process:
        await process.accept(happened("RUNNING"))
        await portal.until(lambda arrived: len(arrived) == 1)
        await process.accept(happened("FINISHED"))
        running, finished = await settled(store, {State.SUPERSEDED: 1, State.DELIVERED: 1})

    assert statuses(portal.arrived) == ["processing", "finished"]
    assert (running.state, running.attempts) == (State.SUPERSEDED, 1)
    assert running.reason == "a later status of this job has arrived at the portal"
    assert finished.state is State.DELIVERED


async def test_a_later_status_waits_for_an_earlier_one_that_is_on_its_way(
    store: Store, portal: Receiver, egress: Egress
) -> None:
    go_on = asyncio.Event()
    ended: list[str] = []

    async def slow(arrived: Arrived) -> web.Response:
        if "processing" in arrived.path:
            await go_on.wait()
        ended.extend(statuses([arrived]))
        return await taken(arrived)

    portal.answer = slow
    await store.subscriptions.add(notified(portal))
    async with Process(store, egress).runs() as process:
        await process.accept(happened("RUNNING"))
        await portal.until(lambda arrived: len(arrived) == 1)
        await process.accept(happened("FINISHED"), happened("FINISHED", job_id="job-2"))
        await portal.until(lambda arrived: len(arrived) == 2)
        assert "/job-2/" in portal.arrived[1].path
        go_on.set()
        await settled(store, {State.DELIVERED: 3})

    assert ended == ["finished", "processing", "finished"]


async def test_a_status_that_a_portal_refuses_after_the_end_of_its_job_is_superseded(
    store: Store, portal: Receiver, egress: Egress
) -> None:
    async def finished(_: Arrived) -> web.Response:
        return web.json_response({"success": False, "error": "job has already finished"}, status=409)

    portal.answer = finished
    target = {"kind": "tethys", "portal": portal.url, "job": "$<JOB_ID>", "form": "report", "token": "t"}
    await store.subscriptions.add(make_subscription(target=target, destination=portal.url))
    async with Process(store, egress).runs() as process:
        await process.accept(happened("RUNNING"))
        (running,) = await settled(store, {State.SUPERSEDED: 1})
        (attempt,) = await store.deliveries.attempts(running.id)

    assert (running.attempts, running.reason) == (1, attempt.error)
    assert (attempt.status, attempt.error) == (
        409,
        "the job has already finished in the portal, which keeps that",
    )
    assert len(portal.arrived) == 1


async def test_with_two_processes_the_last_status_is_the_last_that_arrives(
    store: Store, portal: Receiver, egress: Egress
) -> None:
    """Every other request fails, so that many are retried, by whichever process claims them."""

    async def every_other(arrived: Arrived) -> web.Response:
        return web.Response(status=502) if len(portal.arrived) % 2 else await taken(arrived)

    portal.answer = every_other
    await store.subscriptions.add(notified(portal))
    jobs = [f"job-{number}" for number in range(8)]
    async with Process(store, egress).runs() as one, Process(store, egress).runs() as other:
        for process, event in ((one, "QUEUED"), (other, "RUNNING"), (one, "FINISHED")):
            await process.accept(*(happened(event, job_id=job) for job in jobs))
        async with asyncio.timeout(40):
            while not all(one.state.final for one in await deliveries(store)):  # noqa: ASYNC110 - only the store knows
                await asyncio.sleep(0.05)

    order = ["pending", "processing", "finished"]
    good = [arrived for number, arrived in enumerate(portal.arrived, 1) if number % 2 == 0]
    for job in jobs:
        arrived = [order.index(status) for status in statuses([a for a in good if f"/{job}/" in a.path])]
        assert arrived == sorted(arrived)
        assert arrived[-1] == order.index("finished")
