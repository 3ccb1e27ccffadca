"""Readiness says what keeps a process from its work, without a look into the database when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.telemetry import readiness as module
from dispatcher.telemetry.metrics import REGISTRY
from dispatcher.telemetry.readiness import Readiness


class ScriptedStore:
    def __init__(self, *answers: Callable[[], Awaitable[None]]) -> None:
        self.answers = list(answers)

    async def check_write(self, process: int) -> None:
        assert process == 7
        await self.answers.pop(0)()


async def works() -> None:
    pass


async def fails() -> None:
    raise StoreUnavailable("the database cannot be reached: no space left")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_it_is_ready_after_a_write_and_not_before() -> None:
    readiness = Readiness(ScriptedStore(works), lambda: 7, {})
    assert readiness.problems() == {"database": "nothing was written yet"}
    await readiness.look()
    assert readiness.problems() == {"database": None}
    assert REGISTRY.get_sample_value("dispatcher_store_up") == 1


async def test_it_names_what_is_wrong_logs_it_once_and_is_ready_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WRITE_TIMEOUT", 0.01)
    broker = ["the queue is gone"]
    readiness = Readiness(
        ScriptedStore(fails, hangs, works), lambda: 7, {"broker": lambda: broker[0] if broker else None}
    )
    with capture_logs() as logs:
        await readiness.look()
        assert readiness.problems() == {
            "database": "the database cannot be reached: no space left",
            "broker": "the queue is gone",
        }
        assert REGISTRY.get_sample_value("dispatcher_store_up") == 0
        await readiness.look()
        assert readiness.problems()["database"] == "a write took longer than 0.01 s"
        broker.clear()
        await readiness.look()
    assert readiness.problems() == {"database": None, "broker": None}
    assert [line["event"] for line in logs] == ["not ready", "ready again"]
    assert logs[0]["broker"] == "the queue is gone"


async def test_a_look_that_does_not_come_to_an_end_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    readiness = Readiness(ScriptedStore(works), lambda: 7, {})
    await readiness.look()
    now[0] += module.STALE_AFTER + 1
    assert readiness.problems() == {"database": "a write has not come to an end for 13 s"}
