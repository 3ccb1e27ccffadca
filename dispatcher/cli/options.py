"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Connection"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="DISPATCHER_SERVER",
        metavar="URL",
        help="URL of the server. Default: the address in the settings of this machine.",
        rich_help_panel=_PANEL,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="DISPATCHER_KEY",
        metavar="KEY",
        help="API key. Default: DISPATCHER_AUTH_ADMIN_KEY. Other users can see options in the process list.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API response as JSON.")]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        help="Another tenant than the key's, or * for all. Only for admins of the tenant default.",
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="Show at most N items, newest first.")
]
