"""The demo's receivers: small web servers on loopback that check signatures and remember what they got."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from aiohttp import web

from dispatcher.client.errors import BadSignature
from dispatcher.client.webhooks import ID_HEADER, Webhook
from dispatcher.demo.plans import RETRY_AFTER, Plan


class Inbox(ABC):
    """Where the deliveries of one subscription arrive. It has its port from the start, and is there from `open` on.

    `received` are the ids of deliveries, `last` is the newest in a line.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.secret = ""
        self.received: set[str] = set()
        self.repeats = 0
        self.forged: list[str] = []
        self.last = ""

    @property
    @abstractmethod
    def url(self) -> str:
        """Scheme, host and port."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether it can be reached."""

    @abstractmethod
    async def open(self) -> None:
        """Let it be reached from now on."""

    @abstractmethod
    async def close(self) -> None:
        """Release its port."""


class Receiver(Inbox):
    """The receiver of webhooks of one subscription."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.turned_away = 0
        # Bound but not listening: a connection is refused, and no one else can take the port meanwhile.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def is_open(self) -> bool:
        return bool(self._runner.sites)

    async def open(self) -> None:
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        await self._runner.cleanup()
        self._socket.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        try:
            Webhook(self.secret).verify(body, request.headers)
        except BadSignature as error:
            self.forged.append(str(error))
            return web.Response(status=401, text=str(error))
        if self.turned_away < self.plan.busy:
            self.turned_away += 1
            return web.Response(
                status=503, headers={"Retry-After": str(RETRY_AFTER)}, text="busy, come back later"
            )
        delivery_id = request.headers[ID_HEADER]
        self.repeats += delivery_id in self.received
        self.received.add(delivery_id)
        self.last = request.raw_path if self.plan.body is None else f"{request.raw_path} {body.decode()}"
        return web.Response(status=204)


In = TypeVar("In", bound=Inbox)


@asynccontextmanager
async def open_inboxes(plans: Iterable[Plan], make: Callable[[Plan], In]) -> AsyncIterator[list[In]]:
    """What `make` makes for each plan, closed in the end; those that open late are left to the caller."""
    async with AsyncExitStack() as stack:
        receivers = [make(plan) for plan in plans]
        for receiver in receivers:
            stack.push_async_callback(receiver.close)
            if not receiver.plan.opens_after:
                await receiver.open()
        yield receivers
