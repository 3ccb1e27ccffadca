"""The consumer: takes messages from RabbitMQ, and connects again whenever the connection is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.channel_session import ChannelSession
from dispatcher.intake.amqp.connection import LOST, connect, was_cancelled
from dispatcher.intake.amqp.dead_letters import DeadLetters
from dispatcher.intake.amqp.frame_reader import BrokerTransport
from dispatcher.intake.amqp.topology import Topology, prepare
from dispatcher.intake.amqp.topology_check import CHECK_SECONDS, TopologyCheck
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.telemetry.metrics import AMQP_CONNECTED

log = structlog.get_logger("dispatcher.intake")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between two tries to connect, doubled from one to the next."""


class Consumer:
    """Consumes the intake queue: connects, declares, consumes until the connection is lost, and begins again.

    There is one connection with one channel and one consumer, or none. Beside it the exchange and the queues are
    looked at every `check_every` seconds.
    """

    name = "broker"

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        prefetch: int,
        intake: IngestQueue,
        adapters: Sequence[IntakeAdapter] = (),
        check_every: float = CHECK_SECONDS,
    ) -> None:
        self._url = url
        self._topology = topology
        self._prefetch = prefetch
        self._intake = intake
        self._adapters = adapters
        self._dead_letters = DeadLetters(url, topology)
        self._check = TopologyCheck(url, topology, self._checked, check_every)
        self._channel_session: ChannelSession | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._pause = FIRST_PAUSE
        self._was_connected = False
        self._lost_by: str | None = "not connected yet"
        self._problem: str | None = None

    @property
    def error(self) -> str | None:
        """Why events do not come in, or may not: no connection, or an exchange or queue that is not as it should be."""
        return self._lost_by or self._problem

    async def run(self) -> None:
        """Consume until `stop`.

        Raises SettingsError when the broker refuses us, or its queues exist with different arguments, before anything
        was consumed; later this is logged, and tried again.
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
        if self._channel_session is None:
            self._task.cancel()  # it is connecting, or rests
        else:
            self._channel_session.end()
        done, _ = await asyncio.wait({self._task}, timeout=grace)
        if not done:
            log.warning("stopped before all messages were acknowledged: the broker will redeliver them")
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
            log.exception("consuming failed", queue=self._topology.queue)
            self._lost(error)
        finally:
            self._channel_session = None
            AMQP_CONNECTED.set(0)

    async def _session(self) -> None:
        transport = BrokerTransport()
        async with await connect(self._url, "dispatcher intake", transport) as connection:
            exchange = await prepare(connection, self._topology)
            if exchange.difference is not None:
                log.info(
                    "using the exchange as it is",
                    exchange=self._topology.exchange,
                    declared_by_others=exchange.difference,
                )
            channel = await connection.channel(publisher_confirms=False)
            underlay = await channel.get_underlay_channel()
            self._channel_session = ChannelSession(
                underlay, transport, self._intake, self._dead_letters, self._adapters
            )
            await self._channel_session.begin(self._topology.queue, prefetch=self._prefetch)
            self._begun()
            checking = asyncio.create_task(self._check.run())
            checking.add_done_callback(self._check_ended)
            try:
                await self._channel_session.finish()
            finally:
                checking.cancel()
                await asyncio.wait({checking})

    def _begun(self) -> None:
        log.info("consuming", queue=self._topology.queue, exchange=self._topology.exchange)
        self._pause = FIRST_PAUSE
        self._was_connected = True
        self._lost_by = None
        self._checked(None)

    def _checked(self, problem: str | None) -> None:
        """What a look at the exchange and the queues found; None when they are as they should be."""
        if problem != self._problem:
            if problem is None:
                log.info("the exchange and queues are complete again", queue=self._topology.queue)
            else:
                log.warning("the queue may receive no events", queue=self._topology.queue, problem=problem)
        self._problem = problem
        AMQP_CONNECTED.set(0 if problem else 1)

    def _check_ended(self, checking: asyncio.Task[None]) -> None:
        if (
            not checking.cancelled()
            and (error := checking.exception()) is not None
            and self._channel_session is not None
        ):
            self._channel_session.end(error)

    def _lost(self, error: BaseException) -> None:
        self._lost_by = str(error) or type(error).__name__
        log.warning("not consuming", queue=self._topology.queue, error=self._lost_by)

    async def _rest(self) -> None:
        if self._lost_by is not None and not self._stopping:
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
