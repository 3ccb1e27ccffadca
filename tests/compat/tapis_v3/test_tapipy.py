"""The service driven by tapipy, the Python client of Tapis v3, through all operations of its specification."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.compat.tapis_v3.conftest import Site, event, subscription, token, until
from tests.receiver import Receiver

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "tests/compat/clients/tapis.py"

# The first of these makes the client's environment, which takes half a minute where nothing is cached.
pytestmark = pytest.mark.timeout(180)


class Tapipy:
    """The client in a separate process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """What an operation returned, as `result`, or the `error` that it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([operation, arguments]).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the client has ended"
        return msgspec.json.decode(line, type=dict[str, Any])

    async def __call__(self, operation: str, **arguments: Any) -> Any:
        """What an operation that succeeds returned."""
        said = await self.ask(operation, **arguments)
        assert "error" not in said, (operation, said)
        return said["result"]


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the client's environment."""
    subprocess.run([ROOT / "scripts/client.sh", "tapipy"], check=True, timeout=150)
    return ROOT / ".venv-tapipy/bin/python"


@asynccontextmanager
async def tapipy(python: Path, url: str, token: str, home: Path) -> AsyncIterator[Tapipy]:
    """The client, with a token, while this is entered."""
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-W", "ignore", str(CLIENT), url, "dev", token),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )
    try:
        yield Tapipy(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@pytest.mark.long
async def test_tapipy_does_all_that_its_specification_knows(
    site: Site, receiver: Receiver, python: Path, tmp_path: Path
) -> None:
    service = token("jobs", "dev", service=True)
    async with tapipy(python, site.url, service, tmp_path) as client:
        assert (await client("healthCheck"))["status"] == (await client("readyCheck"))["status"] == "success"

        made = await client("postSubscription", **subscription(f"{receiver.url}/a", name="s1"))
        assert made["url"].endswith("/v3/notifications/subscriptions/s1")
        await client(
            "postSubscription", **subscription(f"{receiver.url}/b", name="s2", subjectFilter="job-2")
        )
        assert [one["name"] for one in await client("getSubscriptions", orderBy="name")] == ["s1", "s2"]
        assert [one["name"] for one in await client("getSubscriptions", search="(name.eq.s2)", limit=1)] == [
            "s2"
        ]
        by_body = await client("searchSubscriptionsRequestBody", search=["name = 's1'"])
        assert [one["name"] for one in by_body] == ["s1"]
        assert len(await client("searchSubscriptionsQueryParameters", orderBy="name", select="uuid")) == 2
        shown = await client("getSubscriptionByName", name="s1")
        assert shown["deliveryTargets"][0]["deliveryAddress"] == f"{receiver.url}/a"
        assert await client("getSubscriptionByUuid", uuid=shown["uuid"]) == shown

        await client("patchSubscriptionByName", name="s1", description="changed", typeFilter="jobs.*.*")
        assert (await client("getSubscriptionByName", name="s1"))["description"] == "changed"
        assert (await client("updateTTL", name="s1", ttlMinutes="120"))["changes"] == 1
        assert (await client("disableSubscription", name="s1"))["changes"] == 1
        assert (await client("isEnabled", name="s1"))["aBool"] is False
        assert (await client("enableSubscription", name="s1"))["changes"] == 1
        assert (await client("isEnabled", name="s1"))["aBool"] is True

        await client("publishEvent", **event("RUNNING"))
        await client("postEvent", **event("FINISHED"))
        arrived = await receiver.count(2)
        assert {one.event["event"]["type"] for one in arrived} == {  # type: ignore[index]
            "jobs.JOB_NEW_STATUS.RUNNING",
            "jobs.JOB_NEW_STATUS.FINISHED",
        }
        ended = await client("endEventSeries", source="Jobs", subject="job-1", seriesId="job-1")
        assert ended["changes"] == 1

        assert (await client("deleteSubscriptionsBySubject", subject="job-2"))["changes"] == 1
        assert (await client("deleteSubscriptionByUuid", uuid=shown["uuid"]))["changes"] == 1
        assert (await client("deleteSubscriptionByName", name="s1"))["changes"] == 0


@pytest.mark.long
async def test_tapipy_runs_a_test_sequence(site: Site, python: Path, tmp_path: Path) -> None:
    async with tapipy(python, site.url, token("jobs", service=True), tmp_path) as client:
        begun = await client("beginTestSequence", numberOfEvents=2)
        name = begun["name"]

        async def is_notified() -> bool:
            return int((await client("getTestSequence", name=name))["notificationCount"]) == 2

        await until(is_notified)
        notification = (await client("getTestSequence", name=name))["receivedNotifications"][0]
        await client("recordTestNotification", **notification | {"name": name, "uuid": str(uuid4())})
        assert (await client("getTestSequence", name=name))["notificationCount"] == 3
        assert (await client("deleteTestSequence", name=name))["changes"] == 1


@pytest.mark.long
async def test_tapipy_shows_jobs_and_subscribes_to_them(
    site: Site, receiver: Receiver, python: Path, tmp_path: Path
) -> None:
    await site.jobs().publish("RUNNING")
    async with tapipy(python, site.url, token("alice"), tmp_path) as client:
        assert (await client("jobs.checkHealth"))["status"] == "success"
        job = await client("jobs.getJob", jobUuid="job-1")
        assert (job["uuid"], job["name"], job["owner"], job["status"]) == (
            "job-1",
            "a run",
            "alice",
            "RUNNING",
        )
        assert (await client("jobs.getJobStatus", jobUuid="job-1"))["status"] == "RUNNING"
        assert [one["uuid"] for one in await client("jobs.getJobList", limit=5, orderBy="created(desc)")] == [
            "job-1"
        ]
        found = await client("jobs.getJobSearchList", select="allAttributes", listType="ALL_JOBS")
        assert [one["lastMessage"] for one in found] == ["so"]
        sql = {"search": ["status = 'FINISHED'"]}
        by_sql = await client("jobs.getJobSearchListByPostSqlStr", request_body=sql)
        assert by_sql == []

        target = {"deliveryMethod": "WEBHOOK", "deliveryAddress": receiver.url}
        made = await client(
            "jobs.subscribe",
            jobUuid="job-1",
            eventCategoryFilter="ALL",
            deliveryTargets=[target],
            ttlminutes=9,
        )
        [shown] = await client("jobs.getSubscriptions", jobUuid="job-1")
        assert (made["url"].rpartition("/")[2], shown["ttlMinutes"]) == (shown["name"], 9)
        sent = await client("jobs.sendEvent", jobUuid="job-1", eventData="half done", eventDetail="PROGRESS")
        assert sent == "half done"
        [notified] = await receiver.count(1)
        assert notified.event["event"]["type"] == "jobs.JOB_USER_EVENT.PROGRESS"  # type: ignore[index]
        history = await client("jobs.getJobHistory", jobUuid="job-1")
        assert [one["event"] for one in history] == ["JOB_NEW_STATUS", "JOB_USER_EVENT"]
        assert (await client("jobs.deleteSubscriptions", uuid=shown["uuid"]))["changes"] == 1

        for operation, arguments in (
            ("jobs.submitJob", {"name": "a", "appId": "b", "appVersion": "1"}),
            ("jobs.cancelJob", {"jobUuid": "job-1"}),
            ("jobs.hideJob", {"jobUuid": "job-1"}),
            ("jobs.getResubmitRequestJson", {"jobUuid": "job-1"}),
            ("jobs.getJobOutputList", {"jobUuid": "job-1", "outputPath": "a"}),
            ("jobs.getJobShare", {"jobUuid": "job-1"}),
        ):
            refused = await client.ask(operation, **arguments)
            assert (refused["error"], "this service runs no jobs" in refused["message"]) == (
                "NotFoundError",
                True,
            )
        refused = await client.ask("systems.getSystems")
        assert "there is nothing at /v3/systems: of Tapis v3" in refused["message"]


@pytest.mark.long
async def test_tapipy_shows_what_was_wrong(site: Site, python: Path, tmp_path: Path) -> None:
    async with tapipy(python, site.url, token("jobs", service=True), tmp_path) as client:
        await client("postSubscription", **subscription("https://127.0.0.1/", name="s1"))
        again = await client.ask("postSubscription", **subscription("https://127.0.0.1/", name="s1"))
        assert (again["status"], "with the name s1 already" in again["message"]) == (409, True)
        wrong = await client.ask("postSubscription", **subscription("https://127.0.0.1/", typeFilter="a.b"))
        assert (wrong["error"], wrong["status"]) == ("BadRequestError", 400)
        missing = await client.ask("getSubscriptionByName", name="none")
        assert (missing["error"], missing["status"]) == ("NotFoundError", 404)
    async with tapipy(python, site.url, token("alice"), tmp_path) as client:
        refused = await client.ask("publishEvent", **event())
        assert (refused["error"], refused["status"]) == ("UnauthorizedError", 401)
