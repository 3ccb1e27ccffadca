"""No part of a running process ends it by an error that was not expected: it is counted, and the part goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from dispatcher.app import running
from dispatcher.config.loading import load
from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.outcomes import OutcomeWriter
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.batcher import Batcher
from dispatcher.maintenance.sweeper import Sweeper
from dispatcher.telemetry import background
from dispatcher.telemetry.metrics import REGISTRY
from dispatcher.telemetry.readiness import Readiness

PARTS = {
    "lease": Lease,
    "claims": Scheduler,
    "outcomes": OutcomeWriter,
    "breakers": Breakers,
    "upkeep": Sweeper,
    "readiness": Readiness,
    "intake": Batcher,
    "consumer": Consumer,
}
KEY = "an-admin-key-for-the-tests-of-32-characters"


def settings(directory: Path, **more: str) -> Any:
    values = {
        "DISPATCHER_DATABASE_URL": f"sqlite:///{directory / 'store.db'}",
        "DISPATCHER_HTTP_PORT": "0",
        "DISPATCHER_AUTH_ADMIN_KEY": KEY,
    }
    (directory / "none.toml").touch()
    return load(values | more, directory / "none.toml")


def failing(times: int, error: Exception, real: Callable[..., Any]) -> Callable[..., Any]:
    left = [error] * times

    async def run(*args: Any) -> None:
        if left:
            raise left.pop()
        await real(*args)

    return run


@pytest.mark.parametrize("where", PARTS)
async def test_a_part_that_fails_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(background, "FIRST_DELAY", 0.001)
    failed = failing(2, ZeroDivisionError("never expected"), PARTS[where].run)  # type: ignore[attr-defined]  # each has it
    monkeypatch.setattr(PARTS[where], "run", failed)
    counted = {"where": where}
    before = REGISTRY.get_sample_value("dispatcher_internal_errors_total", counted) or 0
    unreachable = {"DISPATCHER_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"} if where == "consumer" else {}
    async with (
        running(settings(tmp_path, **unreachable)) as app,
        ClientSession(app.url, headers={"Authorization": f"Bearer {KEY}"}) as session,
    ):
        event = {"event": "FINISHED", "job_id": "a"}
        async with session.post("/v1/events", json=event) as answer:
            assert answer.status == 202
        async with asyncio.timeout(20):
            while (  # noqa: ASYNC110 - a counter sends no notification
                REGISTRY.get_sample_value("dispatcher_internal_errors_total", counted) or 0
            ) < before + 2:
                await asyncio.sleep(0.01)


async def test_a_broker_that_refuses_at_the_start_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = SettingsError("amqp.url: the broker refuses the user")
    monkeypatch.setattr(Consumer, "run", failing(1, refused, Consumer.run))
    unreachable = {"DISPATCHER_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}
    with pytest.raises(SettingsError, match="the broker refuses the user"):
        async with running(settings(tmp_path, **unreachable)):
            await asyncio.Event().wait()
