"""The command line: `dispatcher <command>`. `--help` teaches each with an example.

Exit codes: 0 done; 1 refused or failed; 2 called in a wrong way, or wrong settings; `wait` has its own. What is slow to
import is imported by the functions that need it, so that `--help` is quick.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

import dispatcher
from dispatcher.cli import (
    config,
    deliveries,
    destinations,
    events,
    jobs,
    keys,
    signature,
    subscriptions,
    templates,
)
from dispatcher.cli.connection import explained
from dispatcher.cli.demo import demo
from dispatcher.cli.doctor import doctor
from dispatcher.cli.listen import listen
from dispatcher.cli.output import say
from dispatcher.cli.publish import publish
from dispatcher.cli.service import migrate, serve
from dispatcher.cli.sink import sink
from dispatcher.cli.wait import wait
from dispatcher.client.errors import ClientError
from dispatcher.domain.errors import DispatcherError, SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Dispatcher takes job status events and delivers them to the subscriptions that want them.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dispatcher {dispatcher.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for command in (demo, serve, migrate, publish, wait, listen, sink, doctor):
    app.command()(command)
for group, name in (
    (subscriptions.app, "subscriptions"),
    (deliveries.app, "deliveries"),
    (destinations.app, "destinations"),
    (events.app, "events"),
    (jobs.app, "jobs"),
    (keys.app, "keys"),
    (config.app, "config"),
    (signature.app, "signature"),
    (templates.app, "templates"),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command that the process was started with."""
    # What libraries log is reported in our own words; `serve` sets up its own log.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(prog_name="dispatcher")
    except SettingsError as error:
        _end(error, 2)
    except (DispatcherError, ClientError) as error:
        _end(error, 1)


def _end(error: Exception, code: int) -> None:
    say(f"dispatcher: {explained(error)}")
    sys.exit(code)
