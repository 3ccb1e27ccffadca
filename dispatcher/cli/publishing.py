"""Two ways to publish events from the command line: to the broker with confirms, or to the HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

import msgspec

from dispatcher.cli.client import Access, Api
from dispatcher.config_values import Url
from dispatcher.domain.errors import DispatcherError, NotPublished


class Line(NamedTuple):
    """An event as it was given, and where, from 1."""

    number: int
    document: bytes


Way = Callable[[Sequence[Line]], Awaitable[int]]
"""Publishes a batch in its order; returns how many of its events were known already. Raises NotPublished."""


@asynccontextmanager
async def to_server(access: Access) -> AsyncIterator[Way]:
    """To the HTTP API, which takes a batch as a whole or not at all."""
    async with Api(access) as api:

        async def send(batch: Sequence[Line]) -> int:
            try:
                answer = await api.ask(
                    "POST", "/v1/events", document=[msgspec.Raw(line.document) for line in batch]
                )
            except DispatcherError as error:
                raise NotPublished(str(error)) from None
            return int(answer["duplicates"])

        yield send


@asynccontextmanager
async def to_broker(url: Url, exchange: str) -> AsyncIterator[Way]:
    """To the exchange; the broker confirms each event after a queue has it. Raises NotPublished."""
    from dispatcher.client import Publisher  # slow to import, and not needed for --help

    async with AsyncExitStack() as stack:
        with _at(url):
            publisher = await stack.enter_async_context(Publisher.amqp(url.reveal(), exchange=exchange))

        async def send(batch: Sequence[Line]) -> int:
            with _at(url):
                await publisher.publish_many(msgspec.json.decode(line.document) for line in batch)
            return 0

        yield send


@contextmanager
def _at(url: Url) -> Iterator[None]:
    try:
        yield
    except NotPublished as error:
        raise NotPublished(f"{url}: {error}", error.confirmed) from None
