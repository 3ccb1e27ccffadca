"""`dispatcher keys`: API keys, for admins."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.connection import connected
from dispatcher.cli.options import AsJson, Key, Limit, Server
from dispatcher.cli.output import print_items, print_json, say

app = typer.Typer(no_args_is_help=True, help="Create, list and delete API keys (admins only).")


@app.command()
def create(
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Owner that the key belongs to.")],
    scopes: Annotated[
        str,
        typer.Option(
            "--scopes",
            "--scope",
            metavar="NAMES",
            help="publish (events of the owner), publish:any (of any owner), subscribe, admin; with commas "
            "between them.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Human-readable name. Default: the owner.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Default: your own.")] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create a key. It is printed once and cannot be shown again.

    \b
    Example:
      dispatcher keys create --owner alice --scopes publish,subscribe
      dispatcher keys create --owner jobs --scope publish:any
    """
    with connected(server, key) as client:
        made = client.keys.create(name=name or owner, owner=owner, scopes=scopes.split(","), tenant=tenant)
    if as_json:
        return print_json(made)
    say(f"{made.id} for {made.owner} of {made.tenant}: {', '.join(made.scopes)}. Keep this:")
    typer.echo(made.key)


@app.command("list")
def list_keys(limit: Limit = 50, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """List keys, newest first.

    \b
    Example:
      dispatcher keys list
    """
    with connected(server, key) as client:
        found = client.keys.list().collect(limit)
    print_items(found, ["id", "name", "owner", "tenant", "scopes", "created_at"], as_json, "No keys.")


@app.command()
def remove(
    id: Annotated[str, typer.Argument(metavar="ID", help="ID of the key, key_….")],
    server: Server = None,
    key: Key = None,
) -> None:
    """Delete a key. It stops working at once.

    \b
    Example:
      dispatcher keys remove key_0192f0c1a2b37c4d8e5f60718293a4b5
    """
    with connected(server, key) as client:
        client.keys.delete(id)
    say(f"{id} is removed.")
