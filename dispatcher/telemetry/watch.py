"""Watches the store for the metrics: does it answer, and how much waits in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.telemetry.metrics import BACKLOG, STORE_UP

INTERVAL = 15.0
"""Seconds between two looks."""


class WatchedStore(Protocol):
    """What is asked of the store; see `dispatcher.store.contract.Store`."""

    async def backlog(self) -> Mapping[State, int]: ...


async def watch(store: WatchedStore) -> None:
    """Set `dispatcher_store_up` and `dispatcher_backlog` until cancelled."""
    while True:
        try:
            counts = await store.backlog()
        except StoreUnavailable:
            STORE_UP.set(0)
        else:
            STORE_UP.set(1)
            for state, count in counts.items():
                BACKLOG.labels(state.value).set(count)
        await asyncio.sleep(INTERVAL)
