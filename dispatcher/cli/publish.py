"""`dispatcher publish`: one event from options, or many from a file of JSON lines."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from dispatcher.cli.connection import Access, access, explained
from dispatcher.cli.files import open_file, read_file
from dispatcher.cli.options import Key
from dispatcher.cli.output import say
from dispatcher.client.errors import ClientError, NotPublished
from dispatcher.client.outgoing import BATCH, BATCH_BYTES, OutgoingEvent, outgoing
from dispatcher.config.loading import load
from dispatcher.config.types import Url
from dispatcher.domain.errors import DispatcherError, InvalidInput
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.domain.json_text import encoded

if TYPE_CHECKING:
    from dispatcher.intake.decode_context import IntakeAdapter


class Line(NamedTuple):
    """An event of a file, and where it stands, from 1."""

    number: int
    event: OutgoingEvent


Send = Callable[[Sequence[OutgoingEvent]], Awaitable[int]]
"""Publishes a batch in its order; returns how many of its events were known already. Raises NotPublished."""


class BadLine(DispatcherError):
    """A line is no event; the message says which, and why."""


File = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE", help="File with one event per line as JSON; - reads stdin.", show_default=False
    ),
]
EventName = Annotated[
    str | None, typer.Option("--event", metavar="NAME", help="Event name, such as FINISHED.")
]
Text = Annotated[str | None, typer.Option("--message", metavar="TEXT", help="Human-readable message.")]
Data = Annotated[
    str | None, typer.Option("--data", metavar="JSON", help="A JSON object: the data of the event.")
]
JobFile = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="FILE",
        help="The job document as JSON; missing fields of the event are taken from it.",
    ),
]
Http = Annotated[
    str | None,
    typer.Option(
        "--http",
        "--server",
        envvar="DISPATCHER_SERVER",
        metavar="URL",
        help="Publish to the API at this URL. Default: the broker of DISPATCHER_AMQP_URL, else the local API.",
    ),
]


def publish(
    file: File = None,
    event: EventName = None,
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="ID of the job.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Owner of the job.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Tenant of the key.")] = None,
    message: Text = None,
    data: Data = None,
    job: JobFile = None,
    http: Http = None,
    key: Key = None,
) -> None:
    """Publish one event, or all events of a file, and wait until they are confirmed.

    A line that is no event stops it: what came before is published, and nothing after.

    \b
    Examples:
      dispatcher publish --event FINISHED --job-id 0001-007 --owner alice
      dispatcher publish --job job.json --http https://dispatcher.example.org
      dispatcher publish events.jsonl
    """
    document = {
        "event": event,
        "job_id": job_id,
        "owner": owner,
        "tenant": tenant,
        "message": message,
        "data": None if data is None else _json(data, "--data"),
        "job": None if job is None else _json(read_file(job, "--job"), "--job"),
    }
    given = {name: value for name, value in document.items() if value is not None}
    if bool(given) == (file is not None):
        raise typer.BadParameter("expected either a FILE or an event's options", param_hint="FILE")
    if file is None:
        line = _event(0, encoded(given))
        asyncio.run(_publish(_channel(http, key), iter([[line]]), lambda _: None))
    else:
        with open_file(file, "FILE") as stream, _progress(file) as advance:
            asyncio.run(_publish(_channel(http, key), _batches(stream), advance))


def _channel(http: str | None, key: str | None) -> AbstractAsyncContextManager[Send]:
    settings = load()
    if http is None and settings.amqp.url is not None:
        return _to_broker(settings.amqp.url, settings.amqp.exchange)
    return _to_server(access(http, key))


@asynccontextmanager
async def _to_server(where: Access) -> AsyncIterator[Send]:
    """To the HTTP API, which takes a batch as a whole or not at all."""
    async with where.async_client() as client:

        async def send(batch: Sequence[OutgoingEvent]) -> int:
            try:
                return (await client.events.publish_batch(batch)).duplicates
            except NotPublished as error:
                cause = error.__cause__
                raise NotPublished(explained(cause if isinstance(cause, ClientError) else error)) from None

        yield send


@asynccontextmanager
async def _to_broker(url: Url, exchange: str) -> AsyncIterator[Send]:
    """To the exchange; the broker confirms each event after a queue has it. Raises NotPublished."""
    from dispatcher.client.amqp import to_broker

    async with AsyncExitStack() as stack:
        with _at_broker(url):
            channel = await stack.enter_async_context(to_broker(url.reveal(), exchange))

        async def send(batch: Sequence[OutgoingEvent]) -> int:
            with _at_broker(url):
                await channel.send(batch)
            return 0

        yield send


@contextmanager
def _at_broker(url: Url) -> Iterator[None]:
    try:
        yield
    except NotPublished as error:
        raise NotPublished(f"{url}: {error}", error.confirmed) from None


async def _publish(
    channel: AbstractAsyncContextManager[Send], batches: Iterator[list[Line]], advance: Callable[[int], None]
) -> None:
    published = known = 0
    async with channel as send:
        try:
            # In a thread, because stdin may let us wait while the broker wants to hear of us.
            while batch := await asyncio.to_thread(next, batches, None):
                known += await _send(send, batch)
                published += len(batch)
                advance(sum(len(line.event.body) + 1 for line in batch))
        except NotPublished as error:
            published += error.confirmed
            raise NotPublished(f"{error}; published for certain: {published}") from None
        except BadLine as error:
            raise BadLine(f"{error}; published, all before it: {published}") from None
    say(f"Events published: {published}{f', of them known already: {known}' if known else ''}.")


async def _send(send: Send, batch: list[Line]) -> int:
    try:
        return await send([line.event for line in batch])
    except NotPublished as error:
        # The API counts within its array; the user counts lines.
        message = re.sub(r"\[(\d+)\]\.?", lambda found: _at(batch[int(found[1])].number), str(error))
        raise NotPublished(message, error.confirmed) from None


def _batches(stream: IO[bytes]) -> Iterator[list[Line]]:
    """The events of a file in batches; a bad line rises after the batch of those before it."""
    batch: list[Line] = []
    size = 0
    for number, text in enumerate(stream, 1):
        if not text.strip():
            continue
        try:
            line = _event(number, text.strip())
        except BadLine:
            if batch:
                yield batch
            raise
        if len(batch) == BATCH or (batch and size + len(text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(text)
    if batch:
        yield batch


def _event(number: int, document: bytes) -> Line:
    """An event, checked here as the service checks it: what it refuses would end in the dead-letter queue."""
    from dispatcher.intake.body import repaired
    from dispatcher.intake.decode import Message, decode

    # What the service would read as it was meant has to be JSON on the way there too.
    document = repaired(Message(origin="amqp", body=document))
    if document.startswith(b"["):
        raise BadLine(f"{_at(number)}expected an object, got an array")
    message = Message(origin="amqp", body=document)
    try:
        decode(
            message,
            default_tenant=DEFAULT_TENANT,
            tenant_fixed=False,
            now=utc_now(),
            adapters=_adapters(),
        )
    except InvalidInput as error:
        raise BadLine(f"{_at(number)}{error}") from None
    return Line(number, outgoing(msgspec.json.decode(document)))


@cache
def _adapters() -> Sequence[IntakeAdapter]:
    """What the service reads besides its own forms of events."""
    from dispatcher import compat
    from dispatcher.intake.adapters import load_adapters

    return [*load_adapters(), *compat.adapters()]


def _at(number: int) -> str:
    return f"line {number}: " if number else ""


@contextmanager
def _progress(file: str) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal that grows with the bytes that are through."""
    from rich.console import Console
    from rich.progress import Progress

    size = None if file == "-" else Path(file).stat().st_size
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("publishing", total=size)
        yield lambda bytes_: progress.advance(task, bytes_)


def _json(text: str | bytes, option: str) -> object:
    from dispatcher.intake.body import repaired
    from dispatcher.intake.decode import Message

    if isinstance(text, bytes):
        text = repaired(Message(origin="http", body=text))
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"expected JSON: {error}", param_hint=option) from None
