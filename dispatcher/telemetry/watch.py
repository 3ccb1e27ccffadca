"""Watches the store for the metrics: how much waits in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.telemetry.metrics import BACKLOG

INTERVAL = 15.0
"""Seconds between two looks."""


class WatchedStore(Protocol):
    """What is asked of the store; see `dispatcher.store.deliveries.DeliveryRepository`."""

    async def backlog(self) -> Mapping[State, int]: ...


async def watch(deliveries: WatchedStore) -> None:
    """Set `dispatcher_backlog` until cancelled. While the store is away it stays as it was."""
    while True:
        with suppress(StoreUnavailable):
            counts = await deliveries.backlog()
            for state, count in counts.items():
                BACKLOG.labels(state.value).set(count)
        await asyncio.sleep(INTERVAL)
