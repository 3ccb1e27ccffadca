"""Background work goes on: an error that was not expected ends neither the process nor the work for good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from dispatcher.domain.errors import SettingsError
from dispatcher.telemetry.metrics import INTERNAL_ERRORS

log = structlog.get_logger("dispatcher")

FIRST_DELAY = 0.5
MAX_DELAY = 30.0
"""Seconds before work that failed begins again, doubled from one failure to the next."""

HEALTHY_AFTER = 60.0
"""Seconds after which work that went on so long counts as good again."""


async def keep_running(where: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until it returns or is cancelled, and again after an error. `where` names it in log and metric.

    A SettingsError rises: nothing that this process does can mend it.
    """
    failures = InternalErrors(where)
    delay = FIRST_DELAY
    while True:
        began = time.monotonic()
        try:
            return await work()
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001 - reported, and the work goes on
            if time.monotonic() - began > HEALTHY_AFTER:
                delay = FIRST_DELAY
            failures.report(error, retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_DELAY)


class InternalErrors:
    """Counts the unexpected errors of one place and logs them: the traceback when it is not that of the last one."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._last = ""

    def report(self, error: BaseException, **context: object) -> None:
        """Count an error, and log it with what it was about."""
        INTERNAL_ERRORS.labels(self._where).inc()
        text = f"{type(error).__name__}: {error}"
        if text == self._last:
            log.error("internal error again", where=self._where, error=text[:500], **context)
        else:
            log.error("internal error", where=self._where, exc_info=error, **context)
        self._last = text
