"""Runs the demo: the service and the receivers in one process, until it is over or somebody ends it."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from ipaddress import ip_network
from pathlib import Path

import uvloop
from rich.console import Console

from dispatcher.app import running
from dispatcher.client import AsyncClient, ClientError
from dispatcher.config.settings import Auth, Database, Delivery, Http, NetworkSettings, Settings, Smtp
from dispatcher.config.types import Secret, Url
from dispatcher.demo.mailbox import Mailbox
from dispatcher.demo.plans import MAIL, PLANS
from dispatcher.demo.play import Play
from dispatcher.demo.receivers import Receiver, open_inboxes
from dispatcher.telemetry import logs

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WIDE = 10_000


def run() -> int:
    """Play the demo, and return the exit code.

    It is 0, also when SIGINT or SIGTERM ends the demo early, and 1 when something is missing. On a terminal
    the service goes on after the summary until it is ended.
    """
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else _WIDE)
    folder = Path(tempfile.mkdtemp(prefix="dispatcher-demo-"))
    code = uvloop.run(_until_ended(console, folder, terminal))
    if code == 0:
        shutil.rmtree(folder)
    return code


async def _until_ended(console: Console, folder: Path, terminal: bool) -> int:
    demo = asyncio.create_task(_demo(console, folder, terminal))
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _end, demo)
    try:
        return await demo
    except asyncio.CancelledError:
        console.print("Ended.")
        return 0
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # an impatient one must not spoil the exit code


def _end(demo: asyncio.Task[int]) -> None:
    if not demo.cancelling():  # a second signal would break off the clean stop
        demo.cancel()


async def _demo(console: Console, folder: Path, terminal: bool) -> int:
    log, admin_key = folder / "dispatcher.log", secrets.token_urlsafe(32)
    # Never closed: lines may come as long as the process lives.
    logs.configure("info", "console", log.open("wb"))
    async with (
        open_inboxes(PLANS, Receiver) as receivers,
        open_inboxes([MAIL], Mailbox) as [mailbox],
        running(_settings(folder, admin_key, mailbox.url)) as app,
        AsyncClient(app.url, admin_key) as client,
    ):
        _print(console, f"Service     {app.url}", f"Log         {log}")
        try:
            live = terminal and not console.is_dumb_terminal
            missing = await Play(console, client, app.url).run([*receivers, mailbox], live)
        except ClientError as error:
            missing = [str(error)]
        if missing:
            _print(console, "", *(f"Missing: {problem}" for problem in missing))
            _print(console, f"The log and the database stay in {folder}")
            return 1
        _print(
            console,
            "",
            "Nothing is missing: every delivery arrived once, and every webhook with a good signature.",
        )
        if not terminal:
            _print(console, "On a terminal the demo goes on serving its API, to be looked at.")
        else:
            _print(console, "", *_where_to_look(app.url, admin_key, folder))
            await asyncio.Event().wait()
        return 0


def _settings(folder: Path, admin_key: str, relay: str) -> Settings:
    return Settings(
        database=Database(url=Url(f"sqlite:///{folder / 'dispatcher.db'}")),
        http=Http(port=0),
        auth=Auth(admin_key=Secret(admin_key)),
        smtp=Smtp(url=Url(relay), sender="Dispatcher <demo@example.org>", trusted_domains=("example.org",)),
        network=NetworkSettings(allow=(ip_network("127.0.0.0/8"),)),
        delivery=Delivery(grace=2.0),
    )


def _where_to_look(url: str, admin_key: str, folder: Path) -> list[str]:
    return [
        "The service goes on. Look at it:",
        f"  API      {url}/docs",
        f"  key      {admin_key}",
        f"  example  curl -H 'Authorization: Bearer {admin_key}' '{url}/v1/deliveries?limit=3'",
        f"Ctrl-C ends it and removes {folder}",
    ]


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
