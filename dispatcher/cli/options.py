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
        help="The server to ask. Default: where the settings of this machine let it listen.",
        rich_help_panel=_PANEL,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="DISPATCHER_KEY",
        metavar="KEY",
        help="The key to it. Default: DISPATCHER_AUTH_ADMIN_KEY. Here others can see it.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API gives it.")]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="Show at most N, newest first.")
]
