"""Quotas: what is counted is counted where it is stored, so that requests at the same moment cannot all fit."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dispatcher.domain.errors import TooManyAlike
from dispatcher.domain.quotas import Caps
from dispatcher.domain.retention import DEFAULT, Keep
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.filters import SubscriptionFilter, Window
from dispatcher.store.store import Store
from tests.factories import make_subscription
from tests.store.conftest import OpenAnother

QUOTA = Caps(alike=3)


async def added(store: Store, **fields: object) -> Subscription | None:
    """Return a new subscription, None when there is no room for it."""
    subscription = make_subscription(**fields)
    try:
        await store.subscriptions.add(subscription, QUOTA)
    except TooManyAlike:
        return None
    return subscription


async def count(store: Store) -> int:
    return len((await store.subscriptions.page(SubscriptionFilter(tenant="default"), Window())).items)


async def test_no_more_are_stored_than_there_may_be_however_many_ask_at_once(store: Store) -> None:
    made = await asyncio.gather(*(added(store) for _ in range(12)))
    assert sum(one is not None for one in made) == await count(store) == 3


async def test_processes_cannot_both_store_the_last_one(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(3)]
    made = await asyncio.gather(*(added(store) for _ in range(6) for store in stores))
    assert sum(one is not None for one in made) == await count(stores[0]) == 3


async def test_others_jobs_and_subscribers_have_separate_limits(store: Store) -> None:
    for fields in ({}, {"job_id": "j"}, {"subscriber": "bob"}, {"tenant": "t"}):
        made = [await added(store, **fields) for _ in range(4)]
        assert [one is not None for one in made] == [True, True, True, False]
    assert await added(store, status="disabled") is not None


async def test_who_has_no_quota_may_have_any_number(store: Store) -> None:
    for _ in range(5):
        await store.subscriptions.add(make_subscription())
    assert await count(store) == 5


async def test_a_change_needs_room_only_when_it_takes_more(store: Store) -> None:
    alike = [await added(store) for _ in range(3)]
    ended, other = await added(store, status="completed"), await added(store, job_id="j")
    assert alike[0] is not None
    assert alike[1] is not None
    assert ended is not None
    assert other is not None
    await store.subscriptions.save(changed(alike[0], name="renamed"), QUOTA)
    moved, resumed = changed(other, job_id=None), changed(ended, status="active")
    for one in (moved, resumed):
        with pytest.raises(TooManyAlike):
            await store.subscriptions.save(one, QUOTA)
    await store.subscriptions.remove("default", alike[1].id)
    await store.subscriptions.save(moved, QUOTA)
    with pytest.raises(TooManyAlike):
        await store.subscriptions.save(resumed, QUOTA)


def changed(subscription: Subscription, **fields: object) -> Subscription:
    """Return the next revision of a subscription."""
    known = {name: getattr(subscription, name) for name in subscription.__struct_fields__}
    return make_subscription(**{**known, "revision": subscription.revision + 1, **fields})


async def test_what_was_stored_counts_as_long_as_it_is_kept(store: Store) -> None:
    await store.quotas.note_stored({("default", "alice"): 3 << 20, ("default", "bob"): 1 << 20})
    await store.retain(DEFAULT)
    assert await store.quotas.stored_mib("default", "alice") == 3

    assert await store.quotas.purge(Keep(delivered=timedelta(days=-2))) == {"usage": 2}
    assert await store.quotas.stored_mib("default", "alice") == 0
