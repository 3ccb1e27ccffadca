"""The client for asyncio: one server, one key, and the API by resource."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from dispatcher.client import exchange
from dispatcher.client.aio.deliveries import AsyncDeliveries
from dispatcher.client.aio.destinations import AsyncDestinations
from dispatcher.client.aio.events import AsyncEvents
from dispatcher.client.aio.jobs import AsyncJobs
from dispatcher.client.aio.service import AsyncKeys, AsyncQuotas, AsyncService
from dispatcher.client.aio.subscriptions import AsyncSubscriptions
from dispatcher.client.aio.transport import AsyncTransport, sleep
from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import Request, Response
from dispatcher.client.models import Accepted
from dispatcher.client.outgoing import Event
from dispatcher.client.retries import Retries, may_be_done
from dispatcher.client.settings import checked_url, headers

T = TypeVar("T")


class AsyncClient:
    """The API of the server at `url`, called with `key`. Every method raises a ClientError when it fails.

    >>> async with AsyncClient("https://dispatcher.example.org", "dspk_…") as client:
    ...     await client.publish({"event": "FINISHED", "job_id": "0001-007", "owner": "alice"})

    `timeout` is in seconds and for each attempt, from connecting to the last byte; `retries` says how many there are.
    Raises ValueError for a URL or a key that cannot be used.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._transport = AsyncTransport(checked_url(url), headers(key), timeout)
        self._retries = Retries() if retries is None else retries
        self.events = AsyncEvents(self)
        self.subscriptions = AsyncSubscriptions(self)
        self.deliveries = AsyncDeliveries(self)
        self.jobs = AsyncJobs(self)
        self.destinations = AsyncDestinations(self)
        self.keys = AsyncKeys(self)
        self.quotas = AsyncQuotas(self)
        self.service = AsyncService(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def publish(self, event: Event) -> Accepted:
        """Publish one event: see `events.publish`."""
        return await self.events.publish(event)

    async def publish_many(self, events: Iterable[Event]) -> Accepted:
        """Publish any number of events: see `events.publish_many`."""
        return await self.events.publish_many(events)

    async def request(
        self, method: str, path: str, *, query: dict[str, object] | None = None, document: object = None
    ) -> Any:
        """Any operation, also one that has no method here: the JSON that is answered, None when there is none."""
        body = await self.send(exchange.request(method, path, query=query, document=document), bytes)
        return exchange.decoded(body, object) if body else None

    async def send(self, request: Request, kind: type[T]) -> T:
        """The answer to a request, sent as often as `retries` allow. Raises ClientError."""
        attempt, repeated = 1, False
        while True:
            outcome = await self._attempt(request)
            delay = self._retries.delay(attempt, request, outcome)
            if delay is None:
                break
            attempt, repeated = attempt + 1, repeated or may_be_done(outcome)
            await sleep(delay)
        if isinstance(outcome, TransportError):
            raise outcome
        return exchange.result(request, outcome, kind, repeated=repeated)

    async def _attempt(self, request: Request) -> Response | TransportError:
        try:
            return await self._transport.send(request)
        except TransportError as error:
            return error
