"""`dispatcher signature`: sign a body as webhooks are signed, or check one that came in."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from dispatcher.cli.files import read_file
from dispatcher.cli.output import say

app = typer.Typer(no_args_is_help=True, help="Sign webhook payloads and verify signatures.")

Secret = Annotated[
    str,
    typer.Option(
        "--secret",
        envvar="WEBHOOK_SECRET",
        metavar="whsec_…",
        help="Signing secret of the subscription. Other users can see options in the process list.",
    ),
]
SecretOrKey = Annotated[
    str,
    typer.Option(
        "--secret",
        envvar="WEBHOOK_SECRET",
        metavar="whsec_…|whpk_…",
        help="Signing secret of the subscription, or its public key for a v1a signature.",
    ),
]
Body = Annotated[
    str, typer.Argument(metavar="FILE", help="File with the exact bytes of the body; - reads stdin.")
]
Id = Annotated[str, typer.Option("--id", metavar="ID", help="Value of the header webhook-id.")]


@app.command()
def sign(
    secret: Secret,
    id: Id,
    body: Body = "-",
    timestamp: Annotated[
        int | None,
        typer.Option("--timestamp", metavar="SECONDS", help="Timestamp to sign, as Unix time. Default: now."),
    ] = None,
) -> None:
    """Print the three signature headers for a body.

    \b
    Example:
      dispatcher signature sign --secret whsec_… --id dlv_1 body.json
    """
    from dispatcher.targets.signing import Signer

    try:
        signer = Signer([secret])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    now = int(time.time()) if timestamp is None else timestamp
    for name, value in signer.headers(id, now, read_file(body, "FILE")).items():
        sys.stdout.write(f"{name}: {value}\n")


@app.command()
def verify(
    secret: SecretOrKey,
    id: Id,
    timestamp: Annotated[
        str, typer.Option("--timestamp", metavar="SECONDS", help="Value of the header webhook-timestamp.")
    ],
    signature: Annotated[
        str, typer.Option("--signature", metavar="v1,…", help="Value of the header webhook-signature.")
    ],
    body: Body = "-",
    at: Annotated[
        float | None,
        typer.Option(
            "--at", metavar="SECONDS", help="When the request was received, as Unix time. Default: now."
        ),
    ] = None,
) -> None:
    """Verify the signature of a request. Exits with 1 if it is invalid.

    \b
    Example:
      dispatcher signature verify --secret whsec_… --id dlv_1 --timestamp 1777896000 --signature v1,… b.json
    """
    from dispatcher.client import webhooks

    headers = {
        webhooks.ID_HEADER: id,
        webhooks.TIMESTAMP_HEADER: timestamp,
        webhooks.SIGNATURE_HEADER: signature,
    }
    try:
        webhooks.verify([secret], headers, read_file(body, "FILE"), time.time() if at is None else at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    say("The signature is good.")
