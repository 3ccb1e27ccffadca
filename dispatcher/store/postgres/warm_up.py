"""Warming up: a new connection runs the statements that deliveries wait for, so that the first ones need not.

On a connection that has not run them yet, reading their types, parsing and planning take ten times as long as running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from dispatcher.domain.events import utc_now
from dispatcher.store import column_arrays
from dispatcher.store.batches import ATTEMPT, OUTCOME
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.accept import TO, Proxy, write_nothing


async def warm_up(
    connect: Callable[[], AbstractAsyncContextManager[Proxy]], count: int, lease_id: int
) -> None:
    """Warm up so many connections of a pool, all at once, or it would give the same one each time.

    Raises an ExceptionGroup of what `connect` raises.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_warm_up(connect, lease_id))


async def _warm_up(connect: Callable[[], AbstractAsyncContextManager[Proxy]], lease_id: int) -> None:
    async with connect() as connection:
        await connection.fetch(sql.MATCHING, [], utc_now())
        await write_nothing(connection, lease_id)
        await connection.execute(
            sql.FINISH,
            lease_id,
            *column_arrays.parameters(OUTCOME, column_arrays.of_outcomes((), (), TO)),
            *column_arrays.parameters(ATTEMPT, column_arrays.of_attempts((), TO)),
        )
