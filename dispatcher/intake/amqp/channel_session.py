"""The session of one channel: messages are decoded and submitted, and acknowledged when they are finished."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.intake.amqp.dead_letters import DeadLetters
from dispatcher.intake.amqp.frame_reader import BrokerTransport
from dispatcher.intake.amqp.message import AmqpMessage
from dispatcher.intake.decode import decode
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.submission import Result
from dispatcher.telemetry.metrics import EVENTS

log = structlog.get_logger("dispatcher.intake")

MAX_HELD = 128 << 20
"""Bytes of memory for messages that are not finished, from which on no more are read."""

_REFUSED = EVENTS.labels("amqp", "refused")


class ChannelSession:
    """What one channel delivers, from 1 on: delivery tags mean nothing on another channel.

    A message is finished when its events are stored, or when the dead-letter queue has it. One
    acknowledgement covers all up to the last one before which every one is finished. `over` is done when
    nothing more is to be expected, with an error when the channel, its connection or its consumer was lost.
    """

    def __init__(
        self,
        channel: AbstractChannel,
        transport: BrokerTransport,
        intake: IngestQueue,
        dead_letters: DeadLetters,
        adapters: Sequence[IntakeAdapter] = (),
    ) -> None:
        self._channel = channel
        self._transport = transport
        self._intake = intake
        self._dead_letters = dead_letters
        self._adapters = adapters
        self._received = 0
        self._acknowledged = 0
        self._contiguous_tag = 0
        self._out_of_order: set[int] = set()
        self._held = 0
        self._changed = asyncio.Event()
        self._dead_lettering: set[asyncio.Task[None]] = set()
        self._closed = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over.add_done_callback(lambda over: over.cancelled() or over.exception())

    async def begin(self, queue: str, *, prefetch: int) -> None:
        """Consume the queue until the `end`."""
        channel = self._channel
        channel.closing.add_done_callback(self._on_channel_closed)
        channel.on_consumer_cancel_callbacks.add(self._on_consumer_cancelled)
        await channel.basic_qos(prefetch_count=prefetch)
        self._transport.intercept(channel.number, self._receive)
        consuming = await channel.basic_consume(queue, _intercepted)
        self._consumer_tag = str(consuming.consumer_tag)

    async def finish(self) -> None:
        """Wait until it is `over`, and finish what was received. Raises what ended it before its time."""
        acknowledging = asyncio.create_task(self._acknowledge_all())
        try:
            await self.over
            self._read_no_more()
            await self._channel.basic_cancel(self._consumer_tag)
            await self._drained()
        finally:
            self._closed = True
            for task in (acknowledging, *self._dead_lettering):
                task.cancel()
            await asyncio.gather(acknowledging, *self._dead_lettering, return_exceptions=True)

    def end(self, error: BaseException | None = None) -> None:
        """Expect nothing more, because of an error or because it is enough."""
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    # Messages in

    def _receive(self, messages: list[AmqpMessage]) -> None:
        now = utc_now()
        for message in messages:
            self._received += 1
            self._decode(message, self._received, now)
        if self._held > MAX_HELD:
            self._transport.pause()

    def _decode(self, message: AmqpMessage, tag: int, now: datetime) -> None:
        try:
            events = decode(
                message.decodable(),
                default_tenant=DEFAULT_TENANT,
                tenant_fixed=False,
                now=now,
                adapters=self._adapters,
            )
        except InvalidInput as refusal:
            _REFUSED.inc()
            self._dead_letter(message, tag, refusal, "invalid" if refusal.field else "malformed")
        except Exception as error:
            # A fault of ours, but it must not hold up the messages behind this one.
            log.exception("a message could not be decoded", routing_key=message.route[1])
            _REFUSED.inc()
            self._dead_letter(message, tag, InvalidInput("", f"internal error: {error!r}"), "fault")
        else:
            size = len(message.body) + sum([event.size for event in events])
            self._held += size
            self._intake.submit_nowait(events, "amqp", partial(self._done, message, tag, size))

    def _read_no_more(self) -> None:
        """What was not read because it is too much goes back to the broker with the end of the connection."""
        if self._transport.paused:
            self._transport.intercept(self._channel.number, lambda _: None)
            self._transport.resume()

    def _done(self, message: AmqpMessage, tag: int, size: int, result: Result) -> None:
        self._release_bytes(size)
        if not isinstance(result, InvalidInput):
            self._finish(tag)
        elif not self._closed:
            self._dead_letter(message, tag, result, "refused")

    def _dead_letter(self, message: AmqpMessage, tag: int, refusal: InvalidInput, reason: str) -> None:
        self._held += len(message.body)
        task = asyncio.create_task(self._dead_letters.publish(message, refusal, reason))
        self._dead_lettering.add(task)
        task.add_done_callback(partial(self._on_dead_lettered, tag, len(message.body)))

    def _on_dead_lettered(self, tag: int, size: int, task: asyncio.Task[None]) -> None:
        self._dead_lettering.discard(task)
        self._release_bytes(size)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.end(error)
        else:
            self._finish(tag)

    def _release_bytes(self, size: int) -> None:
        self._held -= size
        if self._held <= MAX_HELD // 2 and not self._closed:
            self._transport.resume()

    # Acknowledgements out

    def _finish(self, tag: int) -> None:
        self._out_of_order.add(tag)
        while self._contiguous_tag + 1 in self._out_of_order:
            self._contiguous_tag += 1
            self._out_of_order.remove(self._contiguous_tag)
        self._changed.set()

    async def _acknowledge_all(self) -> None:
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._acknowledge(wait=False)
        except Exception as error:  # noqa: BLE001 - `finish` raises it; unnoticed, nothing would be acknowledged any more
            self.end(error)

    async def _acknowledge(self, *, wait: bool) -> None:
        if self._contiguous_tag > self._acknowledged:
            self._acknowledged = self._contiguous_tag
            await self._channel.basic_ack(self._contiguous_tag, multiple=True, wait=wait)

    async def _drained(self) -> None:
        while self._contiguous_tag < self._received and not self._channel.is_closed:
            self._changed.clear()
            await self._changed.wait()
        await self._acknowledge(wait=True)

    # What ends it

    def _on_channel_closed(self, closing: asyncio.Future[None]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self.end(error if isinstance(error, Exception) else ConnectionError("the connection was closed"))
        self._changed.set()

    def _on_consumer_cancelled(self, _: Basic.Cancel) -> None:
        self.end(ConnectionError("the broker cancelled the consumer: the queue was deleted or has moved"))


async def _intercepted(_: DeliveredMessage) -> None:
    """The library wants a callback; messages do not get as far as that."""
