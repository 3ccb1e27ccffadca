"""Background work goes on after any error but one of the settings."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from structlog.testing import capture_logs

from dispatcher.domain.errors import SettingsError
from dispatcher.telemetry import background
from dispatcher.telemetry.background import keep_running
from dispatcher.telemetry.metrics import REGISTRY


def counted(where: str) -> float:
    return REGISTRY.get_sample_value("dispatcher_internal_errors_total", {"where": where}) or 0


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_DELAY", 0.001)


async def test_work_that_fails_begins_again_is_counted_and_logged_once_with_its_traceback() -> None:
    before, runs = counted("here"), count()

    async def work() -> None:
        if next(runs) < 3:
            raise ZeroDivisionError("by nothing")

    with capture_logs() as logs:
        await keep_running("here", work)
    assert counted("here") == before + 3
    assert [(line["event"], "exc_info" in line) for line in logs] == [
        ("internal error", True),
        ("internal error again", False),
        ("internal error again", False),
    ]


async def test_another_error_is_logged_with_its_traceback_too() -> None:
    errors = iter([ZeroDivisionError("one"), KeyError("two")])

    async def work() -> None:
        for error in errors:
            raise error

    with capture_logs() as logs:
        await keep_running("here", work)
    assert [line["event"] for line in logs] == ["internal error", "internal error"]


async def test_a_wrong_setting_ends_it() -> None:
    async def work() -> None:
        raise SettingsError("amqp.url: refused")

    with pytest.raises(SettingsError):
        await keep_running("here", work)


async def test_it_can_be_cancelled_while_it_works_and_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_DELAY", 3600)
    failed = asyncio.Event()

    async def work() -> None:
        failed.set()
        raise ZeroDivisionError

    for one in (work, asyncio.Event().wait):
        task = asyncio.create_task(keep_running("here", one))  # type: ignore[arg-type]  # what it returns is not looked at
        if one is work:
            await failed.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
