"""The service driven by agavepy, the Python client of Tapis v2, as its users have it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.compat.tapis_v2.conftest import JOB, Running, Tapis, decoded
from tests.receiver import Receiver

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "tests/compat/clients/agave.py"


class Agavepy:
    """The client in a separate process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, service: str, method: str, **arguments: Any) -> dict[str, Any]:
        """What a call returned, as `result`, or the `error` that it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([service, method, arguments]).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the client has ended"
        return dict(decoded(line))

    async def __call__(self, service: str, method: str, **arguments: Any) -> Any:
        """What a call that succeeds returned."""
        said = await self.ask(service, method, **arguments)
        assert "error" not in said, said
        return said["result"]


@pytest.fixture(scope="session")
def environment() -> Path:
    """The Python of the client's environment."""
    subprocess.run([ROOT / "scripts/client.sh", "agave"], check=True, timeout=50)
    return ROOT / ".venv-agave/bin/python"


@asynccontextmanager
async def agavepy(python: Path, url: str, key: str, home: Path) -> AsyncIterator[Agavepy]:
    """The client, with a key, while this is entered."""
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-W", "ignore", str(CLIENT), url, key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )
    try:
        yield Agavepy(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@pytest.mark.long
async def test_agavepy_manages_notifications_and_polls_jobs(
    service: Running, receiver: Receiver, environment: Path, tmp_path: Path
) -> None:
    key = await service.key("alice", "publish", "subscribe")
    alice = service.with_key(key, "alice")
    body = {"associatedUuid": JOB, "event": "*", "url": f"{receiver.url}/${{EVENT}}", "persistent": True}

    async with agavepy(environment, service.url, key, tmp_path) as client:
        made = await client("notifications", "add", body=body)
        await client("notifications", "add", body=body | {"associatedUuid": "another", "event": "FAILED"})
        assert (made["owner"], made["status"], made["persistent"]) == ("alice", "ACTIVE", True)
        assert made["created"].startswith("20")

        listed = await client("notifications", "list", associatedUuid=JOB)
        assert [one["id"] for one in listed] == [made["id"]]
        assert len(await client("notifications", "list", limit=1, offset=1)) == 1

        await publish(alice)
        arrived = await receiver.count(2)
        assert {one.path for one in arrived} == {"/RUNNING", "/FINISHED"}
        got = await client("notifications", "get", uuid=made["id"])
        assert (got["url"], got["associatedUuid"]) == (body["url"], JOB)

        changed = await client("notifications", "update", uuid=made["id"], body=body | {"event": "FAILED"})
        assert (changed["id"], changed["event"]) == (made["id"], "FAILED")

        await client("notifications", "delete", uuid=made["id"])
        assert (await client.ask("notifications", "get", uuid=made["id"]))["status"] == 404

        assert [job["id"] for job in await client("jobs", "list", limit=10)] == [JOB]
        found = await client("jobs", "search", attribute="status", value="FINISHED")
        assert [job["id"] for job in found] == [JOB]
        assert (await client("jobs", "get", jobId=JOB))["name"] == "pyplot"
        assert (await client("jobs", "getStatus", jobId=JOB))["status"] == "FINISHED"
        history = await client("jobs", "getHistory", jobId=JOB)
        assert [step["status"] for step in history] == ["RUNNING", "FINISHED"]


@pytest.mark.long
async def test_agavepy_shows_what_was_wrong(service: Running, environment: Path, tmp_path: Path) -> None:
    key = await service.key("alice", "subscribe")
    body = {"associatedUuid": JOB, "event": "*", "url": "https://example.org/"}

    async with agavepy(environment, service.url, key, tmp_path) as client:
        for change, status in (({"persistant": True}, 400), ({"associatedUuid": "*"}, 403)):
            said = await client.ask("notifications", "add", body=body | change)
            assert said["status"] == status


async def publish(alice: Tapis) -> None:
    """A job's life, in short."""
    await alice.publish("RUNNING", job={"id": JOB, "name": "pyplot"})
    await alice.publish("FINISHED")
