"""For Python programs: publishing events to Dispatcher, and checking the signature of what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from uuid import uuid4

import aio_pika
import aiohttp
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, PublishError
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic
from yarl import URL

from dispatcher.domain.errors import NotPublished
from dispatcher.domain.events import utc_now
from dispatcher.domain.json_text import encoded
from dispatcher.intake.dialing import Dialing
from dispatcher.targets.signing import BadSignature, verify

__all__ = ["BadSignature", "Event", "NotPublished", "Publisher", "verify"]

Event = Mapping[str, object]
"""A plain event such as `{"event": "FINISHED", "job_id": "0001-007", "owner": "alice"}`, or a CloudEvent."""

BATCH = 500
"""Events that are sent before the first of them is confirmed."""

BATCH_BYTES = 512 * 1024
"""Bytes after which a batch is full. The service takes twice as much."""

TIMEOUT = 30.0
"""Seconds within which the broker or the service must have taken an event."""


class _Ready(NamedTuple):
    id: str
    routing_key: str
    body: bytes


class _Way(Protocol):
    async def send(self, batch: Sequence[_Ready]) -> None:
        """Publish a batch in its order. Raises NotPublished."""
        ...


class Publisher:
    """Publishes events; each is stored by the broker or the service when the call returns.

    >>> async with Publisher.amqp("amqp://guest:guest@127.0.0.1/") as publisher:
    ...     await publisher.publish({"event": "FINISHED", "job_id": "0001-007", "owner": "alice"})

    An event without an `id` gets one. Give it one of your own to publish it again after NotPublished: with
    the same id it is delivered once.
    """

    def __init__(self, way: Callable[[], AbstractAsyncContextManager[_Way]]) -> None:
        self._make_way = way
        self._stack = AsyncExitStack()

    @classmethod
    def amqp(cls, url: str, *, exchange: str = "dispatcher.events") -> Publisher:
        """To the exchange of a broker, which must have a queue for the events."""
        return cls(lambda: _to_broker(url, exchange))

    @classmethod
    def http(cls, url: str, *, key: str) -> Publisher:
        """To the API of Dispatcher at `url`, with a key that may publish."""
        return cls(lambda: _to_service(url, key))

    async def __aenter__(self) -> Self:
        """Connect. Raises NotPublished when that fails."""
        self._way = await self._stack.enter_async_context(self._make_way())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def publish(self, event: Event) -> str:
        """Publish one event and return its id. Raises NotPublished."""
        return (await self.publish_many([event]))[0]

    async def publish_many(self, events: Iterable[Event]) -> list[str]:
        """Publish events in their order and return their ids. Raises NotPublished."""
        ids: list[str] = []
        for batch in _batches(events):
            try:
                await self._way.send(batch)
            except NotPublished as error:
                raise NotPublished(str(error), len(ids) + error.confirmed) from None
            ids += [ready.id for ready in batch]
        return ids


def _batches(events: Iterable[Event]) -> Iterator[list[_Ready]]:
    batch: list[_Ready] = []
    size = 0
    for ready in map(_ready, events):
        if len(batch) == BATCH or (batch and size + len(ready.body) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(ready)
        size += len(ready.body) + 1
    if batch:
        yield batch


def _ready(event: Event) -> _Ready:
    if event.get("id") is None:
        event = {**event, "id": str(uuid4())}
    return _Ready(str(event["id"]), _routing_key(event), encoded(event))


def _routing_key(event: Event) -> str:
    """What a queue may be bound by: the event's type, or the one that a plain event gets."""
    found = str(event.get("type") or f"job.{event.get('event') or 'event'}")
    return found.encode(errors="replace")[:255].decode(errors="ignore")


class _Broker:
    def __init__(self, channel: AbstractChannel, exchange: str) -> None:
        self._channel = channel
        self._exchange = exchange

    async def send(self, batch: Sequence[_Ready]) -> None:
        # gather starts them in their order, and the channel sends them in the order in which they start.
        outcomes = await asyncio.gather(*map(self._publish, batch), return_exceptions=True)
        for confirmed, outcome in enumerate(outcomes):
            if isinstance(outcome, PublishError):
                raise NotPublished(f"the exchange {self._exchange} has no queue for the event", confirmed)
            # The library cancels those who wait on a connection that is lost.
            if isinstance(outcome, (*CONNECTION_EXCEPTIONS, asyncio.CancelledError)):
                raise NotPublished(f"the broker did not confirm: {_reason(outcome)}", confirmed)
            if isinstance(outcome, BaseException):
                raise outcome

    async def _publish(self, ready: _Ready) -> None:
        properties = Basic.Properties(
            content_type="application/json", delivery_mode=2, message_id=str(uuid4()), timestamp=utc_now()
        )
        await self._channel.basic_publish(
            ready.body,
            exchange=self._exchange,
            routing_key=ready.routing_key,
            properties=properties,
            mandatory=True,
            timeout=TIMEOUT,
        )


@asynccontextmanager
async def _to_broker(url: str, exchange: str) -> AsyncIterator[_Way]:
    connection = aio_pika.Connection(URL(url))
    connection.kwargs["transport_factory"] = Dialing()
    try:
        await connection.connect(timeout=TIMEOUT)
    except CONNECTION_EXCEPTIONS as error:
        raise NotPublished(f"the broker cannot be reached: {_reason(error)}") from None
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        try:
            await channel.get_exchange(exchange)
        except ChannelNotFoundEntity:
            problem = f"the broker has no exchange {exchange}: `dispatcher serve` makes it at its first start"
            raise NotPublished(problem) from None
        yield _Broker(await channel.get_underlay_channel(), exchange)


class _Service:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, batch: Sequence[_Ready]) -> None:
        body = b"[%b]" % b",".join(ready.body for ready in batch)
        try:
            async with self._session.post("v1/events", data=body) as answer:
                if answer.status != 202:
                    raise NotPublished(
                        f"the service answered {answer.status}: {(await answer.text())[:1000]}"
                    )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotPublished(f"the service did not answer: {_reason(error)}") from None


@asynccontextmanager
async def _to_service(url: str, key: str) -> AsyncIterator[_Way]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(f"{url.rstrip('/')}/", headers=headers, timeout=timeout) as session:
        yield _Service(session)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
