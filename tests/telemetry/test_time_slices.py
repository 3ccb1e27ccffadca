"""Long work leaves the event loop to others."""

from __future__ import annotations

import asyncio
import time

import pytest

from dispatcher.telemetry import time_slices
from dispatcher.telemetry.time_slices import LONG, PAUSE, TimeSlices


async def _work(slices: TimeSlices, count: int) -> None:
    for _ in range(count):
        await slices.others()


async def _busy() -> None:
    while True:
        until = time.perf_counter() + 0.000_2
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def test_long_work_pauses_between_its_slices_while_others_have_something_to_do(
    pauses: list[float],
) -> None:
    other = asyncio.create_task(_busy())
    await _work(TimeSlices(), LONG)
    assert not pauses
    await _work(TimeSlices(), LONG + 3)
    other.cancel()
    assert pauses == [PAUSE] * 3


async def test_work_that_is_alone_does_not_pause(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_slices, "_IDLE", 60.0)
    await _work(TimeSlices(), 10 * LONG)
    assert not pauses
