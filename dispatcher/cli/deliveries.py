"""`dispatcher deliveries`: what became of them, and sending or stopping them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.options import AsJson, Key, Limit, Server, Tenant
from dispatcher.cli.output import print_fields, print_items, print_json, print_table, say
from dispatcher.cli.times import Since
from dispatcher.domain.deliveries import State

app = typer.Typer(no_args_is_help=True, help="List, inspect, retry and cancel deliveries.")

Id = Annotated[str, typer.Argument(metavar="ID", help="ID of the delivery, dlv_….")]
JobId = Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")]
EventId = Annotated[str | None, typer.Option("--event-id", metavar="ID", help="Only this event name.")]
Subscription = Annotated[
    str | None, typer.Option("--subscription", metavar="ID", help="Only this subscription.")
]
Destination = Annotated[
    str | None,
    typer.Option(
        "--destination", metavar="NAME", help="Only this destination, such as https://example.org:443."
    ),
]


class Ended(StrEnum):
    """The states from which a delivery can be sent again."""

    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


@app.command("list")
def list_deliveries(
    state: Annotated[State | None, typer.Option("--state", help="Only deliveries in this state.")] = None,
    job_id: JobId = None,
    event_id: EventId = None,
    subscription: Subscription = None,
    destination: Destination = None,
    since: Since = None,
    tenant: Tenant = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List deliveries, newest first.

    \b
    Example:
      dispatcher deliveries list --state exhausted --since 24h
    """
    with connected(server, key) as client:
        pages = client.deliveries.list(
            state=state,
            job_id=job_id,
            event_id=event_id,
            subscription_id=subscription,
            destination=destination,
            since=since,
            tenant=tenant,
        )
        found = pages.collect(limit)
    columns = ["id", "created_at", "state", "attempts", "event", "job_id", "destination", "reason"]
    print_items(found, columns, as_json, "No deliveries.", pages.hint)


@app.command()
def show(
    id: Id, tenant: Tenant = None, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """Show a delivery and its attempts, with requests and responses.

    \b
    Example:
      dispatcher deliveries show dlv_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        delivery = client.deliveries.get(id, tenant=tenant)
    if as_json:
        return print_json(delivery)
    print_fields(delivery, skip=["latest_attempts"])
    if attempts := delivery.latest_attempts:
        columns = ["number", "started_at", "duration", "request", "status", "error", "answer"]
        print_table(columns, ([getattr(attempt, name) for name in columns] for attempt in attempts))


@app.command()
def retry(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="ID of one delivery, dlv_….")] = None,
    state: Annotated[
        Ended | None, typer.Option("--state", help="Retry all deliveries in this state, and …")
    ] = None,
    job_id: JobId = None,
    event_id: EventId = None,
    subscription: Subscription = None,
    destination: Destination = None,
    since: Since = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the deliveries.")] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Retry one delivery, or all exhausted or cancelled ones that match; the retry policy starts over.

    \b
    Examples:
      dispatcher deliveries retry dlv_0192f0c1a2b37c4d8e5f60718293a4b5
      dispatcher deliveries retry --state exhausted --destination https://example.org:443 --dry-run
    """
    if (id is None) == (state is None):
        raise typer.BadParameter("expected either the ID of one delivery or --state", param_hint="ID")
    if id is not None:
        if dry_run or any((job_id, event_id, subscription, destination, since)):
            raise typer.BadParameter("expected no filter beside an ID", param_hint="ID")
        return _retry_one(id, server, key)
    with connected(server, key) as client:
        count = client.deliveries.retry_many(
            state=state or Ended.EXHAUSTED,
            job_id=job_id,
            subscription_id=subscription,
            event_id=event_id,
            destination=destination,
            since=since,
            dry_run=dry_run,
        )
    say(f"Deliveries that {'would be' if dry_run else 'are'} sent again: {count}.")


def _retry_one(id: str, server: str | None, key: str | None) -> None:
    with connected(server, key) as client:
        client.deliveries.retry(id)
    say(f"{id} is sent again.")


@app.command()
def cancel(id: Id, server: Server = None, key: Key = None) -> None:
    """Cancel a pending delivery.

    \b
    Example:
      dispatcher deliveries cancel dlv_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        client.deliveries.cancel(id)
    say(f"{id} is cancelled.")
