"""The service under measurement: a process of its own, watched through its API and metrics."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.environment import environment

ADMIN_KEY = "an-admin-key-for-measurements-of-32-characters"
_DELIVERED = re.compile(
    rb'^dispatcher_deliveries_total\{[^}]*outcome="delivered"[^}]*\} ([0-9.e+]+)$', re.MULTILINE
)


class Service:
    """`dispatcher serve` with signing, metrics and info logs on, as in production; logs go to a file."""

    def __init__(self, **settings: str) -> None:
        self._settings = {
            "DISPATCHER_HTTP_PORT": "0",
            "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
            "DISPATCHER_SECRETS_KEY": "a-secrets-key-for-measurements-of-32-characters",
            "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
            "DISPATCHER_LOG_FORMAT": "json",
        } | {f"DISPATCHER_{name}".upper(): value for name, value in settings.items()}

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="dispatcher-bench-")
        self._log = Path(self._directory.name, "log")
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dispatcher", "serve"),
                cwd=self._directory.name,
                env=environment(self._settings),
                stdout=log,
                stderr=log,
            )
        self.url = await self._serving()
        self._session = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
        self._directory.cleanup()

    async def _serving(self) -> str:
        for _ in range(600):
            found = re.search(rb'"event":"serving".*?"url":"([^"]+)"', self._log.read_bytes())
            if found:
                return found[1].decode()
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the service did not start: {self._log.read_text()[-2000:]}")

    async def subscribe(self, url: str, count: int = 1) -> None:
        """So many subscriptions to every event."""
        for number in range(count):
            document = {"name": f"bench {number}", "events": ["*"], "target": {"kind": "webhook", "url": url}}
            async with self._session.post("/v1/subscriptions", json=document) as answer:
                answer.raise_for_status()

    async def delivered(self) -> int:
        """How many deliveries this process has delivered."""
        async with self._session.get("/metrics") as answer:
            found = _DELIVERED.search(await answer.read())
        return int(float(found[1])) if found else 0

    async def publish(self, events: list[dict[str, Any]]) -> None:
        """Post events, all in one request."""
        async with self._session.post("/v1/events", json=events) as answer:
            answer.raise_for_status()
