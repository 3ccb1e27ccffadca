"""What waits for which destination and subscription, and claims that take turns between them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from dispatcher.domain.deliveries import Share, State
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from tests.store.conftest import OpenAnother
from tests.store.helpers import FUTURE, PAST, outcome, stored, subscribed

A, B = "https://a.example:443", "https://b.example:443"
ALL = Share("", 1_000_000).places


async def waiting(store: Store, process: int, count: int, destination: str = A) -> Subscription:
    one = await subscribed(store, destination=destination)
    if count:
        await stored(store, process, one, count, claimed=False, due_at=PAST)
    return one


async def test_each_destination_for_which_something_waits_is_found_once(store: Store, process: int) -> None:
    for destination in (A, A, B):
        await waiting(store, process, 3, destination)
    assert await store.queue.waiting_destinations("", 10) == [(A, PAST), (B, PAST)]
    assert await store.queue.waiting_destinations("", 1) == [(A, PAST)]
    assert await store.queue.waiting_destinations(A, 10) == [(B, PAST)]
    assert await store.queue.waiting_destinations(B, 10) == []


async def test_a_destination_of_which_all_is_being_tried_has_no_due_time(store: Store, process: int) -> None:
    one = await waiting(store, process, 2)
    assert len(await store.queue.claim(process, 10, [Share(one.id, ALL)])) == 2
    assert await store.queue.waiting_destinations("", 10) == [(A, None)]
    assert (await store.queue.find_queues({A: ""}, 10, 10))[A].queues == ()


async def test_a_look_tells_what_is_due_of_whom_and_when_the_next_is(store: Store, process: int) -> None:
    first, second = await waiting(store, process, 3), await waiting(store, process, 1)
    later = await subscribed(store, destination=A)
    await stored(store, process, later, claimed=False, due_at=FUTURE)
    found = (await store.queue.find_queues({A: "", B: ""}, 10, 10))[A]
    assert {queue.subscription_id: queue.due for queue in found.queues} == {first.id: 3, second.id: 1}
    assert {(queue.destination, queue.tenant, queue.owner) for queue in found.queues} == {
        (A, first.tenant, first.subscriber)
    }
    assert (found.complete, found.next_due) == (True, FUTURE)
    nothing = (await store.queue.find_queues({B: ""}, 10, 10))[B]
    assert (nothing.queues, nothing.complete, nothing.next_due) == ((), True, None)


async def test_one_with_much_that_is_due_longest_hides_no_other(store: Store, process: int) -> None:
    flood = await waiting(store, process, 30)
    others = [await waiting(store, process, 1) for _ in range(3)]
    found = (await store.queue.find_queues({A: ""}, 10, 10))[A]
    assert {queue.subscription_id for queue in found.queues} == {flood.id, *(one.id for one in others)}
    assert found.complete


async def test_of_many_subscriptions_one_look_goes_on_where_the_last_one_ended(
    store: Store, process: int
) -> None:
    await waiting(store, process, 30)
    others = {(await waiting(store, process, 1)).id for _ in range(9)}
    seen, after = set[str](), ""
    for _ in range(3):
        found = (await store.queue.find_queues({A: after}, 5, 4))[A]
        assert not found.complete
        seen |= {queue.subscription_id for queue in found.queues}
        after = found.last
    assert others <= seen
    assert after == "", "it begins from the start"


async def test_a_claim_gives_each_subscription_its_places(store: Store, process: int) -> None:
    first, second = await waiting(store, process, 5), await waiting(store, process, 5)
    claimed = await store.queue.claim(process, 100, [Share(first.id, 3), Share(second.id, 1)])
    counts = [one.subscription.id for one in claimed]
    assert (counts.count(first.id), counts.count(second.id)) == (3, 1)
    assert len(await store.queue.claim(process, 4, [Share(first.id, ALL), Share(second.id, ALL)])) == 4
    await store.queue.finish(process, [outcome(one.id, State.DELIVERED) for one in claimed])
    assert len(await store.queue.claim(process, 100, [Share(first.id, ALL), Share(second.id, ALL)])) == 2


async def test_of_a_subscription_the_longest_due_are_claimed_and_nothing_that_is_not_due(
    store: Store, process: int
) -> None:
    one = await subscribed(store, destination=A)
    new = [
        (await stored(store, process, one, claimed=False, due_at=PAST + timedelta(seconds=seconds)))[0]
        for seconds in (20, 10)
    ]
    await stored(store, process, one, claimed=False, due_at=FUTURE)
    assert [claim.id for claim in await store.queue.claim(process, 1, [Share(one.id, 9)])] == [new[1].id]
    assert [claim.id for claim in await store.queue.claim(process, 9, [Share(one.id, 9)])] == [new[0].id]


async def test_four_processes_that_look_at_once_claim_everything_once(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(4)]
    processes = [
        await store.leases.register("a-host", number, lease=60) for number, store in enumerate(stores)
    ]
    for _ in range(4):
        await waiting(stores[0], processes[0], 50)

    async def work(store: Store, process: int) -> list[str]:
        mine: list[str] = []
        while queues := (await store.queue.find_queues({A: ""}, 100, 10))[A].queues:
            shares = [Share(queue.subscription_id, 3) for queue in queues]
            mine += [one.id for one in await store.queue.claim(process, 12, shares)]
        return mine

    shares = await asyncio.gather(*map(work, stores, processes))
    claimed = [key for share in shares for key in share]
    assert len(claimed) == len(set(claimed)) == 200
    assert all(shares), "each had its share"


async def test_a_claim_whose_answer_was_lost_is_found_again_by_the_next(store: Store, process: int) -> None:
    one = await waiting(store, process, 3)
    asking = asyncio.create_task(store.queue.claim(process, 9, [Share(one.id, 9)]))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    again = await store.queue.claim(process, 9, [Share(one.id, 9)])
    rest = await store.queue.claim(process, 9, [Share(one.id, 9)])
    assert len({claim.id for claim in [*again, *rest]}) == 3
