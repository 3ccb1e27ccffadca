"""The latest status of a target with state: one delivery at a time, and none that is older than what arrived."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.store import target_statuses
from dispatcher.store.store import Store
from tests.store.conftest import OpenAnother

KEY, OTHER = b"k" * 16, b"o" * 16


async def test_what_is_older_than_what_arrived_is_superseded(store: Store) -> None:
    statuses = store.target_statuses
    older, newer, newest = new_id("evt"), new_id("evt"), new_id("evt")
    first, second, third = new_id("dlv"), new_id("dlv"), new_id("dlv")

    assert await statuses.begin(KEY, newer, second, 30) == "go"
    await statuses.finish(KEY, newer, second, delivered=True)
    assert await statuses.begin(KEY, older, first, 30) == "superseded"
    assert await statuses.begin(OTHER, older, first, 30) == "go"
    assert await statuses.begin(KEY, newest, third, 30) == "go"


async def test_a_failure_supersedes_nothing(store: Store) -> None:
    statuses = store.target_statuses
    older, newer, delivery = new_id("evt"), new_id("evt"), new_id("dlv")

    assert await statuses.begin(KEY, newer, delivery, 30) == "go"
    await statuses.finish(KEY, newer, delivery, delivered=False)
    assert await statuses.begin(KEY, older, new_id("dlv"), 30) == "go"


async def test_others_wait_until_the_interval_is_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = store.target_statuses
    event, first, second = new_id("evt"), new_id("dlv"), new_id("dlv")

    assert await statuses.begin(KEY, event, first, 30) == "go"
    await statuses.finish(KEY, event, first, delivered=True, interval=30)
    assert await statuses.begin(KEY, new_id("evt"), second, 30) == "wait"
    assert await statuses.begin(KEY, event, first, 30) == "wait"  # the same delivery too
    assert await statuses.begin(OTHER, event, first, 30) == "go"
    monkeypatch.setattr(target_statuses, "utc_now", lambda: utc_now() + timedelta(seconds=31))
    assert await statuses.begin(KEY, event, second, 30) == "go"


async def test_what_arrives_late_leaves_the_later_one_the_latest(store: Store) -> None:
    statuses = store.target_statuses
    older, newer = new_id("evt"), new_id("evt")
    slow, fast = new_id("dlv"), new_id("dlv")

    assert await statuses.begin(KEY, older, slow, 0) == "go"  # its time is over at once
    assert await statuses.begin(KEY, newer, fast, 30) == "go"
    await statuses.finish(KEY, newer, fast, delivered=True)
    await statuses.finish(KEY, older, slow, delivered=True)
    assert await statuses.begin(KEY, older, slow, 30) == "superseded"


async def test_one_that_is_late_does_not_end_the_turn_of_another(store: Store) -> None:
    statuses = store.target_statuses
    slow, other = new_id("dlv"), new_id("dlv")

    assert await statuses.begin(KEY, new_id("evt"), slow, 0) == "go"
    assert await statuses.begin(KEY, new_id("evt"), other, 30) == "go"
    await statuses.finish(KEY, new_id("evt"), slow, delivered=False)
    assert await statuses.begin(KEY, new_id("evt"), new_id("dlv"), 30) == "wait"


async def test_a_delivery_may_begin_again_that_was_cut_off(store: Store) -> None:
    event, delivery = new_id("evt"), new_id("dlv")

    assert await store.target_statuses.begin(KEY, event, delivery, 30) == "go"
    assert await store.target_statuses.begin(KEY, event, delivery, 30) == "go"


async def test_of_two_processes_one_goes(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(4)]
    turns = await asyncio.gather(
        *(one.target_statuses.begin(KEY, new_id("evt"), new_id("dlv"), 30) for one in stores)
    )
    assert sorted(turns) == ["go", "wait", "wait", "wait"]


async def test_what_no_delivery_can_ask_for_is_purged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    event = new_id("evt")
    for key in (KEY, OTHER):
        await store.target_statuses.begin(key, event, "dlv_" + "0" * 32, 30)
        await store.target_statuses.finish(key, event, "dlv_" + "0" * 32, delivered=True)
    later = utc_now() + target_statuses.KEPT + timedelta(minutes=1)
    monkeypatch.setattr(target_statuses, "utc_now", lambda: later)
    await store.target_statuses.begin(KEY, new_id("evt"), new_id("dlv"), 30)
    await store.target_statuses.purge()

    assert await store.target_statuses.begin(OTHER, "evt_" + "0" * 32, new_id("dlv"), 30) == "go"
    assert await store.target_statuses.begin(KEY, "evt_" + "0" * 32, new_id("dlv"), 30) == "superseded"
