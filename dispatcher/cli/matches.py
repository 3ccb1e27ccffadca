"""`dispatcher subscriptions try`: which events a subscription matches, and why not the others."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.files import read_file
from dispatcher.cli.options import AsJson, Key, Server
from dispatcher.cli.output import print_json, print_table, say
from dispatcher.client.models import TriedEvent

Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="JSON", help="A filter as a JSON object; may be repeated."),
]
File = Annotated[
    str | None, typer.Option("--event", metavar="FILE", help="File with an event as JSON; - reads stdin.")
]


def try_subscription(
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="ID of the subscription. Default: a new one.")
    ] = None,
    events: Annotated[
        str | None, typer.Option("--events", metavar="NAMES", help="Comma-separated event names.")
    ] = None,
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="Owner of the jobs (admins only).")
    ] = None,
    filters: Filters = None,
    event_id: Annotated[
        str | None, typer.Option("--event-id", metavar="ID", help="ID of the event to try.")
    ] = None,
    event: File = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100, metavar="N", help="Try the latest N events.")
    ] = 20,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show which events a subscription matches, and what keeps the others from matching. Exits with 1 if none does.

    \b
    Examples:
      dispatcher subscriptions try sub_0192f0c1a2b37c4d8e5f60718293a4b5
      dispatcher subscriptions try --filter '{"data": {"exit_code": {"gt": 0}}}'
    """
    given = None if event is None else _object(read_file(event, "--event"), "--event")
    with connected(server, key) as client:
        found = client.subscriptions.matches(
            id,
            events=None if events is None else events.split(","),
            job_id=job_id,
            owner=owner,
            filters=None if filters is None else [_object(one.encode(), "--filter") for one in filters],
            event_id=event_id,
            event=given,
            limit=limit,
        )
    if as_json:
        print_json(found)
    elif not found.items:
        say("No events.")
    else:
        print_table(["id", "event", "matches", "why"], map(_row, found.items))
    if not found.matched:
        raise typer.Exit(1)


def _row(one: TriedEvent) -> list[object]:
    return [one.id, one.event, one.matches, "; ".join(failed.problem for failed in one.failed)]


def _object(text: bytes, hint: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"expected a JSON object: {error}", param_hint=hint) from None
