"""A small HTTP receiver on loopback that shows what arrives: what `sink` and `listen` have in common."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web
from msgspec import Struct

from dispatcher.client.errors import BadSignature
from dispatcher.client.webhooks import ID_HEADER, Webhook
from dispatcher.domain.errors import DispatcherError

HOST = "127.0.0.1"

MAX_BODY = 16 * 1024 * 1024
"""Bytes: the longest body that is taken."""


class CannotListen(DispatcherError):
    """The port is taken, or not for this user."""


class Request(Struct, frozen=True, kw_only=True):
    """One request that arrived. `signature` is `good`, or what is wrong with it; None without a secret."""

    method: str
    path: str
    headers: dict[str, str]
    body: object
    """As JSON when it is JSON, else as text."""
    signature: str | None

    @property
    def id(self) -> str:
        """The delivery's id, or empty."""
        return self.headers.get(ID_HEADER, "")


@asynccontextmanager
async def receiver(
    port: int, secret: Callable[[], str | None], answer: Callable[[Request], web.Response]
) -> AsyncIterator[str]:
    """Listen on loopback while entered, and give the URL. Port 0 takes a free one. Raises CannotListen."""

    async def handle(request: web.Request) -> web.Response:
        return answer(await _read(request, secret()))

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {HOST}:{port}: {error.strerror}; expected a free --port"
            ) from None
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until_stopped(seconds: float | None = None) -> None:
    """Return on SIGINT or SIGTERM, or after so many seconds."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


async def _read(request: web.Request, secret: str | None) -> Request:
    body = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request(
        method=request.method,
        path=request.raw_path,
        headers=headers,
        body=_readable(body),
        signature=None if secret is None else _checked(secret, headers, body),
    )


def _checked(secret: str, headers: dict[str, str], body: bytes) -> str:
    try:
        Webhook(secret).verify(body, headers)
    except BadSignature as error:
        return str(error)
    return "good"


def _readable(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
