"""A look at the broker now and then: are the exchange, the queue and its binding still there?

A consumer does not notice that they are gone: the broker says nothing, and no message comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from aio_pika.abc import AbstractConnection

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.connection import LOST, connect, was_cancelled
from dispatcher.intake.amqp.topology import Topology, missing, prepare

log = structlog.get_logger("dispatcher.intake")

CHECK_SECONDS = 30.0
"""From one look to the next."""

_ANSWER_SECONDS = 20.0


class TopologyCheck:
    """Looks at the exchanges and queues, and declares and binds them again unless they are not ours to declare.

    It has a separate connection, because a look at what is missing closes the channel that it was made on, and
    because the consumer reads nothing for a while when it has too much in memory. `report` is called after each
    look with what is wrong, or None.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        report: Callable[[str | None], None],
        interval: float = CHECK_SECONDS,
    ) -> None:
        self._url = url
        self._topology = topology
        self._report = report
        self._interval = interval
        self._connection: AbstractConnection | None = None

    async def run(self) -> None:
        """Look every `interval` seconds until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                self._report(await self._problem())
        finally:
            await self._close()

    async def _problem(self) -> str | None:
        """What is wrong with the broker, if anything."""
        # The first try may have a connection that was lost since the last look.
        return await self._tried() and await self._tried()

    async def _tried(self) -> str | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._look()
            return None
        except SettingsError as error:
            return str(error)
        except TimeoutError:
            problem = (
                f"the broker did not answer a look at its exchanges and queues within {_ANSWER_SECONDS:g} s"
            )
        except LOST as error:
            problem = f"no look at the broker's exchanges and queues: {str(error) or type(error).__name__}"
        except asyncio.CancelledError:
            if was_cancelled():
                raise
            problem = "the connection was lost during a look at the broker's exchanges and queues"
        except Exception as error:
            # A fault of ours must not end the looks.
            log.exception("cannot check the exchange and queues", queue=self._topology.queue)
            problem = f"internal error: {error!r}"
        await self._close()
        return problem

    async def _look(self) -> None:
        connection = await self._open()
        absent = await missing(connection, self._topology) if self._topology.declare else []
        if absent:
            log.warning(
                "missing at the broker, declaring it again: events may have been lost", missing=absent
            )
        await prepare(connection, self._topology)
        if absent:
            log.info("declared and bound again", declared=absent)

    async def _open(self) -> AbstractConnection:
        if self._connection is None or self._connection.is_closed:
            await self._close()
            self._connection = await connect(self._url, "dispatcher check")
        return self._connection

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*LOST):
                await connection.close()
