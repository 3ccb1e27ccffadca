"""The outcome writer goes on whatever the store says, and loses nothing that it can keep."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

import pytest

from dispatcher.delivery import outcomes as module
from dispatcher.delivery.outcomes import NOT_STORED, OutcomeWriter
from dispatcher.domain.deliveries import Attempt, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.subscriptions import SubscriptionStatus
from tests.factories import NOW, make_claimed, make_event


def outcome(number: int, answer: str = "fine") -> Outcome:
    attempt = Attempt(
        number=1, started_at=NOW, duration=0.1, request="POST x", status=204, error=None, answer=answer
    )
    return Outcome(
        delivery_id=f"dlv_{number}",
        state=State.DELIVERED,
        attempts=1,
        due_at=None,
        ended_at=NOW,
        reason=None,
        attempt=attempt,
    )


class ScriptedStore:
    """Refuses what `refuses` says with a ValueError, and fails first with the errors in `failures`."""

    def __init__(self, refuses: Callable[[Outcome], bool], failures: Sequence[Exception] = ()) -> None:
        self.stored: dict[str, Outcome] = {}
        self.followed: list[str] = []
        self.ended: list[str] = []
        self.failures = list(failures)
        self._refuses = refuses

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def record_outcomes(self, process: int, outcomes: Sequence[Outcome]) -> None:
        self._fail()
        if any(map(self._refuses, outcomes)):
            raise ValueError("refused")
        self.stored |= {one.delivery_id: one for one in outcomes}

    async def run_side_effects(self, outcomes: Sequence[Outcome]) -> None:
        self._fail()
        self.followed += [one.delivery_id for one in outcomes]

    async def end(self, subscription_id: str, status: SubscriptionStatus, reason: str) -> None:
        self._fail()
        self.ended.append(subscription_id)


async def write(store: ScriptedStore, outcomes: Sequence[Outcome]) -> list[str]:
    """Which outcomes the writer reported when it was done with all of these."""
    written: list[str] = []
    writer = OutcomeWriter(store, store, lambda some: written.extend(one.delivery_id for _, _, one in some))
    for one in outcomes:
        writer.put(make_claimed(id=one.delivery_id), one)
    writer.end_subscription("sub_1", "disabled", "gone")
    writer.stop()
    async with asyncio.timeout(20):
        await writer.run()
    return written


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_DELAYS", (0.001,))


async def test_an_answer_that_cannot_be_stored_costs_only_itself() -> None:
    store = ScriptedStore(lambda one: one.attempt is not None and one.attempt.answer == "poison")
    new = [outcome(number, "poison" if number == 3 else "fine") for number in range(10)]
    written = await write(store, new)
    assert sorted(written) == sorted(one.delivery_id for one in new)
    assert [store.stored[one.delivery_id] for one in new if one.delivery_id != "dlv_3"] == [
        one for one in new if one.delivery_id != "dlv_3"
    ]
    bare = store.stored["dlv_3"]
    assert (bare.state, bare.attempt, bare.reason) == (State.DELIVERED, None, NOT_STORED)


async def test_an_outcome_that_cannot_be_stored_at_all_holds_up_no_other() -> None:
    store = ScriptedStore(lambda one: one.delivery_id == "dlv_0")
    await write(store, [outcome(number) for number in range(4)])
    assert sorted(store.stored) == ["dlv_1", "dlv_2", "dlv_3"]
    assert store.ended == ["sub_1"]


async def test_it_waits_for_a_store_that_is_away_and_writes_everything_once() -> None:
    store = ScriptedStore(lambda _: False, [StoreUnavailable("away")] * 50)
    new = [outcome(number) for number in range(3)]
    assert await write(store, new) == ["dlv_0", "dlv_1", "dlv_2"]
    assert store.followed == ["dlv_0", "dlv_1", "dlv_2"]


def test_an_outcome_that_waits_keeps_no_document_in_memory() -> None:
    store, event = ScriptedStore(lambda _: False), make_event()
    writer, before = OutcomeWriter(store, store, lambda _: None), sys.getrefcount(event)
    writer.put(make_claimed(event=event), outcome(0))
    assert sys.getrefcount(event) == before


async def test_an_error_that_was_not_expected_ends_nothing() -> None:
    store = ScriptedStore(lambda _: False, [RuntimeError("once"), RuntimeError("once more")])
    new = [outcome(number) for number in range(3)]
    assert await write(store, new) == ["dlv_0", "dlv_1", "dlv_2"]
    assert sorted(store.stored) == ["dlv_0", "dlv_1", "dlv_2"]
    assert store.ended == ["sub_1"]
