"""The loop of retention: it goes on whatever happens, and the metrics tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.retention import DEFAULT, Keep, Kept, Purge
from dispatcher.maintenance import retention
from dispatcher.telemetry import metrics

KEPT = Kept(
    deleted={"deliveries": 3, "attempts": 0},
    dropped={"events": 2},
    standing={"events": 1},
    ahead={"events": 4},
    oldest_event=datetime(2026, 5, 4, tzinfo=UTC),
)


class Script:
    """A store whose runs of retention end as scripted, one after the other; then the loop is done with."""

    def __init__(self, *ends: Kept | Exception) -> None:
        self._ends = list(ends)
        self.asked: list[Keep] = []
        self.purges: list[Sequence[Purge]] = []

    async def retain(self, keep: Keep, purges: Sequence[Purge]) -> Kept:
        self.asked.append(keep)
        self.purges.append(purges)
        if not self._ends:
            raise asyncio.CancelledError
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"dispatcher_{name}", labels) or 0.0


@pytest.fixture
def growth() -> Callable[[str], float]:
    """Return by how much a counter of deliveries grew in this test."""
    names = ("retention_deleted_total", "retention_failures_total")
    labels = {"retention_deleted_total": {"table": "deliveries"}}
    before = {name: value(name, **labels.get(name, {})) for name in names}
    return lambda name: value(name, **labels.get(name, {})) - before[name]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "INTERVAL", 0.0)
    monkeypatch.setattr(retention, "AGAIN", 0.0)


async def test_what_became_of_it_is_in_the_metrics(growth: Callable[[str], float]) -> None:
    store = Script(KEPT, KEPT)
    with pytest.raises(asyncio.CancelledError):
        await retention.retain(store, DEFAULT)
    assert store.asked == [DEFAULT] * 3
    assert growth("retention_deleted_total") == 6
    assert growth("retention_failures_total") == 0
    assert value("partitions_ahead", table="events") == 4
    assert value("partitions_pending_drop", table="events") == 1
    assert value("partitions_standing", table="events") == 1
    assert value("retention_dropped_partitions_total", table="events") >= 4
    assert value("oldest_event_timestamp_seconds") == datetime(2026, 5, 4, tzinfo=UTC).timestamp()
    assert value("retention_last_run_timestamp_seconds") > 0


async def test_a_run_that_fails_is_counted_and_repeated(growth: Callable[[str], float]) -> None:
    store = Script(StoreUnavailable("gone"), PermissionError("not yours"), KEPT)
    with pytest.raises(asyncio.CancelledError):
        await retention.retain(store, DEFAULT)
    assert growth("retention_failures_total") == 2
    assert growth("retention_deleted_total") == 3


async def test_the_store_is_given_what_plugins_purge() -> None:
    """It calls them, in the one process that does it: they are not called here."""

    async def purge(_: Keep) -> dict[str, int]:
        raise AssertionError

    store = Script(KEPT)
    with pytest.raises(asyncio.CancelledError):
        await retention.retain(store, DEFAULT, [purge])
    assert store.purges == [[purge]] * 2
