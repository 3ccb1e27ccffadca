"""Connections to the broker: how one is opened, and what their loss raises."""

from __future__ import annotations

import asyncio

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq import TransportFactory
from yarl import URL

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.dialing import Dialing

CONNECT_SECONDS = 10.0
_HEARTBEAT = 15
"""Seconds; a peer that vanished without a word is found after three of them."""

LOST = CONNECTION_EXCEPTIONS
"""What a connection or channel that was lost raises; a new one is worth a try."""


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
            f"amqp.url: the broker at {address.host} refuses the user {address.user}: {reason_of(error)}"
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


def reason_of(error: Exception) -> str:
    """What the broker says in an error of the library."""
    return str(error.args[-1]) if error.args else type(error).__name__


def was_cancelled() -> bool:
    """Whether a CancelledError is meant for this task: the library raises it in users of what it closes."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
