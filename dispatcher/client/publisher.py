"""Publishing events from asyncio, to RabbitMQ or to the service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from dispatcher.client.aio.client import AsyncClient
from dispatcher.client.errors import NotPublished
from dispatcher.client.outgoing import Event, OutgoingEvent, batches
from dispatcher.client.retries import Retries


class Channel(Protocol):
    """Where a publisher sends to, while it is open."""

    async def send(self, batch: Sequence[OutgoingEvent]) -> None:
        """Publish a batch in its order. Raises NotPublished."""
        ...


class Publisher:
    """Publishes events; each is stored by the broker or the service when the call returns.

    >>> async with Publisher.amqp("amqp://guest:guest@127.0.0.1/") as publisher:
    ...     await publisher.publish({"event": "FINISHED", "job_id": "0001-007", "owner": "alice"})

    An event without an `id` gets one. Give it an id yourself to publish it again after NotPublished: with
    the same id it is delivered once.
    """

    def __init__(self, open_channel: Callable[[], AbstractAsyncContextManager[Channel]]) -> None:
        self._open_channel = open_channel
        self._stack = AsyncExitStack()

    @classmethod
    def amqp(cls, url: str, *, exchange: str = "dispatcher.events") -> Publisher:
        """To the exchange of a broker, which must have a queue for the events. Needs the extra `amqp`."""
        from dispatcher.client.amqp import to_broker

        return cls(lambda: to_broker(url, exchange))

    @classmethod
    def http(cls, url: str, *, key: str, retries: Retries | None = None) -> Publisher:
        """To the API of Dispatcher at `url`, with a key that may publish."""
        return cls(lambda: _Service(AsyncClient(url, key, retries=retries)))

    async def __aenter__(self) -> Self:
        """Connect. Raises NotPublished when that fails."""
        self._channel = await self._stack.enter_async_context(self._open_channel())
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
        for batch in batches(events):
            try:
                await self._channel.send(batch)
            except NotPublished as error:
                raise NotPublished(str(error), len(ids) + error.confirmed) from None
            ids += [event.id for event in batch]
        return ids


class _Service:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def send(self, batch: Sequence[OutgoingEvent]) -> None:
        await self._client.events.publish_batch(batch)
