"""Publishing to RabbitMQ with confirms: the extra `amqp`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from uuid import uuid4

try:
    import aio_pika
    from aio_pika.exceptions import (
        CONNECTION_EXCEPTIONS,
        ChannelClosed,
        ChannelNotFoundEntity,
        DeliveryError,
        PublishError,
    )
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

_FAILURES = (*CONNECTION_EXCEPTIONS, asyncio.CancelledError)
"""What the library raises when the broker is lost: it cancels those who wait on the connection."""


@asynccontextmanager
async def to_broker(url: str, exchange: str) -> AsyncIterator[BrokerChannel]:
    """A channel to the exchange, while entered. Raises NotPublished, and ValueError for what is no URL of a broker."""
    connection = aio_pika.Connection(_checked(url))
    connection.kwargs = {
        "transport_factory": Dialing()
    }  # which dials in one way, whatever the URL's query asks for
    try:
        channel = await _opened(connection, exchange)
        yield BrokerChannel(channel, exchange)
    finally:
        with suppress(*CONNECTION_EXCEPTIONS):  # what is confirmed is published, however the connection ends
            await connection.close()


async def _opened(connection: aio_pika.Connection, exchange: str) -> AbstractChannel:
    try:
        async with asyncio.timeout(TIMEOUT):
            await connection.connect()
            channel = await connection.channel(on_return_raises=True)
            await channel.get_exchange(exchange)
            return await channel.get_underlay_channel()
    except ChannelNotFoundEntity:
        problem = f"the broker has no exchange {exchange}: `dispatcher serve` makes it at its first start"
        raise NotPublished(problem) from None
    except ChannelClosed as error:
        raise NotPublished(f"the broker refuses the exchange {exchange}: {_reason(error)}") from None
    except TimeoutError:
        raise NotPublished(f"the broker cannot be reached: no response in {TIMEOUT:g} s") from None
    except _FAILURES as error:
        if _is_ours(error):
            raise
        raise NotPublished(f"the broker cannot be reached: {_reason(error)}") from None


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
            if isinstance(outcome, DeliveryError):
                raise NotPublished("the broker refused the event: a queue is full", confirmed)
            if isinstance(outcome, _FAILURES):
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


def _checked(url: str) -> URL:
    """The URL of a broker. Raises ValueError, whose message shows no password."""
    try:
        found = URL(url)
        if found.scheme in ("amqp", "amqps") and found.host:
            return found
    except ValueError:
        pass
    raise ValueError("expected the URL of a broker such as amqp://user:password@host:5672/vhost")


def _is_ours(error: BaseException) -> bool:
    """Whether it is a cancellation of the task itself, and not the library's."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
