"""Stores on databases that have the schema already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.store.postgres import store as postgres
from dispatcher.store.store import Store


@asynccontextmanager
async def prepared_store(url: str, sealer: Sealer) -> AsyncIterator[Store]:
    """Open a store on a database with the schema, and close it.

    On PostgreSQL it does not look whether the schema is the newest: that takes three connections of the five.
    """
    store = open_store(url, sealer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "migrate", lambda *_: [])
        await store.open()
    try:
        yield store
    finally:
        await store.close()
