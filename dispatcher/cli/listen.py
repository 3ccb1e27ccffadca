"""`dispatcher listen`: see events as they come, through a subscription that lasts as long as the command."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.connection import Access, access
from dispatcher.cli.options import AsJson, Key, Server
from dispatcher.cli.output import cell, console, plain, say
from dispatcher.cli.sink import show_line
from dispatcher.client import ApiError, AsyncClient
from dispatcher.client.fields import NewSubscription
from dispatcher.client.models import SubscriptionWithSecret
from dispatcher.domain.errors import DispatcherError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.cli.receiver import Request

LIFETIME = timedelta(days=1)
"""When the subscription ends by itself, should this command be killed before it can remove it."""


_ADVICE = (
    "for a receiver on the server's own machine start it with DISPATCHER_NETWORK_ALLOW=127.0.0.0/8; see --url"
)


class NoWayBack(DispatcherError):
    """The server cannot reach the receiver of this command."""


def listen(
    events: Annotated[
        str,
        typer.Option(
            "--events", metavar="NAMES", help="Comma-separated event names, ARCHIVING*, @terminal or *."
        ),
    ] = "*",
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="Only jobs of this owner (admins only).")
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Port to listen on at 127.0.0.1; 0 picks a free one."),
    ] = 0,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Host under which the server reaches this port. Default: 127.0.0.1."
        ),
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Print events as they are delivered, until Ctrl-C.

    It starts a receiver, subscribes it, and removes the subscription at the end. The server must be allowed to
    deliver there: start it with DISPATCHER_NETWORK_ALLOW=127.0.0.0/8.

    \b
    Example:
      dispatcher listen --events FINISHED,FAILED
    """
    wanted = NewSubscription(
        name="dispatcher listen",
        events=events.split(","),
        target={"kind": "webhook"},
        job_id=job_id,
        owner=owner,
        retry={"strategy": "none"},
        expires_at=datetime.now(UTC) + LIFETIME,
    )
    asyncio.run(_listen(access(server, key), wanted, port, url, show_line if as_json else _show))


async def _listen(
    where: Access, wanted: NewSubscription, port: int, url: str | None, show: Callable[[Request], None]
) -> None:
    from aiohttp import web

    from dispatcher.cli.receiver import receiver, until_stopped

    secret: str | None = None
    ready = False

    def answer(request: Request) -> web.Response:
        if request.signature != "good":
            return web.Response(status=401)
        if ready:  # what comes before is the test of the way
            show(request)
        return web.Response(status=204)

    async with receiver(port, lambda: secret, answer) as own_url, where.async_client() as client:
        created = await _subscribe(client, wanted, f"{(url or own_url).rstrip('/')}/{token_urlsafe(16)}")
        secret = created.secret
        try:
            await _check_way(client, created.id)
            ready = True
            say(f"Listening on {own_url} for {', '.join(created.events)}. Ctrl-C ends it.")
            await until_stopped(LIFETIME.total_seconds())
        finally:
            await client.subscriptions.delete(created.id)


async def _subscribe(client: AsyncClient, wanted: NewSubscription, url: str) -> SubscriptionWithSecret:
    wanted["target"] = {"kind": "webhook", "url": url}
    try:
        return await client.subscriptions.create(**wanted)
    except ApiError as error:
        raise NoWayBack(f"{error}\n  {_ADVICE}") if "target.url" in str(error) else error from None


async def _check_way(client: AsyncClient, id: str) -> None:
    result = await client.subscriptions.test(id)
    if not result.delivered:
        raise NoWayBack(
            f"the server cannot reach this command: {result.request}: {result.error}\n  {_ADVICE}"
        )


def _show(request: Request) -> None:
    from rich.text import Text

    event = request.body if isinstance(request.body, dict) else {}
    data = event.get("data")
    message = data.get("message") if isinstance(data, dict) else None
    name = str(event.get("type", "")).rpartition(".")[2]
    line = Text(f"{datetime.now(UTC):%H:%M:%SZ}  ", style="dim")
    parts = [event.get("subject"), event.get("owner"), message]
    line += Text.assemble(cell(name), "  ", "  ".join(plain(part) for part in parts if part))
    console().print(line, soft_wrap=True)
