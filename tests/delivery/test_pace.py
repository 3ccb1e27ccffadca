"""The pace of intake."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dispatcher.delivery import pace
from dispatcher.delivery.pace import Pace


def busy(monkeypatch: pytest.MonkeyPatch, share: float) -> Pace:
    """A pace on a CPU of which the event loop takes this share."""
    clock = SimpleNamespace(monotonic=lambda: 0.0, thread_time=lambda: 0.0)
    monkeypatch.setattr(pace, "time", clock)
    made = Pace()
    clock.monotonic, clock.thread_time = lambda: 1.0, lambda: share
    return made


async def test_intake_waits_while_lanes_and_cpu_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    made = busy(monkeypatch, 0.95)
    made.crowded()
    waiting = asyncio.create_task(made.keep())
    await asyncio.sleep(0)
    assert not waiting.done()
    made.freed()
    await waiting


async def test_intake_does_not_wait_for_a_destination_while_there_is_cpu_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = busy(monkeypatch, 0.3)
    made.crowded()
    waiting = asyncio.create_task(made.keep())
    await asyncio.sleep(0)
    assert waiting.done()


async def test_intake_does_not_wait_while_lanes_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.create_task(busy(monkeypatch, 0.95).keep())
    await asyncio.sleep(0)
    assert waiting.done()


async def test_intake_waits_once_for_lanes_that_are_not_about_to_be_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "LONGEST_WAIT", 0.01)
    made = busy(monkeypatch, 0.95)
    made.crowded()
    await made.keep()
    again = asyncio.create_task(made.keep())
    await asyncio.sleep(0)
    assert again.done()
