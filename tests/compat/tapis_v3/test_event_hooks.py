"""What events of Tapis v3 end, when the store cannot be reached, and what ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from dispatcher.compat.tapis_v3 import decoder
from dispatcher.compat.tapis_v3.event_hooks import EndingHook
from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.intake import hooks
from dispatcher.intake.decode import Message, decode
from dispatcher.intake.submission import Result
from dispatcher.store.store import Store
from tests.api.conftest import opened
from tests.compat.tapis_v3.conftest import event
from tests.intake.doubles import Running
from tests.plugins import tapis_of


def read(**changes: object) -> list[Event]:
    body = msgspec.json.encode(event() | {"deleteSubscriptionsMatchingSubject": False} | changes)
    message = Message(origin="amqp", body=body)
    return decode(message, default_tenant="dev", tenant_fixed=False, now=utc_now(), adapters=(decoder,))


@pytest.fixture
async def store(settings: dict[str, str]) -> AsyncIterator[Store]:
    async with opened(settings["DISPATCHER_DATABASE_URL"]) as store:
        yield store


SERIES = ("dev", "Jobs", "job-1", "job-1")


async def test_a_message_is_done_when_what_it_ends_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def once_unavailable(*series: str | None) -> bool:
        monkeypatch.undo()
        raise StoreUnavailable("away")

    repository = tapis_of(store)
    await repository.count_on(*SERIES)
    monkeypatch.setattr(hooks, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(repository, "end_series", once_unavailable)
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    async with Running(hooks=[EndingHook(repository)]) as running:
        running.intake.submit_nowait(read(endSeries=True), "amqp", done.set_result)
        await running.store.holds(1)
        assert not done.done()
        assert await done == {}
        assert await repository.count_on(*SERIES) == 1


async def test_what_was_refused_ends_nothing(store: Store) -> None:
    repository = tapis_of(store)
    await repository.count_on(*SERIES)
    refusal = InvalidInput("", "no")

    def refuse(_: Sequence[Event]) -> None:
        raise refusal

    done: list[Result] = []
    async with Running(hooks=[EndingHook(repository)]) as running:
        running.store.fault = refuse
        running.intake.submit_nowait(read(endSeries=True), "amqp", done.append)
        with pytest.raises(InvalidInput):
            await running.intake.submit(read(endSeries=True))
        assert done == [refusal]
        assert await repository.count_on(*SERIES) == 2


async def test_what_ends_nothing_is_done_at_once(store: Store) -> None:
    done_by: asyncio.Future[asyncio.Task[None] | None] = asyncio.get_running_loop().create_future()
    async with Running(hooks=[EndingHook(tapis_of(store))]) as running:
        running.intake.submit_nowait(read(), "amqp", lambda _: done_by.set_result(asyncio.current_task()))
        assert await done_by is running._task
