"""Two ways to publish events from the command line: to the broker with confirms, or to the HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

from msgspec import Raw

from dispatcher.cli.client import Access, Api
from dispatcher.config_values import Url
from dispatcher.domain.errors import DispatcherError

TIMEOUT = 30.0
"""Seconds that the broker has to answer, and to confirm a message."""


class Line(NamedTuple):
    """An event as it was given, where (from 1), and its name."""

    number: int
    document: bytes
    event: str


class NotPublished(DispatcherError):
    """A batch of events did not go, but for its first `confirmed` ones."""

    def __init__(self, message: str, confirmed: int = 0) -> None:
        super().__init__(message)
        self.confirmed = confirmed


Way = Callable[[Sequence[Line]], Awaitable[int]]
"""Publishes a batch in its order; returns how many of its events were known already. Raises NotPublished."""


@asynccontextmanager
async def to_server(access: Access) -> AsyncIterator[Way]:
    """To the HTTP API, which takes a batch as a whole or not at all."""
    async with Api(access) as api:

        async def send(batch: Sequence[Line]) -> int:
            try:
                answer = await api.ask("POST", "/v1/events", document=[Raw(line.document) for line in batch])
            except DispatcherError as error:
                raise NotPublished(str(error)) from None
            return int(answer["duplicates"])

        yield send


@asynccontextmanager
async def to_broker(url: Url, exchange_name: str) -> AsyncIterator[Way]:
    """To the exchange; each message is confirmed by the broker after a queue has it. Raises NotPublished."""
    import aio_pika
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity

    try:
        connection = await aio_pika.connect(url.reveal(), timeout=TIMEOUT)
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise NotPublished(f"the broker at {url} cannot be reached: {_reason(error)}") from None
    async with connection:
        # Without on_return_raises a message that no queue takes would be lost without a word.
        channel = await connection.channel(on_return_raises=True)
        try:
            exchange = await channel.get_exchange(exchange_name)
        except ChannelNotFoundEntity:
            message = (
                f"the broker has no exchange {exchange_name}: `dispatcher serve` makes it at its first start"
            )
            raise NotPublished(message) from None

        async def publish(line: Line) -> None:
            message = aio_pika.Message(
                line.document,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                # An event without an id gets one from this, the same should the message come twice.
                message_id=str(uuid4()),
            )
            await exchange.publish(message, f"job.{line.event}", timeout=TIMEOUT)

        async def send(batch: Sequence[Line]) -> int:
            # gather starts them in their order, and each writes its frames before the next one starts.
            outcomes = await asyncio.gather(*map(publish, batch), return_exceptions=True)
            for confirmed, outcome in enumerate(outcomes):
                if isinstance(outcome, (*CONNECTION_EXCEPTIONS, TimeoutError)):
                    raise NotPublished(f"the broker did not confirm: {_reason(outcome)}", confirmed)
                if outcome is not None and isinstance(outcome, BaseException):
                    raise outcome
            return 0

        yield send


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
