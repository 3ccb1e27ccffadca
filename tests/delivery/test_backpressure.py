"""Intake waits while this process has no CPU left for what it would take in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dispatcher.delivery import backpressure
from dispatcher.delivery.backpressure import Backpressure, cpu_demand_seconds


def busy(monkeypatch: pytest.MonkeyPatch, share: float) -> Backpressure:
    """Backpressure on a CPU of which the event loop wants this share."""
    clock = iter(range(1_000_000))
    monkeypatch.setattr(backpressure, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    wanted = iter(range(1_000_000))
    monkeypatch.setattr(backpressure, "cpu_demand_seconds", lambda: share * next(wanted))
    return Backpressure()


async def test_intake_waits_while_lanes_and_cpu_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def crowded(waited: float) -> bool:
        looks.append(waited)
        return len(looks) < 4

    await busy(monkeypatch, 0.95).wait(crowded)
    assert looks == pytest.approx([number * backpressure.POLL_INTERVAL for number in range(4)])


async def test_intake_does_not_wait_for_a_destination_while_there_is_cpu_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = asyncio.create_task(busy(monkeypatch, 0.3).wait(lambda _: True))
    await asyncio.sleep(0)
    assert waiting.done()


async def test_intake_does_not_wait_while_lanes_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.create_task(busy(monkeypatch, 0.95).wait(lambda _: False))
    await asyncio.sleep(0)
    assert waiting.done()


async def test_no_batch_waits_for_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "MAX_WAIT", 0.02)
    async with asyncio.timeout(10):
        await busy(monkeypatch, 0.95).wait(lambda _: True)


def test_work_wants_a_cpu_and_sleep_does_not() -> None:
    before = cpu_demand_seconds()
    total = sum(range(3_000_000))
    assert total
    assert cpu_demand_seconds() - before > 0.005
