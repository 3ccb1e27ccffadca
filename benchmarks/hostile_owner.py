"""An owner who means harm, as far as a key goes: storms, paths that fail or hang, odd limits, bad events."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

import aiohttp

from benchmarks.service import Service

OWNER = "mallory"
STORM = 1000
"""Events in one request."""

ORDERED = 10
"""Subscriptions that each of them goes to."""

STORM_EVERY = 6
"""Rounds."""

ROUND_SECONDS = 5.0

SHORT = {"strategy": "delayed", "delay": 1, "limit": 3, "max_age": 60}
"""What cannot be delivered is given up soon, so that what waits is the same after an hour."""

BAD: tuple[dict[str, str], ...] = (
    {},
    {"event": "FINISHED"},
    {"event": "", "job_id": "x"},
    {"event": "X", "job_id": "x", "time": "never"},
)


class HostileOwner:
    """Goes on until cancelled. `url` is a receiver of the hostile owner alone."""

    def __init__(self, service: Service, url: str, key: dict[str, str]) -> None:
        self._service = service
        self._url = url
        self._key = key
        self.storms = 0

    async def run(self) -> None:
        """Subscribe, then do everything in turn."""
        async with aiohttp.ClientSession(self._service.url, headers=self._key) as session:
            for number in range(ORDERED):
                path = ("fails", "hangs")[number % 2]
                await self._subscribe(session, f"{self._url}/{number}/{path}", ordered=True)
            for per_second in (1 / 86_400, 10_000):
                await self._subscribe(session, f"{self._url}/limited", rate_limit={"per_second": per_second})
            for number in itertools.count():
                # What is refused, or finds the service without its database, is what it is after.
                with suppress(aiohttp.ClientError, TimeoutError):
                    await self._round(session, number)
                await asyncio.sleep(ROUND_SECONDS)

    async def _round(self, session: aiohttp.ClientSession, number: int) -> None:
        for bad in BAD:
            async with session.post("/v1/events", json=bad):
                pass
        async with session.post("/v1/events", data=b"{" * 1000):
            pass
        for _ in range(2):
            # Another host each time: a new destination that is not used afterwards.
            host = f"http://127.{number >> 8 & 255}.{number & 255}.9:9/"
            made = await self._subscribe(session, host, rate_limit={"per_second": 1}, events=["NEVER"])
            async with session.delete(f"/v1/subscriptions/{made}"):
                pass
        if number % STORM_EVERY == 0:
            events = [{"event": "RUNNING", "job_id": f"storm-{number}-{n % 7}"} for n in range(STORM)]
            async with session.post("/v1/events", json=events) as answer:
                self.storms += answer.ok

    async def _subscribe(self, session: aiohttp.ClientSession, url: str, **fields: object) -> str:
        target = {"kind": "webhook", "url": url}
        document = {"events": ["*"], "target": target, "retry": SHORT} | fields
        async with session.post("/v1/subscriptions", json=document) as answer:
            answer.raise_for_status()
            made: str = (await answer.json())["id"]
            return made
