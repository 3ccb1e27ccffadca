"""Both clients, used in the same words: the one for asyncio, and the other from a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatcher.client import AsyncClient, Client, Retries
from dispatcher.client.aio import client as aio_client
from dispatcher.client.sync import client as sync_client
from tests.api.conftest import api, store

__all__ = ["api", "store"]

QUICK = Retries(first_delay=0.0)

Use = Callable[[Any], Any]


class Caller:
    """Calls with one of the clients, made for each use."""

    def __init__(self, kind: type[AsyncClient] | type[Client]) -> None:
        self._kind = kind

    async def __call__(self, url: str, use: Use, key: str = "key", **options: Any) -> Any:
        """What `use` returns of a client."""
        options = {"retries": QUICK} | options
        if self._kind is Client:
            return await asyncio.to_thread(_in_thread, url, use, key, options)
        async with AsyncClient(url, key, **options) as client:
            found = use(client)
            return await found if inspect.isawaitable(found) else [item async for item in found]


def _in_thread(url: str, use: Use, key: str, options: dict[str, Any]) -> Any:
    with Client(url, key, **options) as client:
        found = use(client)
        return list(found) if hasattr(found, "collect") else found


@pytest.fixture(params=[AsyncClient, Client])
def call(request: pytest.FixtureRequest) -> Caller:
    """One of the clients after the other."""
    return Caller(request.param)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of both clients, which take no time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(aio_client, "sleep", sleep)
    monkeypatch.setattr(sync_client, "sleep", pauses.append)
    return pauses


class Script:
    """A server that answers with one response after the other; None closes the connection instead."""

    def __init__(self, responses: Sequence[web.Response | None]) -> None:
        self._responses = iter(responses)
        self.requests: list[tuple[str, str, bytes]] = []

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((request.method, request.path_qs, await request.read()))
        response = next(self._responses)
        if response is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return response

    async def __aenter__(self) -> Script:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = str(self._server.make_url("")).rstrip("/")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
