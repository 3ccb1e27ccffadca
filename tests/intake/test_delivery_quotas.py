"""Which deliveries are due later for a quota, and how rarely the store is asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from dispatcher.domain.delivery_quota import Grant, Owner, grant
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.retry import RetryPolicy, Schedule
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake import delivery_quotas
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from tests.factories import make_event, make_subscription
from tests.intake.doubles import Running


class Grants:
    """Quotas in memory, at a moment that does not pass."""

    def __init__(self) -> None:
        self.own: dict[str, int] = {}
        self.owed: dict[Owner, float] = {}
        self.asked: list[dict[Owner, int]] = []
        self.error: Exception | None = None
        self.read = asyncio.Event()

    async def take_deliveries(self, needed: Mapping[Owner, int], default: int) -> Mapping[Owner, Grant]:
        if self.error is not None:
            raise self.error
        self.asked.append(dict(needed))
        found = {}
        for owner, count in needed.items():
            limit = self.own.get(owner[1], default)
            if not limit:
                found[owner] = Grant(0, count)
                continue
            found[owner], self.owed[owner] = grant(limit, self.owed.get(owner, 0.0), 1000.0, count)
        return found

    async def deliveries_per_minute(self, owners: Sequence[Owner], default: int) -> Mapping[Owner, int]:
        self.read.set()
        return {owner: self.own.get(owner[1], default) for owner in owners}


def matches(subscription: Subscription, count: int) -> list[tuple[Event, Subscription]]:
    return [(make_event(), subscription) for _ in range(count)]


ALICE = make_subscription()
BOB = make_subscription(subscriber="bob", owner="bob")


async def test_the_last_ones_of_an_owner_are_due_later_and_others_go() -> None:
    quotas, before = DeliveryQuotas(Grants(), 60), utc_now()
    asked = [*matches(ALICE, 62), *matches(BOB, 3)]
    now, later = await quotas.admit(asked)
    assert now == [*asked[:60], *asked[62:]]
    assert [one.event for one in later] == [event for event, _ in asked[60:62]]
    assert [round((one.due_at - before).total_seconds()) for one in later if one.due_at] == [1, 2]
    assert not any(one.lease_id for one in later)
    assert later[0].reason is not None
    assert later[0].reason.startswith("over the quota of 60 deliveries a minute: due at 20")


async def test_the_store_is_not_asked_while_a_share_is_left() -> None:
    store = Grants()
    quotas = DeliveryQuotas(store, 6000)
    for _ in range(20):
        await quotas.admit([*matches(ALICE, 5), *matches(BOB, 1)])
    assert store.asked == [{("default", "alice"): 5, ("default", "bob"): 1}]
    await quotas.admit(matches(ALICE, 3))
    assert store.asked[1:] == [{("default", "alice"): 3}]


async def test_an_owner_without_a_limit_is_asked_for_once() -> None:
    store = Grants()
    quotas = DeliveryQuotas(store, 0)
    for _ in range(3):
        asked = matches(ALICE, 100)
        assert await quotas.admit(asked) == (asked, [])
    assert len(store.asked) == 1


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ZeroDivisionError()])
async def test_while_the_store_is_away_or_fails_all_are_delivered(error: Exception) -> None:
    store = Grants()
    store.error = error
    quotas, asked = DeliveryQuotas(store, 1), matches(ALICE, 10)
    assert await quotas.admit(asked) == (asked, [])


@pytest.mark.parametrize(
    "subscription",
    [
        make_subscription(subscriber="*", owner="*"),
        make_subscription(status="paused"),
        make_subscription(digest=DigestPolicy()),
    ],
)
async def test_what_is_an_admins_is_held_or_goes_into_a_digest_is_not_counted(
    subscription: Subscription,
) -> None:
    store, asked = Grants(), matches(subscription, 10)
    assert await DeliveryQuotas(store, 1).admit(asked) == (asked, [])
    assert store.asked == []


async def test_a_first_delay_that_is_longer_counts() -> None:
    delayed = make_subscription(retry=RetryPolicy(strategy=Schedule((600.0, 5.0))))
    before = utc_now()
    _, later = await DeliveryQuotas(Grants(), 1).admit(matches(delayed, 2))
    assert later[0].due_at is not None
    assert later[0].due_at >= before + timedelta(seconds=600)


async def test_what_an_admin_sets_counts_for_those_who_get_deliveries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_quotas, "OVERRIDE_SECONDS", 0.0)
    store = Grants()
    quotas = DeliveryQuotas(store, 600_000)
    await quotas.admit(matches(ALICE, 1))
    store.own["alice"] = 1
    running = asyncio.create_task(quotas.run())
    await asyncio.wait_for(store.read.wait(), 10)
    await asyncio.sleep(0)
    running.cancel()
    _, later = await quotas.admit(matches(ALICE, 3))
    # Under the fake's one debt the minute is used up by the share of the larger quota that was granted before.
    assert len(later) == 3


async def test_a_batch_stores_what_is_due_later_unclaimed() -> None:
    async with Running(ALICE, quotas=DeliveryQuotas(Grants(), 1)) as running:
        await running.intake.submit([make_event(), make_event()])
    stored = [delivery for _, delivery in running.store.deliveries.values()]
    assert sorted(delivery.lease_id for delivery in stored) == [0, 1]
    assert len(running.deliverer.reserved) == 0
