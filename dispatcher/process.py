"""What a process arranges for itself: signals, open files, garbage, how long its start waits, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import NoReturn

import structlog

from dispatcher.config.loading import old_names
from dispatcher.domain.errors import DispatcherError, SettingsError, StoreUnavailable

log = structlog.get_logger("dispatcher")

PATIENCE = 60.0
"""Seconds that a start waits for a database that does not answer."""

MAX_FILES = 65_536
"""Files and connections that one process opens at most, if the system lets it."""

MIN_FILES = 256
"""Files and connections that a process must be able to open besides those that it has."""

COLLECT = (10_000, 20, 20)
"""How often garbage is collected: by default a batch of events is looked through several times while it is made."""


def warn_of_old_names() -> None:
    """Log each setting that is given by a name that it had before."""
    for sentence in old_names():
        log.warning("a setting is given by its old name", problem=sentence)


def allow_connections() -> None:
    """Let this process open as many files as it may, MAX_FILES at most. Raises SettingsError when that is too few.

    The usual 1024 are used up by a thousand idle connections, or by sixteen destinations that hang.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if (free := wanted - sum(1 for _ in Path("/dev/fd").iterdir())) < MIN_FILES:
        raise SettingsError(
            f"open files: the limit of this process is {wanted} (ulimit -n), which leaves {max(free, 0)}; expected at "
            f"least {MIN_FILES}: raise the limit to 1024 or more"
        )


def _say(problem: str) -> None:
    print(f"dispatcher: {problem}", file=sys.stderr)  # noqa: T201 - as the command line says it


def run(
    service: Coroutine[None, None, None], flush: Callable[[], None], refuse: Callable[[str], None] = _say
) -> NoReturn:
    """Run the service and end the process: with 0, with 2 for wrong settings, with 1 for any other error.

    `flush` writes what is left of the log, `refuse` says what is wrong with the settings. Nothing else is waited for:
    the event loop and the interpreter would join their threads first, and a thread whose name look-up gets no response
    stays for minutes.
    """
    import uvloop  # noqa: PLC0415 - the process that keeps workers needs none of it

    code = 1
    try:
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(service)
        code = 0
    except SettingsError as error:
        refuse(str(error))
        code = 2
    except DispatcherError as error:
        _say(str(error))
    except BaseException:  # noqa: BLE001 - as the interpreter shows what it does not catch
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        flush()
        os._exit(code)


def collect_rarely() -> None:
    """Collect garbage as COLLECT says."""
    gc.set_threshold(*COLLECT)


def on_signal(act: Callable[[], object]) -> None:
    """Act on SIGTERM and SIGINT instead of what was to be done before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, act)


def on_end(parent: int, act: Callable[[], object]) -> None:
    """Act when the other end of a pipe is closed: a worker does not outlive the process that would stop it."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(parent)
        act()

    loop.add_reader(parent, ended)


async def patiently(step: Callable[[], Awaitable[None]], url: str) -> None:
    """Take a step of the start, and wait a while for a database that is not there yet. `url` is for people."""
    deadline = time.monotonic() + PATIENCE
    logged = None
    while True:
        try:
            return await step()
        except StoreUnavailable as error:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"database.url: {url}: {error}; it did not answer within {PATIENCE:g} s"
                ) from None
            if str(error) != logged:
                logged = str(error)
                log.warning(
                    "the database does not answer yet", url=url, error=logged, patience=f"{PATIENCE:g} s"
                )
            await asyncio.sleep(1)
