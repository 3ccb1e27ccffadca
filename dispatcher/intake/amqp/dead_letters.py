"""Dead letters: what cannot be understood goes to a separate queue, with the reason in its headers."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

import structlog
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic
from pamqp.common import FieldTable

from dispatcher.domain.errors import InvalidInput, SettingsError
from dispatcher.domain.events import utc_now
from dispatcher.intake.amqp.connection import LOST, connect, was_cancelled
from dispatcher.intake.amqp.message import UNREADABLE, AmqpMessage
from dispatcher.intake.amqp.topology import Topology, dead_letter_name, declare_dead_letters
from dispatcher.telemetry.metrics import DEAD_LETTERS

log = structlog.get_logger("dispatcher.intake")

_CONFIRM_SECONDS = 30.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0

# With these the broker would drop the message, or refuse it from us.
_NOT_KEPT = ("expiration", "user_id", "reply_to", "cluster_id")
_MAX_HEADERS = 16_384
"""Characters. All headers must fit into one frame."""


class DeadLetters:
    """Publishes to the dead-letter exchange of a queue.

    It has a separate connection: when the broker is short of memory it stops reading from those who
    publish, and that must not hold back acknowledgements.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._queue = topology.queue
        self._declare = topology.declare
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def publish(self, message: AmqpMessage, refusal: InvalidInput, reason: str) -> None:
        """Try until the broker has the message; `reason` is the word by which it is counted."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._publish(message, refusal)
                break
            except (*LOST, SettingsError) as error:
                problem: BaseException = error
            except asyncio.CancelledError as error:
                if was_cancelled():
                    raise
                problem = error
            log.warning("cannot publish a dead letter, retrying", queue=self._queue, error=str(problem))
            await self.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        DEAD_LETTERS.labels(reason).inc()
        log.warning("dead letter", reason=reason, field=refusal.field, problem=refusal.problem)

    async def close(self) -> None:
        """Close the connection; the next letter opens a new one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(*LOST):
                await connection.close()

    async def _publish(self, message: AmqpMessage, refusal: InvalidInput) -> None:
        channel = await self._open()
        try:
            await self._send(channel, message, _properties(message, refusal, with_original=True))
        except (TypeError, ValueError, struct.error):
            # The library reads some headers that it cannot write.
            await self._send(channel, message, _properties(message, refusal, with_original=False))

    async def _send(
        self, channel: AbstractChannel, message: AmqpMessage, properties: Basic.Properties
    ) -> None:
        await channel.basic_publish(
            message.body,
            exchange=dead_letter_name(self._queue),
            routing_key=message.route[1],
            properties=properties,
            mandatory=True,
            timeout=_CONFIRM_SECONDS,
        )

    async def _open(self) -> AbstractChannel:
        async with self._connecting:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._connection = await connect(self._url, "dispatcher dead letters")
                channel = await self._connection.channel(on_return_raises=True)
                if self._declare:
                    await declare_dead_letters(channel, self._queue)
                self._channel = await channel.get_underlay_channel()
            return self._channel


def _properties(message: AmqpMessage, refusal: InvalidInput, *, with_original: bool) -> Basic.Properties:
    """What it had, with the reason and where it came from in the headers."""
    try:
        properties = message.properties
        # The library reads bytes, and writes them as a bytearray only.
        original: FieldTable = {
            name: bytearray(value) if isinstance(value, bytes) else value
            for name, value in (properties.headers or {}).items()
        }
    except UNREADABLE:
        properties = Basic.Properties()
        original = {"x-dispatcher-properties": repr(message.header)[:_MAX_HEADERS]}
    written = repr(original)
    if not with_original or len(written) > _MAX_HEADERS:
        original = {"x-dispatcher-headers": written[:_MAX_HEADERS]}
    not_kept = {name: getattr(properties, name) for name in _NOT_KEPT}
    exchange, routing_key = message.route
    facts: FieldTable = {
        "reason": refusal.problem[:1000],
        "field": refusal.field[:255],
        "exchange": exchange,
        "routing-key": routing_key,
        "time": utc_now().isoformat(),
        **{name.replace("_", "-"): str(value) for name, value in not_kept.items() if value},
    }
    for name in _NOT_KEPT:
        setattr(properties, name, None)
    properties.headers = original | {f"x-dispatcher-{name}": value for name, value in facts.items()}
    properties.delivery_mode = 2
    return properties
