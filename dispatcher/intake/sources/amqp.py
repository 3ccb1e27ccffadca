"""The source AMQP: RabbitMQ, as the section `amqp` of the settings names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.amqp.topology import AmqpExchangeType, Topology
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.ingest_queue import IngestQueue

SECTION = "amqp"


class SecretUrl(Protocol):
    """A URL that hides its password until it is asked for."""

    def reveal(self) -> str: ...


class AmqpSettings(Protocol):
    """The section; see `dispatcher.config.settings.Amqp`."""

    @property
    def url(self) -> SecretUrl | None: ...

    @property
    def exchange(self) -> str: ...

    @property
    def exchange_type(self) -> AmqpExchangeType: ...

    @property
    def bindings(self) -> Sequence[str]: ...

    @property
    def queue(self) -> str: ...

    @property
    def prefetch(self) -> int: ...

    @property
    def single_active_consumer(self) -> bool: ...

    @property
    def declare(self) -> bool: ...


def make_source(
    settings: AmqpSettings, intake: IngestQueue, adapters: Sequence[IntakeAdapter]
) -> Consumer | None:
    """The consumer of the intake queue; None without a URL."""
    if settings.url is None:
        return None
    return Consumer(
        settings.url.reveal(),
        make_topology(settings),
        prefetch=settings.prefetch,
        intake=intake,
        adapters=adapters,
    )


def make_topology(settings: AmqpSettings) -> Topology:
    """The exchange, the queue and its bindings, as the settings name them."""
    return Topology(
        exchange=settings.exchange,
        queue=settings.queue,
        exchange_type=settings.exchange_type,
        bindings=settings.bindings,
        single_active=settings.single_active_consumer,
        declare=settings.declare,
    )
