"""Recipients of e-mail in the store: consent, refusals, unsubscribing, and counts that hold across processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from dispatcher.domain.deliveries import Outcome, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.recipients import WAITS_FOR_CONSENT, Quota, Recipient
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import NOW, make_delivery, make_event, make_subscription

SUBSCRIPTION = make_subscription()
ANN = Recipient("default", "alice", SUBSCRIPTION.id, "ann@example.org")
HOURLY = Quota("to ann@example.org", 2, 3600)


async def test_no_address_has_a_standing_at_first(store: Store) -> None:
    [standing] = await store.recipients.standings([ANN])
    assert (standing.asked_at, standing.confirmed_at, standing.refused_at, standing.unsubscribed_at) == (
        None,
    ) * 4


async def test_only_one_asks_for_a_consent(store: Store) -> None:
    until = utc_now() + timedelta(minutes=1)
    assert sorted(await asyncio.gather(*(store.recipients.begin_asking(ANN, until) for _ in range(3)))) == [
        False,
        False,
        True,
    ]
    await store.recipients.end_asking(ANN, asked=True)
    assert not await store.recipients.begin_asking(ANN, until)
    [standing] = await store.recipients.standings([ANN])
    assert standing.asked_at is not None


async def test_who_could_not_be_asked_is_asked_again(store: Store) -> None:
    until = utc_now() + timedelta(minutes=1)
    assert await store.recipients.begin_asking(ANN, until)
    await store.recipients.end_asking(ANN, asked=False)
    assert await store.recipients.begin_asking(ANN, until)


async def test_who_died_while_asking_is_followed_by_others(store: Store) -> None:
    assert await store.recipients.begin_asking(ANN, utc_now() - timedelta(seconds=1))
    assert await store.recipients.begin_asking(ANN, utc_now() + timedelta(minutes=1))


async def test_a_consent_is_for_all_subscriptions_of_the_subscriber_and_for_no_other(
    store: Store,
) -> None:
    await store.recipients.confirm(ANN)
    other = Recipient("default", "alice", make_subscription().id, ANN.key)
    bobs = Recipient("default", "bob", SUBSCRIPTION.id, ANN.key)
    elsewhere = Recipient("other", "alice", SUBSCRIPTION.id, ANN.key)
    first, second, third, fourth = await store.recipients.standings([ANN, other, bobs, elsewhere])
    assert first.confirmed_at is not None
    assert second.confirmed_at == first.confirmed_at
    assert (third.confirmed_at, fourth.confirmed_at) == (None, None)


async def test_a_consent_makes_due_what_waits_for_it(store: Store, process: int) -> None:
    await store.subscriptions.add(SUBSCRIPTION)
    events = [make_event(), make_event()]
    waiting, retried = (make_delivery(event, SUBSCRIPTION) for event in events)
    await store.events.accept(process, events, [waiting, retried])
    later = utc_now() + timedelta(hours=1)
    reasons = {waiting.id: f"{WAITS_FOR_CONSENT}ann@example.org to confirm", retried.id: "450 later"}
    await store.queue.finish(
        process,
        [
            Outcome(
                delivery_id=key,
                state=State.PENDING,
                attempts=0,
                due_at=later,
                ended_at=None,
                reason=reason,
                attempt=None,
            )
            for key, reason in reasons.items()
        ],
    )
    await store.recipients.confirm(ANN)
    found = await store.deliveries.page(DeliveryFilter(tenant="default"), Window())
    due = {one.id: one.due_at for one in found.items}
    assert (due[waiting.id] or later) <= utc_now()
    assert due[retried.id] == later
    assert [one.id for one in await claim(store, process, 10)] == [waiting.id]


async def test_unsubscribing_is_for_one_subscription_and_keeps_its_first_time(store: Store) -> None:
    await store.recipients.unsubscribe(ANN)
    [before] = await store.recipients.standings([ANN])
    await store.recipients.unsubscribe(ANN)
    other = Recipient("default", "alice", make_subscription().id, ANN.key)
    again, elsewhere = await store.recipients.standings([ANN, other])
    assert again.unsubscribed_at == before.unsubscribed_at is not None
    assert elsewhere.unsubscribed_at is None


async def test_an_own_address_is_restored_at_once(store: Store) -> None:
    await store.recipients.unsubscribe(ANN)
    await store.recipients.refuse(ANN, "550 5.1.1 no such user")
    [refused] = await store.recipients.standings([ANN])
    assert refused.refusal == "550 5.1.1 no such user"
    await store.recipients.restore(ANN, own=True)
    [standing] = await store.recipients.standings([ANN])
    assert (standing.refusal, standing.refused_at, standing.unsubscribed_at) == (None, None, None)


async def test_somebody_elses_address_has_to_consent_again_after_it_left(store: Store) -> None:
    await store.recipients.confirm(ANN)
    await store.recipients.unsubscribe(ANN)
    await store.recipients.restore(ANN, own=False)
    [standing] = await store.recipients.standings([ANN])
    assert standing.unsubscribed_at is not None
    assert await store.recipients.begin_asking(ANN, utc_now() + timedelta(minutes=1))
    await store.recipients.confirm(ANN)
    [standing] = await store.recipients.standings([ANN])
    assert standing.unsubscribed_at is None


async def test_counts_hold_for_every_process(store: Store) -> None:
    taken = await asyncio.gather(*(store.recipients.take([HOURLY], NOW) for _ in range(5)))
    full = [one for one in taken if one is not None]
    assert len(full) == 3
    assert full[0][0] == HOURLY
    assert 0 < full[0][1] <= 3600


async def test_when_one_count_is_full_the_others_stay_as_they_were(store: Store) -> None:
    domain = Quota("domain example.org", 1, 3600)
    assert await store.recipients.take([HOURLY, domain], NOW) is None
    for _ in range(3):
        full = await store.recipients.take([HOURLY, domain], NOW)
        assert full is not None
        assert full[0] == domain
    assert await store.recipients.take([HOURLY], NOW) is None
    await store.recipients.give_back([domain], NOW)
    assert await store.recipients.take([domain], NOW) is None


async def test_a_subscription_is_found_without_its_tenant(store: Store) -> None:
    await store.subscriptions.add(SUBSCRIPTION)
    found = await store.recipients.subscription(SUBSCRIPTION.id)
    assert found is not None
    assert found.id == SUBSCRIPTION.id
    assert await store.recipients.subscription(make_subscription().id) is None


async def test_who_left_a_subscription_is_forgotten_with_it(store: Store) -> None:
    await store.subscriptions.add(SUBSCRIPTION)
    await store.recipients.unsubscribe(ANN)
    await store.purge_orphans()
    [standing] = await store.recipients.standings([ANN])
    assert standing.unsubscribed_at is not None
    await store.subscriptions.remove("default", SUBSCRIPTION.id)
    await store.purge_orphans()
    [standing] = await store.recipients.standings([ANN])
    assert standing.unsubscribed_at is None
