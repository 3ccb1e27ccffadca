"""Whether this process can do its work: looked at by a timer, read by probes, which never reach the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.telemetry.metrics import STORE_UP

log = structlog.get_logger("dispatcher")

INTERVAL = 5.0
"""Seconds between two looks."""

WRITE_TIMEOUT = 5.0
"""Seconds that the tiny write may take."""

STALE_AFTER = 12.0
"""Seconds after which the last result says nothing any more: the look itself does not come to an end."""


class ProbedStore(Protocol):
    """What is asked of the store; see `dispatcher.store.store.Store`."""

    async def check_write(self, lease_id: int) -> None: ...


class Readiness:
    """What keeps this process from its work, part by part. `process` gives its number in the store.

    `parts` are asked for their problem each time that somebody wants to know.
    """

    def __init__(
        self, store: ProbedStore, lease_id: Callable[[], int], parts: Mapping[str, Callable[[], str | None]]
    ) -> None:
        self._store = store
        self._lease_id = lease_id
        self._parts = parts
        self._problem: str | None = "nothing was written yet"
        self._looked_at = time.monotonic()
        self._logged = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Write something tiny, and say so in the log when this process becomes ready or is no longer."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._store.check_write(self._lease_id())
            self._problem = None
        except TimeoutError:
            self._problem = f"a write took longer than {WRITE_TIMEOUT:g} s"
        except StoreUnavailable as error:
            self._problem = str(error)
        self._looked_at = time.monotonic()
        STORE_UP.set(self._problem is None)
        self._log()

    def problems(self) -> dict[str, str | None]:
        """Each part with what is wrong with it, None when nothing is."""
        return {"database": self._of_database()} | {name: problem() for name, problem in self._parts.items()}

    def _of_database(self) -> str | None:
        age = time.monotonic() - self._looked_at
        if self._problem is None and age > STALE_AFTER:
            return f"a write has not come to an end for {age:.0f} s"
        return self._problem

    def _log(self) -> None:
        wrong = {name: problem for name, problem in self.problems().items() if problem is not None}
        if wrong and not self._logged:
            log.warning("not ready", **wrong)
        elif not wrong and self._logged:
            log.info("ready again")
        self._logged = bool(wrong)
