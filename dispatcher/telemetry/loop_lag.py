"""Measures how late the event loop is: something that blocks it delays all that this process does."""

from __future__ import annotations

import asyncio
import time

import structlog

from dispatcher.telemetry.metrics import LOOP_LAG

log = structlog.get_logger("dispatcher")

INTERVAL = 0.25
"""Seconds between two measurements."""

WORTH_A_WARNING = 2.0
"""Seconds of lag that are logged."""


async def measure_loop_lag() -> None:
    """Set `dispatcher_loop_lag_seconds` until cancelled."""
    while True:
        due = time.monotonic() + INTERVAL
        await asyncio.sleep(INTERVAL)
        lag = max(0.0, time.monotonic() - due)
        LOOP_LAG.observe(lag)
        if lag > WORTH_A_WARNING:
            log.warning("the event loop was blocked", seconds=round(lag, 1))
