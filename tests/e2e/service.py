"""The service as an operator runs it: a separate process, with its settings in the environment."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tests.environment import environment

ADMIN_KEY = "an-admin-key-for-the-tests-of-32-characters"
SECRETS_KEY = "a-secrets-key-for-the-tests-of-32-characters"


class Service:
    """`dispatcher serve`, running while it is entered; ended with SIGTERM unless it was killed before.

    `within` is a command that runs it, such as `unshare`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        consumes: bool = True,
        workers: int = 1,
        within: Sequence[str] = (),
        **settings: str | float,
    ) -> None:
        self._directory = directory
        self._within = within
        self._workers = workers
        self._consumes = consumes and "amqp_url" in settings
        self._settings = {
            "DISPATCHER_HTTP_PORT": "0",
            "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
            "DISPATCHER_SECRETS_KEY": SECRETS_KEY,
            "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
            "DISPATCHER_LOG_FORMAT": "json",
            "DISPATCHER_LOG_LEVEL": "info",
        } | {f"DISPATCHER_{name}".upper(): str(value) for name, value in settings.items()}
        self.lines: list[Mapping[str, Any]] = []
        self.url = ""

    async def ends(self) -> tuple[int, str]:
        """Start it, wait until it ends by itself, and return its exit code and all that it said."""
        await self.start()
        code = await asyncio.wait_for(self.process.wait(), 60)
        await self._reader
        return code, "\n".join(str(line) for line in self.lines)

    async def __aenter__(self) -> Self:
        await self.start()
        await self.serving()
        return self

    async def serving(self) -> None:
        """Return when it serves, and consumes if it has a broker."""
        serving = await self.says("serving")
        if self._consumes:
            await self.says("consuming")
        self._connect(str(serving["url"]))

    async def answers(self, url: str, seconds: float = 30) -> None:
        """Return when it answers at this URL, for one whose log is not read."""
        async with asyncio.timeout(seconds), aiohttp.ClientSession(url) as session:
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get("/health/live"):
                        break
                await asyncio.sleep(0.05)
        self._connect(url)

    def _connect(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"})

    async def start(self) -> None:
        """Start the process, and read what it says."""
        self.process = await asyncio.create_subprocess_exec(
            *(*self._within, sys.executable, "-m", "dispatcher", "serve", "--workers", str(self._workers)),
            cwd=self._directory,
            env=environment(self._settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 22,
        )
        self._said = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self.process.returncode is None:
            await self.terminate()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            try:
                said = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError:
                said = {"event": "output", "text": line.decode(errors="replace").rstrip()}
            async with self._said:
                self.lines.append(said)
                self._said.notify_all()
        async with self._said:
            self.lines.append({"event": "ended"})
            self._said.notify_all()

    async def says(self, event: str, seconds: float = 30) -> Mapping[str, Any]:
        """The first log line of that name, past or to come. AssertionError when the service ends before it."""
        seen = 0
        async with asyncio.timeout(seconds), self._said:
            while True:
                for line in self.lines[seen:]:
                    if line["event"] == event:
                        return line
                    assert line["event"] != "ended", (
                        f"the service ended without {event!r}: {self.lines[-20:]}"
                    )
                seen = len(self.lines)
                await self._said.wait()

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is given back."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        await self._session.close()
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    async def call(self, method: str, path: str, document: object = None) -> Any:
        """What the API answers, which must be a success."""
        async with self._session.request(method, path, json=document) as answer:
            text = await answer.text()
            assert answer.ok, f"{method} {path}: {answer.status} {text}"
            return msgspec.json.decode(text) if text else None

    async def refused(self, method: str, path: str, document: object = None) -> tuple[int, str]:
        """The status and the reason with which the API refuses."""
        async with self._session.request(method, path, json=document) as answer:
            assert not answer.ok
            return answer.status, (await answer.json())["detail"]

    async def subscribe(self, url: str, **changes: object) -> dict[str, Any]:
        """A new subscription of a webhook; everything unless said otherwise."""
        document = {"events": ["*"], "target": {"kind": "webhook", "url": url}} | changes
        found: dict[str, Any] = await self.call("POST", "/v1/subscriptions", document)
        return found

    async def text(self, path: str) -> str:
        """A page that is no JSON."""
        async with self._session.get(path) as answer:
            return await answer.text()
