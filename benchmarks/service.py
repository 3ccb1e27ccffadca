"""The service under measurement: a separate process, watched through its API and metrics."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from dispatcher.store.encryption import Sealer
from tests.environment import environment

ADMIN_KEY = "an-admin-key-for-measurements-of-32-characters"
SECRETS_KEY = "a-secrets-key-for-measurements-of-32-characters"
SEALER = Sealer([SECRETS_KEY])
_DELIVERED = re.compile(
    rb'^dispatcher_deliveries_total\{[^}]*outcome="delivered"[^}]*\} ([0-9.e+]+)$', re.MULTILINE
)


def end_on_sigterm() -> None:
    """End on SIGTERM as on SIGINT, so that the services and servers that were started end too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Service:
    """`dispatcher serve` with signing, metrics and info logs on, as in production; logs go to a file.

    `workers` is how many processes share the work; more than one takes PostgreSQL.
    """

    def __init__(self, *, workers: int = 1, **settings: str) -> None:
        self._processes = workers
        self._workers = ("--workers", str(workers)) if workers > 1 else ()
        self._consumes = "amqp_url" in settings
        self._settings = {
            "DISPATCHER_HTTP_PORT": "0",
            "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
            "DISPATCHER_SECRETS_KEY": SECRETS_KEY,
            "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
            "DISPATCHER_LOG_FORMAT": "json",
        } | {f"DISPATCHER_{name}".upper(): value for name, value in settings.items()}

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="dispatcher-bench-")
        self._log = Path(self._directory.name, "log")
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
        self._directory.cleanup()

    async def start(self) -> None:
        """Start it and return when it serves, and all its processes consume if there is a broker.

        Raises RuntimeError with its log.
        """
        before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dispatcher", "serve", *self._workers),
                cwd=self._directory.name,
                env=environment(self._settings),
                stdout=log,
                stderr=log,
            )
        found = await self._says(rb'"event":"serving".*?"url":"([^"]+)"', before)
        if self._consumes:
            await self._says(rb'"event":"consuming"', before, self._processes)
        self.url = found[1].decode()
        self._session = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"})

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is given back. `start` may follow."""
        self.process.kill()
        await self.process.wait()
        await self._session.close()

    async def _says(self, pattern: bytes, begin: int, times: int = 1) -> re.Match[bytes]:
        """What matches, once it was said so often after the first `begin` bytes of the log."""
        for _ in range(1200):
            with self._log.open("rb") as log:
                log.seek(begin)
                found = list(re.finditer(pattern, log.read()))
            if len(found) >= times:
                return found[0]
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the service did not start: {self._log.read_text()[-2000:]}")

    async def subscribe(self, *urls: str, **fields: object) -> Sequence[str]:
        """A subscription to every event for each of the webhooks, changed as `fields` say; their ids."""
        ids: list[str] = []
        for url in urls:
            document = {"events": ["*"], "target": {"kind": "webhook", "url": url}} | fields
            async with self._session.post("/v1/subscriptions", json=document) as answer:
                answer.raise_for_status()
                ids.append((await answer.json())["id"])
        return ids

    async def key_of(self, owner: str, *scopes: str) -> dict[str, str]:
        """The header of a new key of this owner."""
        key = {"name": owner, "owner": owner, "scopes": scopes}
        async with self._session.post("/v1/keys", json=key) as answer:
            answer.raise_for_status()
            return {"Authorization": f"Bearer {(await answer.json())['key']}"}

    async def subscribe_as(self, owner: str, url: str) -> None:
        """A subscription of this owner to all events of the owner's jobs."""
        authorization = await self.key_of(owner, "subscribe")
        document = {"events": ["*"], "target": {"kind": "webhook", "url": url}}
        async with self._session.post("/v1/subscriptions", json=document, headers=authorization) as answer:
            answer.raise_for_status()

    async def delivered(self) -> int:
        """How many deliveries this process has delivered."""
        async with self._session.get("/metrics") as answer:
            found = _DELIVERED.search(await answer.read())
        return int(float(found[1])) if found else 0

    async def publish(self, events: list[dict[str, Any]]) -> None:
        """Post events, all in one request."""
        await self.publish_json(msgspec.json.encode(events))

    async def publish_json(self, events: bytes) -> None:
        """Post a list of events that is encoded."""
        headers = {"Content-Type": "application/json"}
        async with self._session.post("/v1/events", data=events, headers=headers) as answer:
            answer.raise_for_status()


@cache
def can_have_workers() -> bool:
    """Whether `dispatcher serve` can run as several processes."""
    shown = subprocess.run(
        (sys.executable, "-m", "dispatcher", "serve", "--help"), capture_output=True, text=True, check=True
    )
    return "--workers" in shown.stdout
