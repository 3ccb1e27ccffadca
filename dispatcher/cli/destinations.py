"""`dispatcher destinations`: what shares a fate, how it is, and holding it."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.options import AsJson, Key, Limit, Server
from dispatcher.cli.output import print_fields, print_items, print_json, say
from dispatcher.client.models import RateLimit

app = typer.Typer(no_args_is_help=True, help="Inspect, pause, resume and rate-limit destinations.")

Destination = Annotated[
    str,
    typer.Argument(metavar="KEY", help="Destination as shown by `subscriptions`: https://example.org:443."),
]


@app.command("list")
def list_destinations(
    limit: Limit = 50, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """List destinations with their circuit breakers and pending deliveries.

    \b
    Example:
      dispatcher destinations list
    """
    with connected(server, key) as client:
        found = client.destinations.list().collect(limit)
    columns = ["key", "breaker", "waiting", "next_probe_at", "paused_at", "reason"]
    print_items(found, columns, as_json, "No destinations.")


@app.command()
def show(destination: Destination, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Show a destination.

    \b
    Example:
      dispatcher destinations show https://example.org:443
    """
    with connected(server, key) as client:
        found = client.destinations.get(destination)
    print_json(found) if as_json else print_fields(found)


@app.command()
def pause(
    destination: Destination,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Human-readable reason.")
    ] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Pause all deliveries to a destination until it is resumed.

    \b
    Example:
      dispatcher destinations pause https://example.org:443 --reason maintenance
    """
    with connected(server, key) as client:
        client.destinations.pause(destination, reason=reason)
    say(f"{destination} is paused: its deliveries wait.")


@app.command()
def resume(destination: Destination, server: Server = None, key: Key = None) -> None:
    """Resume a paused destination and close its circuit breaker.

    \b
    Example:
      dispatcher destinations resume https://example.org:443
    """
    with connected(server, key) as client:
        client.destinations.resume(destination)
    say(f"{destination} goes on.")


@app.command()
def limit(
    destination: Destination,
    per_second: Annotated[
        float | None,
        typer.Option(
            "--per-second",
            metavar="N",
            help="Maximum number of attempts per second; omit it to remove the limit.",
        ),
    ] = None,
    burst: Annotated[
        int, typer.Option("--burst", metavar="N", help="How many attempts may start at once.")
    ] = 1,
    server: Server = None,
    key: Key = None,
) -> None:
    """Limit the rate of attempts to a destination, over all processes.

    \b
    Examples:
      dispatcher destinations limit https://example.org:443 --per-second 10 --burst 20
      dispatcher destinations limit https://example.org:443
    """
    rate = None if per_second is None else RateLimit(per_second, burst)
    with connected(server, key) as client:
        client.destinations.limit(destination, rate)
    say(f"{destination} has {'no limit' if rate is None else f'a limit of {per_second:g} a second'}.")
