"""The whole service and a real Tethys portal, whose jobs really change. Run by `make test-tethys`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.service import Service
from tests.receiver import Receiver
from tests.servers.tethys import DaskCluster, TethysPortal


@pytest.fixture(scope="module")
def portal() -> Iterator[TethysPortal]:
    """Yield a portal whose jobs run on a Dask cluster."""
    with DaskCluster() as cluster, TethysPortal(cluster.address) as portal:
        yield portal


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Yield the service, over SQLite."""
    async with Service(
        tmp_path, database_url=f"sqlite:///{tmp_path / 'dispatcher.db'}", log_level="debug"
    ) as service:
        yield service


async def delivered(service: Service, portal: TethysPortal, event: dict[str, Any], **target: Any) -> Any:
    """The delivery of this event to the portal, once it was tried."""
    document = {"kind": "tethys", "portal": portal.url, "job": "$<JOB_NAME>"} | target
    await service.subscribe("", target=document, retry={"strategy": "none"})
    await service.call("POST", "/v1/events", event)
    await service.says("attempt")
    while True:
        (listed,) = (await service.call("GET", "/v1/deliveries"))["items"]
        if listed["state"] not in ("pending", "delivering"):
            return await service.call("GET", f"/v1/deliveries/{listed['id']}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("event", "name", "status"), [("FINISHED", "finishes", "COM"), ("FAILED", "fails", "ERR")]
)
async def test_a_dask_job_of_the_portal_gets_the_status_of_the_event(
    service: Service, portal: TethysPortal, event: str, name: str, status: str
) -> None:
    assert portal.job(name)[1] == "PEN"
    delivery = await delivered(
        service, portal, {"event": event, "job_id": "1", "job": {"name": name}}, form="dask"
    )

    assert (delivery["state"], delivery["reason"]) == ("delivered", None)
    assert portal.job(name)[1] == status


@pytest.mark.timeout(180)
async def test_the_portal_asks_a_job_that_changed_for_its_status(
    service: Service, portal: TethysPortal
) -> None:
    number, before, looked_at = portal.job("polled")
    delivery = await delivered(
        service, portal, {"event": "QUEUED", "job_id": "1", "job": {"name": str(number)}}
    )

    # What Dask reported to the portal, of a task that this portal has just asked for.
    assert (before, looked_at) == ("PEN", None)
    assert delivery["state"] == "delivered"
    assert portal.job("polled")[1] == "SUB"
    assert portal.job("polled")[2] is not None


@pytest.mark.timeout(180)
async def test_a_basic_job_is_looked_at(service: Service, portal: TethysPortal) -> None:
    number, _, looked_at = portal.job("basic")
    delivery = await delivered(service, portal, {"event": "RUNNING", "job_id": str(number)}, job="$<JOB_ID>")

    assert looked_at is None
    assert delivery["state"] == "delivered"
    assert portal.job("basic")[2] is not None


@pytest.mark.timeout(180)
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
