"""The broker: connecting to it, and the exchanges and queues that Dispatcher declares there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal

import aio_pika
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq import TransportFactory
from aiormq.exceptions import ChannelAccessRefused
from msgspec import Struct
from pamqp.common import FieldTable
from yarl import URL

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.dialing import Dialing

DELIVERY_LIMIT = 50
"""How often a message is handed out before the broker takes it for the death of its readers.

Every message that is not acknowledged when a process dies or a connection drops is counted, the innocent too:
so it is high. One that kills its readers must be out of the way some time: so it is not higher.
"""

AmqpExchangeType = Literal["topic", "fanout"]
"""Of which type the exchange of the events is; a fanout exchange gives everything to every queue."""

CONNECT_SECONDS = 10.0
_HEARTBEAT = 15
"""Seconds; a peer that vanished without a word is found after three of them."""

LOST = CONNECTION_EXCEPTIONS
"""What a connection or channel that was lost raises; a new one is worth a try."""


class Topology(Struct, frozen=True, kw_only=True):
    """The exchange and the queue that events come by.

    With `single_active` one consumer at a time gets messages, so that their order is kept; the others stand by.
    Without `declare` an operator made all of it, and it is only looked at.
    """

    exchange: str
    queue: str
    exchange_type: AmqpExchangeType = "topic"
    single_active: bool = False
    declare: bool = True


def dead_letter_name(queue: str) -> str:
    """The name of both the exchange and the queue for what cannot be understood."""
    return f"{queue}.dead"


async def connect(url: str, name: str, transport: TransportFactory | None = None) -> AbstractConnection:
    """A connection, called `name` on the broker's pages. It does not restore itself when it is lost.

    It is made by `transport`, when there is one.

    Raises SettingsError when the broker refuses the user, and one of LOST when it cannot be reached.
    """
    address = URL(url)
    if "heartbeat" not in address.query:
        address = address.update_query(heartbeat=_HEARTBEAT)
    connection = aio_pika.Connection(address, client_properties={"connection_name": name})
    connection.kwargs["transport_factory"] = transport or Dialing()
    try:
        return await _opened(connection)
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise SettingsError(
            f"amqp.url: the broker at {address.host} refuses the user {address.user}: {_text(error)}"
        ) from None
    except InvalidFrameError:
        # The library does not say why the broker closed what it had just opened. There is one reason mostly.
        problem = f"connection closed by broker; does virtual host {address.path[1:] or '/'} exist?"
        raise ConnectionError(problem) from None


async def _opened(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect(timeout=CONNECT_SECONDS)
    except BaseException:
        # Else the collector closes it, in whichever thread that happens to run, and complains.
        await connection.close()
        raise
    return connection


async def prepare(connection: AbstractConnection, topology: Topology) -> None:
    """Declare all of it, or only look whether it is there.

    Raises SettingsError when one of them exists with other arguments, may not be used, or is missing although
    it is not ours to declare.
    """
    if topology.declare:
        channel = await connection.channel(publisher_confirms=False)
        try:
            await declare(
                channel,
                topology.exchange,
                topology.queue,
                topology.exchange_type,
                single_active=topology.single_active,
            )
        finally:
            await channel.close()
    elif absent := await missing(connection, topology):
        advice = "declare it, or set amqp.declare (DISPATCHER_AMQP_DECLARE) to true"
        raise SettingsError(f"amqp.declare: {' and '.join(absent)} is missing at the broker; {advice}")


async def missing(connection: AbstractConnection, topology: Topology) -> list[str]:
    """The exchanges and queues that do not exist, such as "the exchange dispatcher.events".

    Raises SettingsError when the broker does not let us look.
    """
    dead = dead_letter_name(topology.queue)
    exchanges = [
        f"exchange {name}" for name in (topology.exchange, dead) if not await _has_exchange(connection, name)
    ]
    queues = [f"queue {name}" for name in (topology.queue, dead) if not await _has_queue(connection, name)]
    return [f"the {what}" for what in (*exchanges, *queues)]


async def _has_exchange(connection: AbstractConnection, name: str) -> bool:
    async with _looking(connection, "amqp.exchange", f"the exchange {name}") as channel:
        with suppress(ChannelNotFoundEntity):
            await channel.get_exchange(name)
            return True
    return False


async def _has_queue(connection: AbstractConnection, name: str) -> bool:
    async with _looking(connection, "amqp.queue", f"the queue {name}") as channel:
        with suppress(ChannelNotFoundEntity):
            await channel.get_queue(name)
            return True
    return False


@asynccontextmanager
async def _looking(connection: AbstractConnection, setting: str, what: str) -> AsyncIterator[AbstractChannel]:
    """A channel for one look: the broker closes it when there is nothing to see."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        with _refusals_of(setting, what):
            yield channel
    finally:
        await channel.close()


async def declare(
    channel: AbstractChannel,
    exchange: str,
    queue: str,
    exchange_type: AmqpExchangeType = "topic",
    *,
    single_active: bool = False,
) -> None:
    """Declare the durable exchange, the quorum queue bound to all of it, and where its dead letters go.

    With `single_active` one consumer at a time gets messages, so that their order is kept; the others stand by.

    Raises SettingsError when one of them already exists with different arguments.
    """
    with _refusals_of("amqp.exchange", f"the exchange {exchange}"):
        source = await channel.declare_exchange(exchange, ExchangeType(exchange_type), durable=True)
    target = await declare_queue(channel, queue, single_active=single_active)
    with _refusals_of("amqp.queue", f"the queue {queue}"):
        await target.bind(source, "#")
    await declare_dead_letters(channel, queue)


async def declare_queue(
    channel: AbstractChannel, queue: str, *, single_active: bool = False
) -> AbstractQueue:
    """Declare the quorum queue alone. Raises SettingsError when the broker refuses."""
    arguments: FieldTable = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead_letter_name(queue),
        # A message that the broker gives up leaves this queue only when the dead-letter queue has it.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if single_active:
        arguments["x-single-active-consumer"] = True
    with _refusals_of("amqp.queue", f"the queue {queue}"):
        return await channel.declare_queue(queue, durable=True, arguments=arguments)


async def declare_dead_letters(channel: AbstractChannel, queue: str) -> None:
    """Declare the exchange and queue for what cannot be understood. Raises SettingsError when the broker refuses."""
    name = dead_letter_name(queue)
    with _refusals_of("amqp.queue", f"the exchange {name}"):
        source = await channel.declare_exchange(name, ExchangeType.FANOUT, durable=True)
    with _refusals_of("amqp.queue", f"the queue {name}"):
        target = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        await target.bind(source)


@contextmanager
def _refusals_of(setting: str, what: str) -> Iterator[None]:
    variable = f"DISPATCHER_{setting.upper().replace('.', '_')}"
    try:
        yield
    except ChannelPreconditionFailed as error:
        advice = f"delete it if it is unused (it is re-created), or name another one with {variable}"
        raise SettingsError(
            f"{setting}: {what} already exists with different arguments: {_text(error)}; {advice}"
        ) from None
    except ChannelAccessRefused as error:
        raise SettingsError(f"{setting}: access to {what} refused by the broker: {_text(error)}") from None


def _text(error: Exception) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__


def was_cancelled() -> bool:
    """Whether a CancelledError is meant for this task: the library raises it in users of what it closes."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
