"""The whole service and a real Tethys portal, whose jobs really change: what counts is the portal's database."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.service import Service
from tests.receiver import Receiver
from tests.servers.tethys import DaskCluster, TethysPortal

ROOT = Path(__file__).parents[3]
INTERVAL = 10
"""Seconds between two looks of a portal at one of its jobs."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def portal() -> Iterator[TethysPortal]:
    """Yield a portal whose jobs run on a Dask cluster, or elsewhere."""
    subprocess.run([ROOT / "scripts/client.sh", "tethys"], check=True, timeout=300)
    with DaskCluster() as cluster, TethysPortal(cluster.address) as portal:
        yield portal


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Yield the service, over SQLite."""
    async with Service(
        tmp_path, database_url=f"sqlite:///{tmp_path / 'dispatcher.db'}", log_level="debug"
    ) as service:
        yield service


async def notify(service: Service, portal: TethysPortal, **target: Any) -> None:
    """Subscribe the portal to everything."""
    document = {"kind": "tethys", "portal": portal.url, "job": "$<JOB_NAME>"} | target
    await service.subscribe("", target=document, retry={"strategy": "none"})


async def ended(service: Service, event: dict[str, Any], seen: int = 0) -> Any:
    """The delivery of this event to the portal, once it is final; `seen` ones were there before."""
    await service.call("POST", "/v1/events", event)
    while True:
        listed = (await service.call("GET", "/v1/deliveries"))["items"]
        if len(listed) > seen and listed[0]["state"] not in ("pending", "delivering"):
            return await service.call("GET", f"/v1/deliveries/{listed[0]['id']}")
        await asyncio.sleep(0.1)  # nothing waits for a delivery


async def delivered(service: Service, portal: TethysPortal, event: dict[str, Any], **target: Any) -> Any:
    """The same of the only event."""
    await notify(service, portal, **target)
    return await ended(service, event)


@pytest.mark.parametrize(
    ("event", "status"), [("PAUSED", "PAS"), ("FINISHED", "COM"), ("FAILED", "ERR"), ("KILLED", "ABT")]
)
async def test_a_job_that_runs_elsewhere_gets_the_status_that_is_reported(
    service: Service, portal: TethysPortal, event: str, status: str
) -> None:
    name = f"reported-{event}"
    before = portal.job(name)
    document = {"event": event, "job_id": "1", "data": {"status_report_token": portal.tokens[name]}}
    delivery = await delivered(service, portal, document, form="report", job=str(before.id))

    after = portal.job(name)
    assert (before.status, before.completed_at) == ("PEN", None)
    assert (delivery["state"], delivery["reason"]) == ("delivered", None)
    assert after.status == status
    assert (after.completed_at is None) is (event == "PAUSED")


async def test_a_job_that_runs_elsewhere_is_followed_from_its_start_to_its_end(
    service: Service, portal: TethysPortal
) -> None:
    number, token = portal.job("whole-life").id, portal.tokens["whole-life"]
    await notify(service, portal, form="report", job=str(number), token=token)
    deliveries, seen = [], []
    for index, event in enumerate(("QUEUED", "RUNNING", "FINISHED", "RUNNING")):
        deliveries.append(await ended(service, {"event": event, "job_id": "1"}, index))
        seen.append((portal.job("whole-life").status, deliveries[-1]["state"]))

    assert seen == [("SUB", "delivered"), ("RUN", "delivered"), ("COM", "delivered"), ("COM", "superseded")]
    assert deliveries[-1]["reason"] == "the job has already finished in the portal, which keeps that"
    assert deliveries[-1]["latest_attempts"][0]["status"] == 409
    job = portal.job("whole-life")
    assert job.started_at is not None
    assert job.completed_at is not None
    assert token not in repr(service.lines)


async def test_a_token_of_another_job_changes_nothing_and_is_said(
    service: Service, portal: TethysPortal
) -> None:
    number, token = portal.job("bad-token").id, portal.tokens["basic"]
    document = {"event": "FINISHED", "job_id": "1"}
    delivery = await delivered(service, portal, document, form="report", job=str(number), token=token)

    assert portal.job("bad-token").status == "PEN"
    assert delivery["state"] == "exhausted"
    assert delivery["reason"].startswith("the portal refuses the token: it is not that of job")
    assert token not in repr(delivery)


async def test_a_job_that_the_portal_runs_may_be_reported_too(service: Service, portal: TethysPortal) -> None:
    number, token = portal.job("reported-dask").id, portal.tokens["reported-dask"]
    document = {"event": "FINISHED", "job_id": "1"}
    delivery = await delivered(service, portal, document, form="report", job=str(number), token=token)

    assert delivery["state"] == "delivered"
    assert portal.job("reported-dask").status == "COM"


@pytest.mark.parametrize(
    ("event", "name", "status"), [("FINISHED", "finishes", "COM"), ("FAILED", "fails", "ERR")]
)
async def test_a_dask_job_of_the_portal_gets_the_status_of_the_event(
    service: Service, portal: TethysPortal, event: str, name: str, status: str
) -> None:
    assert portal.job(name).status == "PEN"
    delivery = await delivered(
        service, portal, {"event": event, "job_id": "1", "job": {"name": name}}, form="dask"
    )

    assert (delivery["state"], delivery["reason"]) == ("delivered", None)
    assert portal.job(name).status == status


async def test_the_portal_asks_a_job_that_changed_for_its_status(
    service: Service, portal: TethysPortal
) -> None:
    before = portal.job("polled")
    delivery = await delivered(
        service, portal, {"event": "QUEUED", "job_id": "1", "job": {"name": str(before.id)}}
    )

    # What Dask reported to the portal, of a task that this portal has just asked for.
    assert (before.status, before.looked_at) == ("PEN", None)
    assert delivery["state"] == "delivered"
    assert portal.job("polled").status == "SUB"
    assert portal.job("polled").looked_at is not None


async def test_the_portal_looks_at_a_job_again_after_its_end_though_it_has_just_looked(
    service: Service, portal: TethysPortal
) -> None:
    number = portal.job("looked-at").id
    await notify(service, portal, job=str(number))
    running = await ended(service, {"event": "RUNNING", "job_id": "1"})
    first = portal.job("looked-at").looked_at
    finished = await ended(service, {"event": "FINISHED", "job_id": "1"}, 1)
    second = portal.job("looked-at").looked_at

    assert (running["state"], finished["state"]) == ("delivered", "delivered")
    assert first is not None
    assert second is not None
    assert (second - first).total_seconds() > INTERVAL


async def test_the_portal_looks_at_a_job_that_ended_right_after_its_start(
    service: Service, portal: TethysPortal
) -> None:
    number = portal.job("short").id
    portal.start_job("short")
    delivery = await delivered(service, portal, {"event": "FINISHED", "job_id": "1"}, job=str(number))

    assert delivery["state"] == "delivered"
    assert portal.job("short").looked_at is not None


async def test_a_basic_job_is_looked_at(service: Service, portal: TethysPortal) -> None:
    before = portal.job("basic")
    delivery = await delivered(
        service, portal, {"event": "RUNNING", "job_id": str(before.id)}, job="$<JOB_ID>"
    )

    assert before.looked_at is None
    assert delivery["state"] == "delivered"
    assert portal.job("basic").looked_at is not None


@pytest.mark.parametrize(("form", "job"), [("job", "999"), ("dask", "nothing")])
async def test_a_job_that_the_portal_does_not_know_ends_visibly(
    service: Service, portal: TethysPortal, form: str, job: str
) -> None:
    delivery = await delivered(
        service, portal, {"event": "FINISHED", "job_id": job}, job="${JOB_ID}", form=form
    )

    assert delivery["state"] == "exhausted"
    assert "the portal did not take it: it has no such job" in delivery["reason"]
    assert delivery["latest_attempts"][0]["status"] == 200


async def test_a_job_that_reports_to_a_portal_may_report_here(service: Service) -> None:
    key = await service.call("POST", "/v1/keys", {"name": "t", "owner": "alice", "scopes": ["publish"]})
    async with Receiver() as receiver, ClientSession(service.url) as session:
        headers = {"Authorization": f"Bearer {key['key']}"}
        async with session.post("/update-job-status/27/token/", headers=headers) as reply:
            given = await reply.json()
        await service.subscribe(receiver.url, events=["FINISHED"])
        answer = await service.call("GET", given["job"] + "&status=Complete")
        (arrived,) = await receiver.count(1)

    assert answer == {"success": True}
    assert arrived.event["subject"] == "27"
