"""Publishing to RabbitMQ with confirms: the extra `amqp`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

try:
    import aio_pika
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, PublishError
    from aiormq.abc import AbstractChannel
    from pamqp.commands import Basic
    from yarl import URL

    from dispatcher.intake.amqp.dialing import Dialing
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "publishing to a broker needs the extra amqp: pip install 'dispatcher[amqp]'", name=error.name
    ) from None

from dispatcher.client.errors import NotPublished
from dispatcher.client.outgoing import OutgoingEvent

TIMEOUT = 30.0
"""Seconds within which the broker must have taken an event."""


@asynccontextmanager
async def to_broker(url: str, exchange: str) -> AsyncIterator[BrokerChannel]:
    """A channel to the exchange, while entered. Raises NotPublished."""
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
        yield BrokerChannel(await channel.get_underlay_channel(), exchange)


class BrokerChannel:
    """Publishes to one exchange; an event is confirmed when a queue has it."""

    def __init__(self, channel: AbstractChannel, exchange: str) -> None:
        self._channel = channel
        self._exchange = exchange

    async def send(self, batch: Sequence[OutgoingEvent]) -> None:
        """Publish a batch in its order. Raises NotPublished."""
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

    async def _publish(self, event: OutgoingEvent) -> None:
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            message_id=str(uuid4()),
            timestamp=datetime.now(UTC),
        )
        await self._channel.basic_publish(
            event.body,
            exchange=self._exchange,
            routing_key=event.routing_key,
            properties=properties,
            mandatory=True,
            timeout=TIMEOUT,
        )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
