"""`dispatcher jobs`: what is known of jobs from their events."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.options import AsJson, Key, Limit, Server, Tenant
from dispatcher.cli.output import print_fields, print_items, print_json

app = typer.Typer(no_args_is_help=True, help="Show jobs and their status history.")

Id = Annotated[str, typer.Argument(metavar="ID", help="ID of the job.")]


@app.command("list")
def list_jobs(
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="Only jobs of this owner.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="NAME", help="Only jobs with this status.")
    ] = None,
    tenant: Tenant = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List jobs, newest first.

    \b
    Example:
      dispatcher jobs list --status RUNNING
    """
    with connected(server, key) as client:
        pages = client.jobs.list(owner=owner, status=status, tenant=tenant)
        found = pages.collect(limit)
    columns = ["id", *(["tenant"] if tenant else []), "name", "owner", "status", "updated_at", "events"]
    print_items(found, columns, as_json, "No jobs.", pages.hint)


@app.command()
def show(
    id: Id, tenant: Tenant = None, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """Show the status, times and message of a job.

    \b
    Example:
      dispatcher jobs show 0001414144065563-5056a550b8-0001-007
    """
    with connected(server, key) as client:
        job = client.jobs.get(id, tenant=tenant)
    print_json(job) if as_json else print_fields(job)


@app.command()
def history(
    id: Id,
    tenant: Tenant = None,
    limit: Limit = 500,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show the events of a job, oldest first.

    \b
    Example:
      dispatcher jobs history 0001414144065563-5056a550b8-0001-007
    """
    with connected(server, key) as client:
        found = client.jobs.history(id, tenant=tenant).collect(limit)
    print_items(found[::-1], ["time", "event", "description", "message", "id"], as_json, "No events.")
