"""A webhook receiver on loopback that notes what arrives and can be awaited."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The delivery's id, or empty."""
        return self.headers.get("webhook-id", "")

    @property
    def event(self) -> dict[str, object]:
        """The body as JSON."""
        return msgspec.json.decode(self.body, type=dict[str, object])


Answering = Callable[[Arrived], Awaitable[web.Response]]


async def _no_content(_: Arrived) -> web.Response:
    return web.Response(status=204)


class Receiver:
    """Listens while it is entered. `answer` may be replaced at any time; it sees each request after it was noted."""

    def __init__(self, answer: Answering = _no_content, port: int = 0) -> None:
        self.answer = answer
        self.arrived: list[Arrived] = []
        self._port = port
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def repeats(self) -> set[str]:
        """The ids that arrived more than once."""
        return {id for id, count in Counter(a.id for a in self.arrived).items() if count > 1}

    async def until(self, enough: Callable[[list[Arrived]], bool], seconds: float = 30) -> list[Arrived]:
        """What has arrived, once that is enough; TimeoutError says how much there was."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: enough(self.arrived))
        except TimeoutError:
            raise TimeoutError(f"{len(self.arrived)} requests arrived in {seconds} s, not enough") from None
        return self.arrived

    async def count(self, distinct: int, seconds: float = 30) -> list[Arrived]:
        """What has arrived, once there are so many different ids."""
        return await self.until(lambda arrived: len({a.id for a in arrived}) >= distinct, seconds)

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = Arrived(
            method=request.method,
            path=request.raw_path if isinstance(request, web.Request) else request.path_qs,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        async with self._changed:
            self.arrived.append(arrived)
            self._changed.notify_all()
        return await self.answer(arrived)
