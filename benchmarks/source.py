"""Job events: what is published, and a source that publishes at a steady rate from a separate process.

Run as `python -m benchmarks.source AMQP_URL RATE SECONDS`. Each event is sent when its time has come, however long the
one before it takes, and its data says when that was (`due`, Unix seconds): who is late makes the latency longer.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop

from benchmarks.machine import program
from dispatcher.client import Publisher


def plain_event(number: int, due: float | None = None) -> dict[str, object]:
    """A job event as a job service would publish it."""
    data: dict[str, object] = {"number": number} if due is None else {"number": number, "due": due}
    return {
        "event": "RUNNING",
        "job_id": f"0001414144065563-5056a550b8-{number:06d}-007",
        "id": f"bench-{time.time_ns()}-{number}",
        "owner": "alice",
        "message": "Job started running",
        "job": {
            "name": f"demo-pyplot {number}",
            "appId": "demo-pyplot-advanced",
            "executionSystem": "stampede",
        },
        "data": data,
    }


def document() -> bytes:
    """A body of the size of those that the service sends."""
    event = plain_event(1)
    head = {"specversion": "1.0", "source": "/jobs", "type": "job.RUNNING", "subject": event["job_id"]}
    rest = {"id": event["id"], "time": "2026-01-01T00:00:00.000000Z", "owner": "alice", "tenant": "default"}
    return msgspec.json.encode(head | rest | {"data": event})


async def steadily(url: str, rate: float, seconds: float) -> None:
    """Publish from a separate process, at `rate` events a second. RuntimeError when an event was not confirmed."""
    async with program("source", url, str(rate), str(seconds)) as process:
        if await process.wait():
            raise RuntimeError("the source of events failed: see above")


async def _publish(url: str, rate: float, seconds: float) -> None:
    async with Publisher.amqp(url) as publisher, asyncio.TaskGroup() as group:
        began = time.time()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (wait := due - time.time()) > 0:
                await asyncio.sleep(wait)
            group.create_task(publisher.publish(plain_event(number, due)))


if __name__ == "__main__":
    uvloop.run(_publish(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
