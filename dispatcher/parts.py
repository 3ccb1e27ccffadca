"""Makes the parts of a process that its settings describe."""

from __future__ import annotations

from dispatcher.api.tokens import Tokens, read_tokens
from dispatcher.compat.tapis_v3.aftermath import Aftermath
from dispatcher.config import Settings
from dispatcher.delivery.engine import Limits
from dispatcher.intake.broker import Topology
from dispatcher.intake.consumer import Consumer


def make_tokens(settings: Settings) -> Tokens | None:
    """What checks tokens of Tapis; None when none are accepted."""
    tapis = settings.tapis
    return None if tapis.keys is None else read_tokens(tapis.keys, tapis.issuers)


def make_limits(settings: Settings) -> Limits:
    """The bounds of the delivery engine."""
    delivery = settings.delivery
    return Limits(
        concurrency=delivery.concurrency,
        queue=delivery.queue,
        in_memory=delivery.max_in_memory,
        timeout=delivery.timeout,
        lease=delivery.lease,
        grace=delivery.grace,
    )


def make_consumer(settings: Settings, intake: Aftermath) -> Consumer | None:
    """What takes events from the broker; None without one."""
    amqp = settings.amqp
    if amqp.url is None:
        return None
    return Consumer(
        amqp.url.reveal(),
        Topology(
            exchange=amqp.exchange,
            queue=amqp.queue,
            exchange_type=amqp.exchange_type,
            single_active=amqp.single_active_consumer,
            declare=amqp.declare,
        ),
        prefetch=amqp.prefetch,
        intake=intake,
    )
