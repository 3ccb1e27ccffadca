"""`dispatcher subscriptions`: who wants what, where to."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.files import read_file
from dispatcher.cli.matches import try_subscription
from dispatcher.cli.options import AsJson, Key, Limit, Server, Tenant
from dispatcher.cli.output import print_fields, print_items, print_json, say
from dispatcher.client.fields import NewSubscription

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Create and manage subscriptions.")

Id = Annotated[str, typer.Argument(metavar="ID", help="ID of the subscription, sub_….")]

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="URL template with variables such as $<JOB_ID> and ${EVENT}."),
]
Events = Annotated[
    str | None,
    typer.Option(
        "--events",
        metavar="NAMES",
        help="Comma-separated event names, ARCHIVING*, @terminal or *. Default: *",
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="A header of the request; may be repeated."),
]
Body = Annotated[
    str | None,
    typer.Option(
        "--body", metavar="TEXT", help="Body template, JSON or text. Default: the event as a CloudEvent."
    ),
]
File = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="File with the request body as JSON; - reads stdin."),
]


@app.command()
def add(
    url: Url = None,
    events: Events = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Human-readable name.")] = None,
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")] = None,
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="NAME", help="Owner of the jobs to subscribe to (admins only)."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="HTTP method. Default: POST.")
    ] = None,
    header: Headers = None,
    body: Body = None,
    once: Annotated[
        bool, typer.Option("--once", help="End the subscription after its first successful delivery.")
    ] = False,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Deliver the events of one job in order.")
    ] = False,
    per_second: Annotated[
        float | None, typer.Option("--per-second", metavar="N", help="Maximum number of attempts per second.")
    ] = None,
    file: File = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create a subscription. Its signing secret is printed once and cannot be shown again.

    \b
    Examples:
      dispatcher subscriptions add --events FINISHED,FAILED \\
        --url 'https://example.org/jobs/$<JOB_ID>?status=${EVENT}'
      dispatcher subscriptions add --file subscription.json
    """
    target = {"url": url, "method": method, "headers": _headers(header or []), "body": _body(body)}
    document: Document = {
        "name": name,
        "events": None if events is None else events.split(","),
        "job_id": job_id,
        "owner": owner,
        "persistent": False if once else None,
        "ordered": True if ordered else None,
        "rate_limit": None if per_second is None else {"per_second": per_second},
    }
    if (url is None) == (file is None):
        raise typer.BadParameter("expected either --url or --file", param_hint="--url")
    if file is None:
        document |= {"events": (events or "*").split(","), "target": {"kind": "webhook", **_given(target)}}
    elif _given(document) or _given(target):
        raise typer.BadParameter(
            "expected no other option beside it: the file says it all", param_hint="--file"
        )
    else:
        document = _document(file)
    with connected(server, key) as client:
        made = client.subscriptions.create(**cast(NewSubscription, _given(document)))
    if as_json:
        return print_json(made)
    print_fields({name: getattr(made, name) for name in ("id", "events", "destination", "secret")})
    say("Keep the secret: it is not shown again.")


@app.command("list")
def list_subscriptions(
    job_id: Annotated[str | None, typer.Option("--job-id", metavar="ID", help="Only this job.")] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", metavar="NAME", help="Only this status: active, paused, disabled or completed."
        ),
    ] = None,
    tenant: Tenant = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List subscriptions, newest first.

    \b
    Example:
      dispatcher subscriptions list --status disabled
    """
    with connected(server, key) as client:
        pages = client.subscriptions.list(job_id=job_id, status=status, tenant=tenant)
        found = pages.collect(limit)
    columns = ["id", "name", "status", "events", "owner", "job_id", "destination"]
    print_items(found, columns, as_json, "No subscriptions.", pages.hint)


@app.command()
def show(
    id: Id, tenant: Tenant = None, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """Show a subscription.

    \b
    Example:
      dispatcher subscriptions show sub_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        subscription = client.subscriptions.get(id, tenant=tenant)
    print_json(subscription) if as_json else print_fields(subscription)


@app.command()
def remove(id: Id, server: Server = None, key: Key = None) -> None:
    """Delete a subscription and cancel its pending deliveries.

    \b
    Example:
      dispatcher subscriptions remove sub_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        client.subscriptions.delete(id)
    say(f"{id} is removed.")


@app.command()
def pause(id: Id, server: Server = None, key: Key = None) -> None:
    """Pause a subscription. Its deliveries wait until it is resumed.

    \b
    Example:
      dispatcher subscriptions pause sub_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        client.subscriptions.pause(id)
    say(f"{id} is paused: its deliveries wait.")


@app.command()
def resume(id: Id, server: Server = None, key: Key = None) -> None:
    """Resume a paused or disabled subscription. Waiting deliveries are sent now.

    \b
    Example:
      dispatcher subscriptions resume sub_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        client.subscriptions.resume(id)
    say(f"{id} is active.")


@app.command()
def restore(
    id: Id,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of one of its recipients.")],
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Restore a recipient who was suppressed or has unsubscribed.

    \b
    Example:
      dispatcher subscriptions restore sub_0192f0c1a2b37c4d8e5f60718293a4b5 ann@example.org
    """
    with connected(server, key) as client:
        recipient = client.subscriptions.restore_recipient(id, address)
    print_json(recipient) if as_json else print_fields(recipient)


@app.command("test")
def try_target(id: Id, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Send a sample event to the target once. Exits with 1 if it fails.

    \b
    Example:
      dispatcher subscriptions test sub_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        result = client.subscriptions.test(id)
    print_json(result) if as_json else print_fields(result)
    if not result.delivered:
        raise typer.Exit(1)


app.command("try")(try_subscription)


def _given(document: Document) -> Document:
    return {name: value for name, value in document.items() if value is not None}


def _headers(texts: list[str]) -> dict[str, str] | None:
    for text in texts:
        if ":" not in text:
            raise typer.BadParameter(f"expected 'NAME: VALUE', got {text!r}", param_hint="--header")
    pairs = (text.split(":", 1) for text in texts)
    return {name.strip(): value.strip() for name, value in pairs} or None


def _body(text: str | None) -> object:
    """An object or array as JSON, so that its values are escaped as JSON; anything else as text."""
    try:
        document = msgspec.json.decode(text) if text is not None else None
    except msgspec.DecodeError:
        return text
    return document if isinstance(document, (dict, list)) else text


def _document(file: str) -> Document:
    text = read_file(file, "--file")
    try:
        return msgspec.json.decode(text, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"expected a JSON object: {error}", param_hint="--file") from None
