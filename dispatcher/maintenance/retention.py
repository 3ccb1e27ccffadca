"""Retention: the store deletes, now and then, what was kept for long enough; the metrics say what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.retention import Keep, Kept, Purge
from dispatcher.telemetry import metrics

log = structlog.get_logger("dispatcher.retention")

INTERVAL = 3600.0
"""Seconds between two runs, at most: there are some before what a partition holds is old."""

AGAIN = 60.0
"""Seconds after a run that failed."""


class RetentionStore(Protocol):
    """What is asked of the store; see `dispatcher.store.store.Store`."""

    async def retain(self, keep: Keep, purges: Sequence[Purge]) -> Kept: ...


async def retain(store: RetentionStore, keep: Keep, purges: Sequence[Purge] = ()) -> None:
    """Run retention until cancelled, with the `purges` of plugins.

    A run that fails is counted and repeated: it stops nothing else.
    """
    interval = min(INTERVAL, keep.width.total_seconds() / 4)
    while True:
        done = await _run(store, keep, purges)
        await asyncio.sleep(interval if done else min(AGAIN, interval))


async def _run(store: RetentionStore, keep: Keep, purges: Sequence[Purge]) -> bool:
    try:
        kept = await store.retain(keep, purges)
    except StoreUnavailable as error:
        log.warning("retention failed", error=str(error), again=f"{AGAIN:g} s")
    except Exception:
        # Such as a user who may not change tables: deliveries go on, and the log tells the operator.
        log.exception("retention failed", again=f"{AGAIN:g} s")
    else:
        _log_kept(kept)
        return True
    metrics.RETENTION_FAILURES.inc()
    return False


def _log_kept(kept: Kept) -> None:
    metrics.RETENTION_LAST_RUN.set_to_current_time()
    for table, count in kept.deleted.items():
        metrics.RETENTION_DELETED.labels(table).inc(count)
    for table, count in kept.dropped.items():
        metrics.RETENTION_DROPPED.labels(table).inc(count)
    for table, count in kept.standing.items():
        metrics.PARTITIONS_PENDING_DROP.labels(table).set(count)
        metrics.PARTITIONS_STANDING.labels(table).set(count)
    for table, count in kept.ahead.items():
        metrics.PARTITIONS_AHEAD.labels(table).set(count)
    metrics.OLDEST_EVENT.set(kept.oldest_event.timestamp() if kept.oldest_event else 0)
    gone = {name: count for name, count in kept.deleted.items() if count}
    dropped = {name: count for name, count in kept.dropped.items() if count}
    if gone or dropped:
        log.info("retention: deleted expired rows", deleted=gone, partitions=dropped)
