"""The consumer: takes messages from RabbitMQ, and begins anew whenever the connection is lost."""

from __future__ import annotations

import asyncio
import random

import structlog

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.broker import LOST, AmqpExchangeType, connect, declare, was_cancelled
from dispatcher.intake.dead_letters import DeadLetters
from dispatcher.intake.inbox import Inbox, Offers
from dispatcher.intake.transport import Transport
from dispatcher.telemetry.metrics import AMQP_CONNECTED

log = structlog.get_logger("dispatcher.intake")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between two tries to connect, doubled from one to the next."""


class Consumer:
    """Consumes the intake queue: connects, declares, consumes until the connection is lost, and begins again.

    There is one connection with one channel and one consumer, or none. `error` says why there is none; it is
    None while events are consumed.
    """

    def __init__(
        self,
        url: str,
        *,
        exchange: str,
        queue: str,
        prefetch: int,
        intake: Offers,
        exchange_type: AmqpExchangeType = "topic",
        single_active: bool = False,
    ) -> None:
        self._url = url
        self._exchange = exchange
        self._exchange_type = exchange_type
        self._single_active = single_active
        self._queue = queue
        self._prefetch = prefetch
        self._intake = intake
        self._dead_letters = DeadLetters(url, queue)
        self._inbox: Inbox | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._pause = FIRST_PAUSE
        self._was_connected = False
        self.error: str | None = "not connected yet"

    async def run(self) -> None:
        """Consume until `stop`.

        Raises SettingsError when the broker refuses us, or its exchanges and queues are made otherwise,
        before anything was consumed; later this is logged, and tried again.
        """
        self._task = asyncio.current_task()
        try:
            while not self._stopping:
                await self._consume()
                await self._rest()
        finally:
            await self._dead_letters.close()

    async def stop(self, grace: float) -> None:
        """Consume nothing more, and wait at most `grace` seconds to acknowledge what was received."""
        self._stopping = True
        if self._task is None:
            return
        if self._inbox is None:
            self._task.cancel()  # it is connecting, or rests
        else:
            self._inbox.end()
        done, _ = await asyncio.wait({self._task}, timeout=grace)
        if not done:
            log.warning("stopped before all messages were acknowledged: the broker delivers them again")
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _consume(self) -> None:
        """From a connection to its end, whatever the reason."""
        try:
            await self._session()
        except SettingsError as error:
            if not self._was_connected:
                raise
            self._lost(error)
        except LOST as error:
            self._lost(error)
        except asyncio.CancelledError as error:
            if was_cancelled():
                raise
            self._lost(error)
        except Exception as error:
            # A fault of ours may cost a message its place, but never the whole process its life.
            log.exception("consuming failed", queue=self._queue)
            self._lost(error)
        finally:
            self._inbox = None
            AMQP_CONNECTED.set(0)

    async def _session(self) -> None:
        transport = Transport()
        async with await connect(self._url, "dispatcher intake", transport) as connection:
            channel = await connection.channel(publisher_confirms=False)
            await declare(
                channel, self._exchange, self._queue, self._exchange_type, single_active=self._single_active
            )
            underlay = await channel.get_underlay_channel()
            self._inbox = Inbox(underlay, transport, self._intake, self._dead_letters)
            await self._inbox.begin(self._queue, prefetch=self._prefetch)
            self._begun()
            await self._inbox.finish()

    def _begun(self) -> None:
        log.info("consuming", queue=self._queue, exchange=self._exchange)
        self._pause = FIRST_PAUSE
        self._was_connected = True
        self.error = None
        AMQP_CONNECTED.set(1)

    def _lost(self, error: BaseException) -> None:
        self.error = str(error) or type(error).__name__
        log.warning("not consuming", queue=self._queue, error=self.error)

    async def _rest(self) -> None:
        if self.error is not None:
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
