"""The inbox: messages of one channel are decoded and offered, and acknowledged when they are finished."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import DEFAULT_TENANT, Event, utc_now
from dispatcher.intake.commit import Result, Source
from dispatcher.intake.dead_letters import DeadLetters
from dispatcher.intake.decode import decode
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.received import Received
from dispatcher.intake.transport import Transport
from dispatcher.telemetry.metrics import EVENTS

log = structlog.get_logger("dispatcher.intake")

MAX_HELD = 128 << 20
"""Bytes of memory for messages that are not finished, from which on no more are read."""

_REFUSED = EVENTS.labels("amqp", "refused")


class Offers(Protocol):
    """Takes events in; see `dispatcher.intake.batcher.Intake`."""

    def offer(self, events: Sequence[Event], source: Source, done: Callable[[Result], None]) -> None: ...


class Inbox:
    """What one channel delivers, from 1 on: delivery tags mean nothing on another channel.

    A message is finished when its events are stored, or when the dead-letter queue has it. One
    acknowledgement covers all up to the last one before which every one is finished. `over` is done when
    nothing more is to be expected, with an error when the channel, its connection or its consumer was lost.
    """

    def __init__(
        self,
        channel: AbstractChannel,
        transport: Transport,
        intake: Offers,
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
        self._upto = 0
        self._ahead: set[int] = set()
        self._held = 0
        self._changed = asyncio.Event()
        self._burials: set[asyncio.Task[None]] = set()
        self._gone = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over.add_done_callback(lambda over: over.cancelled() or over.exception())

    async def begin(self, queue: str, *, prefetch: int) -> None:
        """Consume the queue until the `end`."""
        channel = self._channel
        channel.closing.add_done_callback(self._closed)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        await channel.basic_qos(prefetch_count=prefetch)
        self._transport.divert(channel.number, self._receive)
        consuming = await channel.basic_consume(queue, _diverted)
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
            self._gone = True
            for task in (acknowledging, *self._burials):
                task.cancel()
            await asyncio.gather(acknowledging, *self._burials, return_exceptions=True)

    def end(self, error: BaseException | None = None) -> None:
        """Expect nothing more, because of an error or because it is enough."""
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    # Messages in

    def _receive(self, messages: list[Received]) -> None:
        now = utc_now()
        for message in messages:
            self._received += 1
            self._decode(message, self._received, now)
        if self._held > MAX_HELD:
            self._transport.hold()

    def _decode(self, message: Received, tag: int, now: datetime) -> None:
        try:
            events = decode(
                message.understood(),
                default_tenant=DEFAULT_TENANT,
                tenant_fixed=False,
                now=now,
                adapters=self._adapters,
            )
        except InvalidInput as refusal:
            _REFUSED.inc()
            self._bury(message, tag, refusal, "invalid" if refusal.field else "malformed")
        except Exception as error:
            # A fault of ours, but it must not hold up the messages behind this one.
            log.exception("a message could not be decoded", routing_key=message.route[1])
            _REFUSED.inc()
            self._bury(message, tag, InvalidInput("", f"internal error: {error!r}"), "fault")
        else:
            size = len(message.body) + sum([event.size for event in events])
            self._held += size
            self._intake.offer(events, "amqp", partial(self._done, message, tag, size))

    def _read_no_more(self) -> None:
        """What was not read because it is too much goes back to the broker with the end of the connection."""
        if self._transport.held:
            self._transport.divert(self._channel.number, lambda _: None)
            self._transport.go_on()

    def _done(self, message: Received, tag: int, size: int, result: Result) -> None:
        self._let_go(size)
        if not isinstance(result, InvalidInput):
            self._finish(tag)
        elif not self._gone:
            self._bury(message, tag, result, "refused")

    def _bury(self, message: Received, tag: int, refusal: InvalidInput, reason: str) -> None:
        self._held += len(message.body)
        task = asyncio.create_task(self._dead_letters.publish(message, refusal, reason))
        self._burials.add(task)
        task.add_done_callback(partial(self._buried, tag, len(message.body)))

    def _buried(self, tag: int, size: int, task: asyncio.Task[None]) -> None:
        self._burials.discard(task)
        self._let_go(size)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.end(error)
        else:
            self._finish(tag)

    def _let_go(self, size: int) -> None:
        self._held -= size
        if self._held <= MAX_HELD // 2 and not self._gone:
            self._transport.go_on()

    # Acknowledgements out

    def _finish(self, tag: int) -> None:
        self._ahead.add(tag)
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.remove(self._upto)
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
        if self._upto > self._acknowledged:
            self._acknowledged = self._upto
            await self._channel.basic_ack(self._upto, multiple=True, wait=wait)

    async def _drained(self) -> None:
        while self._upto < self._received and not self._channel.is_closed:
            self._changed.clear()
            await self._changed.wait()
        await self._acknowledge(wait=True)

    # What ends it

    def _closed(self, closing: asyncio.Future[None]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self.end(error if isinstance(error, Exception) else ConnectionError("the connection was closed"))
        self._changed.set()

    def _cancelled(self, _: Basic.Cancel) -> None:
        self.end(ConnectionError("the broker cancelled the consumer: the queue was deleted or has moved"))


async def _diverted(_: DeliveredMessage) -> None:
    """The library wants a callback; messages do not get as far as that."""
