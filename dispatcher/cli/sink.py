"""`dispatcher sink`: a receiver that prints what arrives, and misbehaves when asked to."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.options import AsJson
from dispatcher.cli.output import console, plain, say

if TYPE_CHECKING:
    from aiohttp import web

    from dispatcher.cli.receiver import Request


def sink(
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Port to listen on at 127.0.0.1; 0 picks a free one."),
    ] = 9000,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret", envvar="WEBHOOK_SECRET", metavar="whsec_…", help="Verify signatures with this secret."
        ),
    ] = None,
    status: Annotated[
        int, typer.Option("--status", min=200, max=599, help="Status code of the responses.")
    ] = 204,
    retry_after: Annotated[
        str | None,
        typer.Option(
            "--retry-after", metavar="SECONDS|DATE", help="Send this Retry-After header in responses."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Receive webhooks on this machine and print the requests until Ctrl-C.

    \b
    Deliver to it with DISPATCHER_NETWORK_ALLOW=127.0.0.0/8. Examples:
      dispatcher sink --port 9000 --secret whsec_…
      dispatcher sink --status 503 --retry-after 2
    """
    from dispatcher.targets.signing import Signer

    if secret is not None:
        try:
            Signer([secret])
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--secret") from None
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    asyncio.run(_sink(port, secret, HTTPStatus(status), headers, as_json))


async def _sink(
    port: int, secret: str | None, status: HTTPStatus, headers: dict[str, str], as_json: bool
) -> None:
    from aiohttp import web

    from dispatcher.cli.receiver import receiver, until_stopped

    def answer(request: Request) -> web.Response:
        show_line(request) if as_json else show(request)
        return web.Response(status=status, headers=headers)

    async with receiver(port, lambda: secret, answer) as url:
        say(f"Listening on {url}, answering {status.value} {status.phrase}. Ctrl-C ends it.")
        await until_stopped()


def show(request: Request) -> None:
    """Print a request for people."""
    import msgspec
    from rich.text import Text

    out = console()
    now = datetime.now(UTC).strftime("%H:%M:%SZ")
    out.print(
        Text.assemble((now, "dim"), f"  {plain(request.method)} ", (plain(request.path), "bold")),
        soft_wrap=True,
    )
    if request.id:
        out.print(Text(f"           webhook-id {plain(request.id)}"), soft_wrap=True)
    if request.signature is not None:
        style = "green" if request.signature == "good" else "red"
        out.print(Text(f"           signature: {plain(request.signature)}", style=style), soft_wrap=True)
    if isinstance(request.body, str):
        lines = request.body.splitlines()
    else:
        lines = msgspec.json.format(msgspec.json.encode(request.body), indent=2).decode().splitlines()
    for line in lines:
        out.print(Text(f"           {plain(line)}"), soft_wrap=True)


def show_line(request: Request) -> None:
    """Print a request as one line of JSON."""
    import msgspec

    document = {"time": datetime.now(UTC), **msgspec.structs.asdict(request)}
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()
