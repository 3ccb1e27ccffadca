"""`dispatcher doctor`: is everything there that the service needs, and what to do when not."""

from __future__ import annotations

import asyncio
import os

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from dispatcher.cli import checks
from dispatcher.cli.checks import Finding, State
from dispatcher.cli.key_checks import publishers
from dispatcher.cli.mail_checks import mails
from dispatcher.cli.output import console, plain
from dispatcher.cli.start_checks import listening, open_files, rights, secrets_open
from dispatcher.config.loading import load
from dispatcher.domain.errors import SettingsError

_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


def doctor() -> None:
    """Check the settings, keys, database, broker and mail relay. Exits with 1 if any check fails.

    It reads and connects with the settings of this machine, and changes nothing.

    \b
    Example:
      DISPATCHER_AMQP_URL=amqp://guest:guest@localhost/ dispatcher doctor
    """
    # Without files no other check can be made, and no event loop.
    limit = open_files()
    findings = [limit] if limit.state is State.FAIL else [limit, *asyncio.run(_look())]
    _print(findings)
    if any(finding.state is State.FAIL for finding in findings):
        raise typer.Exit(1)


async def _look() -> list[Finding]:
    try:
        settings = load()
    except SettingsError as error:
        return [Finding("settings", State.FAIL, str(error), "correct it; nothing else was checked")]
    found = await asyncio.gather(
        checks.database(settings),
        rights(settings),
        secrets_open(settings),
        publishers(settings),
        checks.broker(settings),
        checks.mail_relay(settings),
    )
    return [
        checks.settings_file(os.environ),
        *checks.renamed_settings(os.environ),
        checks.admin_key(settings),
        checks.secrets_key(settings),
        *checks.plugins(settings),
        mails(settings),
        listening(settings),
        *(finding for finding in found if finding is not None),
    ]


def _print(findings: list[Finding]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("check", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(
            finding.what,
            Text(finding.state.value, style=_STYLES[finding.state]),
            Text(plain(finding.found)),
            Text(plain(finding.advice)),
        )
    console().print(table)
