"""`dispatcher events`: what came in, whom it reached, and sending it again."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.options import AsJson, Key, Limit, Server, Tenant
from dispatcher.cli.output import print_fields, print_items, print_json, print_table, say
from dispatcher.cli.times import Since

app = typer.Typer(no_args_is_help=True, help="List and replay events.")

Id = Annotated[str, typer.Argument(metavar="ID", help="ID of the event, evt_….")]


@app.command("list")
def list_events(
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="NAME", help="Only this event name.")
    ] = None,
    since: Since = None,
    tenant: Tenant = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List events, newest first.

    \b
    Example:
      dispatcher events list --event FAILED --since 24h
    """
    with connected(server, key) as client:
        pages = client.events.list(job_id=job_id, event=event, since=since, tenant=tenant)
        found = pages.collect(limit)
    columns = ["id", *(["tenant"] if tenant else []), "accepted_at", "event", "job_id", "owner", "deliveries"]
    print_items(found, columns, as_json, "No events.", pages.hint)


@app.command()
def show(
    id: Id, tenant: Tenant = None, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """Show an event, its payload and the subscriptions that it matched.

    \b
    Example:
      dispatcher events show evt_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        event = client.events.get(id, tenant=tenant)
    if as_json:
        return print_json(event)
    print_fields(event, skip=["document", "deliveries"])
    print_json(event.document)
    if event.deliveries:
        print_table(
            ["id", "state", "subscription", "why"],
            (
                [
                    delivery.id,
                    delivery.state,
                    delivery.subscription_name or delivery.subscription_id,
                    "; ".join(delivery.why),
                ]
                for delivery in event.deliveries
            ),
        )


@app.command()
def replay(
    id: Id,
    subscription: Annotated[
        str | None,
        typer.Option(
            "--subscription",
            metavar="ID",
            help="Deliver to this subscription only, even if it does not match.",
        ),
    ] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Replay an event to all subscriptions that match now. Each gets a new delivery.

    \b
    Example:
      dispatcher events replay evt_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        deliveries = client.events.replay(id, subscription_id=subscription).deliveries
    for delivery in deliveries:
        typer.echo(delivery)
    say(f"New deliveries: {len(deliveries)}.")
