"""What Dispatcher needs at the broker: the exchange of the events, the queues, and how they are bound."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal
from urllib.parse import unquote

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused
from msgspec import Struct
from pamqp.common import FieldTable

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.connection import reason_of

DELIVERY_LIMIT = 50
"""How often a message is handed out before the broker takes it for the death of its readers.

Every message that is not acknowledged when a process dies or a connection drops is counted, the innocent too:
so it is high. One that kills its readers must be out of the way some time: so it is not higher.
"""

AmqpExchangeType = Literal["topic", "fanout", "direct", "headers"]
"""As which type the exchange of the events is declared; a fanout exchange gives everything to every queue."""

EVERYTHING = "#"
"""The binding that takes every message."""

_OTHER_TYPE = re.compile(r"arg 'type' for exchange .*current is '(.+?)'", re.DOTALL)
"""How RabbitMQ says of which type an exchange is that was declared as another."""


class Topology(Struct, frozen=True, kw_only=True):
    """The exchange and the queue that events come by.

    `bindings` are routing keys or their patterns, or for a headers exchange arguments such as "kind=job&x-match=any".
    With `single_active` one consumer at a time gets messages, so that their order is kept; the others stand by.
    Without `declare` an operator made all of it, and it is only looked at.
    """

    exchange: str
    queue: str
    exchange_type: AmqpExchangeType = "topic"
    bindings: Sequence[str] = (EVERYTHING,)
    single_active: bool = False
    declare: bool = True


class ExchangeInUse(Struct, frozen=True):
    """The exchange as it is at the broker; `difference` is why it could not be declared, None when it could."""

    type: str
    difference: str | None = None


def dead_letter_name(queue: str) -> str:
    """The name of both the exchange and the queue for what cannot be understood."""
    return f"{queue}.dead"


async def prepare(connection: AbstractConnection, topology: Topology) -> ExchangeInUse:
    """Declare all of it, or only look whether it is there.

    Raises SettingsError when a queue exists with other arguments, something may not be used, cannot be bound, or is
    missing although it is not ours to declare.
    """
    if not topology.declare:
        if absent := await missing(connection, topology):
            advice = "declare it, or set amqp.declare (DISPATCHER_AMQP_DECLARE) to true"
            raise SettingsError(f"amqp.declare: {' and '.join(absent)} is missing at the broker; {advice}")
        return ExchangeInUse(topology.exchange_type)
    exchange = await declare_exchange(connection, topology)
    channel = await connection.channel(publisher_confirms=False)
    try:
        queue = await declare_queue(channel, topology.queue, single_active=topology.single_active)
        await _bind(queue, topology, exchange.type)
        await declare_dead_letters(channel, topology.queue)
    finally:
        await channel.close()
    return exchange


async def declare_exchange(connection: AbstractConnection, topology: Topology) -> ExchangeInUse:
    """Declare the durable exchange, or take the one that is there as somebody else declared it.

    Raises SettingsError when it cannot be declared and is not there, or its type does not go with the bindings.
    """
    kind, difference = str(topology.exchange_type), None
    try:
        async with _looking(connection, "amqp.exchange", f"the exchange {topology.exchange}") as channel:
            await channel.declare_exchange(topology.exchange, ExchangeType(kind), durable=True)
    except _NotDeclared as error:
        if not await has_exchange(connection, topology.exchange):
            raise
        difference = error.reason
        if found := _OTHER_TYPE.search(difference):
            kind = found[1]
    for binding in topology.bindings:
        _arguments(binding, topology.exchange, kind)
    return ExchangeInUse(kind, difference)


async def _bind(queue: AbstractQueue, topology: Topology, exchange_type: str) -> None:
    for binding in topology.bindings:
        key, arguments = _arguments(binding, topology.exchange, exchange_type)
        what = f"the binding of {topology.queue} to {topology.exchange} with {binding!r}"
        with _refusals_of("amqp.bindings", what):
            await queue.bind(topology.exchange, key, arguments=arguments)


def _arguments(binding: str, exchange: str, exchange_type: str) -> tuple[str, FieldTable | None]:
    """The routing key and the arguments of a binding to an exchange of this type. Raises SettingsError."""
    if exchange_type == "direct" and binding == EVERYTHING:
        raise SettingsError(
            f"amqp.bindings: the exchange {exchange} is of the type direct, which has no patterns: expected the "
            "routing keys, with commas between them (DISPATCHER_AMQP_BINDINGS)"
        )
    if exchange_type != "headers":
        return binding, None
    if binding == EVERYTHING:
        return "", None
    pairs = [pair.partition("=") for pair in binding.split("&")]
    if not all(name and sign for name, sign, _ in pairs):
        raise SettingsError(
            f"amqp.bindings: the exchange {exchange} is of the type headers: expected headers and their values such "
            f"as kind=job&x-match=any, got {binding!r}"
        )
    return "", {unquote(name): unquote(value) for name, _, value in pairs}


async def missing(connection: AbstractConnection, topology: Topology) -> list[str]:
    """The exchanges and queues that do not exist, such as "the exchange dispatcher.events".

    Raises SettingsError when the broker does not let us look.
    """
    dead = dead_letter_name(topology.queue)
    exchanges = [
        f"exchange {name}" for name in (topology.exchange, dead) if not await has_exchange(connection, name)
    ]
    queues = [f"queue {name}" for name in (topology.queue, dead) if not await _has_queue(connection, name)]
    return [f"the {what}" for what in (*exchanges, *queues)]


async def has_exchange(connection: AbstractConnection, name: str) -> bool:
    """Whether there is such an exchange. Raises SettingsError when the broker does not let us look."""
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


class _NotDeclared(SettingsError):
    """The broker refused a declaration; `reason` is what it said."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def _refusals_of(setting: str, what: str) -> Iterator[None]:
    try:
        yield
    except ChannelPreconditionFailed as error:
        reason = reason_of(error)
        problem = f"{setting}: {what} was refused by the broker: {reason}"
        if setting == "amqp.queue":
            advice = (
                "delete it if it is unused (it is re-created), or name another one with DISPATCHER_AMQP_QUEUE"
            )
            problem = f"{setting}: {what} already exists with different arguments: {reason}; {advice}"
        raise _NotDeclared(problem, reason) from None
    except ChannelAccessRefused as error:
        reason = reason_of(error)
        raise _NotDeclared(f"{setting}: access to {what} refused by the broker: {reason}", reason) from None
