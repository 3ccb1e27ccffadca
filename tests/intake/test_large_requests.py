"""Large requests: they are stored separately, so that no one waits for them, and dropped when their caller has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest
from structlog.testing import capture_logs

from dispatcher.domain.errors import InvalidInput, StatementTimeout
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import Candidates, NewExpansion, bitmap
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake import batcher
from dispatcher.intake.ingest_queue import LARGE
from dispatcher.intake.job_access import Match
from dispatcher.intake.submission import Busy, Limits, NotStored
from tests.factories import make_event, make_subscription
from tests.intake.doubles import Everybody, Running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(batcher, "LONGEST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    with capture_logs():
        yield


def storm(size: int = LARGE) -> list[Event]:
    return [make_event(owner="mallory", job_id=f"m{number}") for number in range(size)]


class Slow(Everybody):
    """Matches large requests only when it may."""

    def __init__(self, *subscriptions: Subscription) -> None:
        super().__init__(*subscriptions)
        self.may = asyncio.Event()
        self.begun = asyncio.Event()

    async def select(
        self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool] = lambda: False
    ) -> tuple[list[Match], list[NewExpansion]]:
        if any(len(message) >= LARGE for message in messages):
            self.begun.set()
            await self.may.wait()
        return await super().select(messages, unwanted)


async def test_no_other_request_waits_for_a_large_one() -> None:
    async with Running() as run:
        slow = Slow(make_subscription())
        run.committer._matcher = slow
        large = asyncio.create_task(run.intake.submit(storm()))
        await slow.begun.wait()
        assert await run.intake.submit([make_event()]) == {}
        own = asyncio.create_task(run.intake.submit([make_event(owner="mallory", job_id="m0")]))
        await asyncio.sleep(0.01)
        assert not own.done()
        slow.may.set()
        assert await large == {}
        assert await own == {}
        assert len(run.store.ids) == LARGE + 2


async def test_a_large_request_whose_caller_has_gone_is_not_stored() -> None:
    async with Running(patience=0.05) as run:
        slow = Slow(make_subscription())
        run.committer._matcher = slow
        with pytest.raises(NotStored, match="others are stored before them"):
            await run.intake.submit(storm())
        slow.may.set()
        await run.intake.submit([make_event()])
        await run.stop(5)
        assert len(run.store.ids) == 1
        assert not run.deliverer.reserved


async def test_what_is_stopped_while_it_is_stored_is_confirmed_to_a_caller_who_asks_again() -> None:
    async with Running(make_subscription(), patience=0.05) as run:
        run.store.open.clear()
        event = make_event()
        with pytest.raises(NotStored):
            await run.intake.submit([event])
        run.store.open.set()
        again = make_event(id=event.id)
        assert await run.intake.submit([again]) == {again.key: event.key}
        assert [one.event.key for one in run.deliverer.started] == [event.key]


async def test_orders_go_into_the_store_with_their_events() -> None:
    async with Running() as run:
        subscription = make_subscription()
        event = make_event()

        class Ordering(Everybody):
            async def select(
                self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool] = lambda: False
            ) -> tuple[list[Match], list[NewExpansion]]:
                candidates = Candidates(bytes(16), [subscription.id])
                return [], [NewExpansion(one, candidates, bitmap([0], 1)) for [one] in messages]

        run.committer._matcher = Ordering()
        await run.intake.submit([event])
        assert [one.event.key for one in run.store.expansions] == [event.key]


async def test_a_batch_that_takes_too_long_is_halved() -> None:
    def fault(batch: Sequence[Event]) -> None:
        if len(batch) > 2:
            raise StatementTimeout("the database gave a statement up")

    async with Running(make_subscription()) as run:
        run.store.open.clear()
        first = asyncio.create_task(run.intake.submit([make_event()]))
        await run.store.entered.wait()
        others = [asyncio.create_task(run.intake.submit([make_event()])) for _ in range(8)]
        await asyncio.sleep(0)
        run.store.fault = fault
        run.store.open.set()
        await asyncio.gather(first, *others)
        assert [len(batch) for batch in run.store.batches] == [1, 2, 2, 2, 2]
        assert not run.deliverer.reserved


async def test_what_the_database_gave_up_is_dropped_when_no_caller_waits_for_it() -> None:
    def fault(batch: Sequence[Event]) -> None:
        if len(batch) == LARGE:
            raise StatementTimeout("the database gave a statement up")

    async with Running(make_subscription(), patience=0.05) as run:
        run.store.fault = fault
        with pytest.raises(NotStored, match="the database gave them up"):
            await run.intake.submit(storm())
        await run.stop(5)
        assert not run.deliverer.reserved


async def test_what_may_be_stored_already_is_not_dropped() -> None:
    async with Running(make_subscription()) as run:
        run.store.loses_answer = True
        event = make_event()
        request = asyncio.create_task(run.intake.submit([event]))
        await run.store.holds(1)
        request.cancel()
        await run.stop(5)
        assert [one.event.key for one in run.deliverer.started] == [event.key]
        assert not run.deliverer.reserved


async def test_a_fault_of_an_event_is_not_reported_as_one_of_the_database() -> None:
    def fault(batch: Sequence[Event]) -> None:
        raise ValueError("it does not fit")

    async with Running(patience=0.05) as run:
        run.store.fault = fault
        with pytest.raises(NotStored, match="internal error"):
            await run.intake.submit([make_event()])
        run.store.fault = lambda _: None
        assert await run.intake.submit([make_event()]) == {}


async def test_a_large_request_that_cannot_be_stored_is_refused_when_others_are_stored() -> None:
    def fault(batch: Sequence[Event]) -> None:
        if len(batch) == LARGE:
            raise ValueError("it does not fit")

    async with Running() as run:
        run.store.fault = fault
        refused = asyncio.create_task(run.intake.submit(storm()))
        while not refused.done():
            await run.intake.submit([make_event()])
        with pytest.raises(InvalidInput, match="it does not fit"):
            await refused


async def test_an_owner_who_floods_hears_of_it_and_the_others_do_not() -> None:
    async with Running(every=Limits(8, 1 << 27)) as run:
        run.store.open.clear()
        tasks = [asyncio.create_task(run.intake.submit([make_event(owner="mallory")])) for _ in range(2)]
        await run.store.entered.wait()
        with pytest.raises(Busy, match="2 events of mallory wait"):
            await run.intake.submit([make_event(owner="mallory")])
        tasks += [asyncio.create_task(run.intake.submit([make_event()]))]
        await asyncio.sleep(0)
        run.store.open.set()
        assert await asyncio.gather(*tasks) == [{}, {}, {}]
