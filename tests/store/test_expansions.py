"""Orders to make deliveries later: nothing is lost or made twice, and what has to wait behind them waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import NO_QUEUE, Candidates, Expansion, NewExpansion, bitmap, selected
from dispatcher.domain.ids import new_id
from dispatcher.domain.retention import Keep
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import expansions
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription
from tests.store.conftest import OpenAnother
from tests.store.helpers import outcome, subscribed

EVERYTHING = Keep(delivered=timedelta(days=1), exhausted=timedelta(days=1))


def order(event: Event, *subscriptions: Subscription, listed: Sequence[Subscription] = ()) -> NewExpansion:
    """Return the order to deliver an event to these subscriptions, of those that are listed."""
    everybody = listed or subscriptions
    wanted = [place for place, one in enumerate(everybody) if one in subscriptions]
    candidates = Candidates(bytes.fromhex(new_id("sub")[4:]), [one.id for one in everybody])
    return NewExpansion(event, candidates, bitmap(wanted, len(everybody)))


async def expand(store: Store, process: int, orders: Sequence[Expansion]) -> bool:
    """Carry orders out, as the process that claimed them does."""
    now, new = utc_now(), list[OpenDelivery]()
    for one in orders:
        wanted = await store.subscriptions.in_use(one.subscription_ids)
        new += [make_delivery(one.event, its, claimed=False, due_at=now) for its in wanted]
    return await store.expansions.expand(process, orders, new)


async def expand_all(store: Store, process: int) -> list[str]:
    """Carry out every order; the ids of their events as published, in turn."""
    done, after = [], NO_QUEUE
    while orders := await store.expansions.claim(after):
        assert await expand(store, process, orders)
        done += [one.event.id for one in orders]
        after = orders[0].queue
    return done


async def states(store: Store, event: Event) -> list[State]:
    which = DeliveryFilter(tenant="default", event_key=event.key)
    return [one.state for one in (await store.deliveries.page(which, Window())).items]


@pytest.mark.parametrize("size", [1, 8, 9, 500])
def test_a_bitmap_tells_which_are_wanted(size: int) -> None:
    ids = [str(place) for place in range(size)]
    for wanted in ([], [0], [size - 1], list(range(0, size, 3)), list(range(size))):
        assert selected(ids, bitmap(wanted, size)) == [str(place) for place in wanted]
        assert NewExpansion(make_event(), Candidates(b"", ids), bitmap(wanted, size)).count == len(wanted)


async def test_an_order_names_those_who_wanted_the_event_and_is_carried_out_once(
    store: Store, process: int
) -> None:
    first, second, third = [await subscribed(store) for _ in range(3)]
    event = make_event()
    await store.events.accept(
        process, [event], [], [order(event, first, third, listed=[first, second, third])]
    )
    assert (await states(store, event), await store.expansions.count(event.key, None)) == ([], 2)

    [claimed] = await store.expansions.claim(NO_QUEUE)
    assert (claimed.event, claimed.subscription_ids) == (event, [first.id, third.id])
    assert await expand(store, process, [claimed])
    assert not await expand(store, process, [claimed])
    assert await states(store, event) == [State.PENDING] * 2
    assert await store.expansions.count(event.key, None) == 0
    assert await store.expansions.claim(NO_QUEUE) == []


async def test_an_owner_sees_only_its_own_subscriptions(store: Store, process: int) -> None:
    several = [await subscribed(store, subscriber=name) for name in ("alice", "alice", "bob")]
    event = make_event()
    await store.events.accept(process, [event], [], [order(event, *several)])
    counts = [await store.expansions.count(event.key, name) for name in ("alice", "bob", "carol", None)]
    assert counts == [2, 1, 0, 3]


async def test_an_event_that_was_there_orders_nothing(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    event = make_event()
    await store.events.accept(process, [event], [], [order(event, subscription)])
    await expand_all(store, process)
    again = make_event(id=event.id)
    await store.events.accept(
        process, [event, again], [], [order(event, subscription), order(again, subscription)]
    )
    assert await store.expansions.claim(NO_QUEUE) == []


async def test_one_that_was_removed_or_ended_gets_nothing(store: Store, process: int) -> None:
    removed, ended, paused, kept = [await subscribed(store) for _ in range(4)]
    event = make_event()
    await store.events.accept(process, [event], [], [order(event, removed, ended, paused, kept)])
    await store.subscriptions.remove("default", removed.id)
    await store.subscriptions.end(ended.id, "disabled", "410")
    await expand_all(store, process)
    found = (
        await store.deliveries.page(DeliveryFilter(tenant="default", event_key=event.key), Window())
    ).items
    assert {one.subscription_id for one in found} == {paused.id, kept.id}


async def test_owners_take_turns_and_one_owners_orders_stay_in_order(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    events = [
        make_event(id=f"{owner}{number}", owner=owner, job_id=f"{owner}-{number}")
        for owner in ("alice", "bob")
        for number in range(3)
    ]
    await store.events.accept(process, events, [], [order(event, subscription) for event in events])
    done = await expand_all(store, process)
    assert done[:3] in (["alice0", "alice1", "alice2"], ["bob0", "bob1", "bob2"])
    assert sorted(done[::3]) == ["alice0", "bob0"]


async def test_an_order_that_is_claimed_is_left_alone_until_its_time_is_over(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = await subscribed(store)
    events = [make_event(id=name) for name in "ab"]
    await store.events.accept(process, events, [], [order(event, subscription) for event in events])
    assert await store.expansions.claim(NO_QUEUE)
    assert await store.expansions.claim(NO_QUEUE) == []
    monkeypatch.setattr(expansions, "CLAIM", -1.0)
    await store.events.accept(
        process, [other := make_event(owner="bob", job_id="b")], [], [order(other, subscription)]
    )
    assert await store.expansions.claim(NO_QUEUE)
    [again, *_] = await store.expansions.claim(NO_QUEUE)
    assert again.event.id != "b"


async def test_later_deliveries_of_an_ordered_subscription_wait_behind_an_open_order(
    store: Store, process: int
) -> None:
    ordered, plain = await subscribed(store, ordered=True), await subscribed(store)
    first, second, third, other = [
        make_event(id=name, job_id=job) for name, job in zip("abcd", "jjjo", strict=True)
    ]
    due = {"claimed": False, "due_at": utc_now()}
    await store.events.accept(process, [first], [], [order(first, ordered, plain)])
    both = [make_delivery(second, one, **due) for one in (ordered, plain)]
    await store.events.accept(process, [second, other], [*both, make_delivery(other, ordered, **due)])
    assert [len(await states(store, event)) for event in (first, second, other)] == [0, 1, 1]
    assert await store.expansions.count(second.key, None) == 1

    assert await expand_all(store, process) == ["a", "b"]
    await store.events.accept(process, [third], [make_delivery(third, ordered, **due)])
    got: list[str] = []
    while claimed := await claim(store, process, 100):
        got += [one.event.id for one in claimed if one.subscription.id == ordered.id]
        done = [
            outcome(one.id, State.DELIVERED, ordered=one.subscription.ordered, ended_at=utc_now())
            for one in claimed
        ]
        await store.queue.finish(process, done)
    assert [name for name in got if name != "d"] == ["a", "b", "c"]


async def test_an_order_of_the_same_batch_is_waited_for_too(store: Store, process: int) -> None:
    ordered = await subscribed(store, ordered=True)
    first, second = [make_event(id=name, owner=owner) for name, owner in (("a", None), ("b", "alice"))]
    later = make_delivery(second, ordered, claimed=False, due_at=utc_now())
    await store.events.accept(process, [first, second], [later], [order(first, ordered)])
    assert await states(store, second) == []
    # They have different owners, but one queue.
    assert await expand_all(store, process) == ["a", "b"]


async def test_retention_keeps_an_event_while_its_order_is_open(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    old = f"evt_{0x017F22E279B0:012x}7cc298c4dc0c0c07398f"
    kept, gone = make_event(key=old), make_event(key=old[:-1] + "0")
    await store.events.accept(process, [kept, gone], [], [order(kept, subscription)])
    await store.retain(EVERYTHING)
    assert await store.events.get("default", gone.key) is None
    assert await store.events.get("default", kept.key) == kept
    await expand_all(store, process)
    assert await states(store, kept) == [State.PENDING]


async def test_of_two_processes_one_carries_an_order_out(open_postgres: OpenAnother) -> None:
    one, another = await open_postgres(), await open_postgres()
    process = await one.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(one)
    events = [make_event(id=str(n), owner=str(n), job_id=str(n)) for n in range(8)]
    await one.events.accept(process, events, [], [order(event, subscription) for event in events])
    claimed = await asyncio.gather(
        *(store.expansions.claim(NO_QUEUE) for _ in range(4) for store in (one, another))
    )
    assert sorted(one.event.id for found in claimed for one in found) == sorted(event.id for event in events)
    results = [
        await asyncio.gather(expand(one, process, found), expand(another, process, found))
        for found in claimed
    ]
    assert all(sorted(pair) == [False, True] for pair in results)
    assert [len(await states(one, event)) for event in events] == [1] * 8


async def test_ordered_deliveries_and_orders_of_one_job_do_not_miss_each_other(
    open_postgres: OpenAnother,
) -> None:
    one, another = await open_postgres(), await open_postgres()
    process = await one.leases.register("a-host", 1, lease=60)
    ordered = await subscribed(one, ordered=True)
    events = [make_event(id=str(number), job_id=f"j{number % 3}") for number in range(24)]

    async def accept(number: int, store: Store) -> None:
        event = events[number]
        if number % 2:
            await store.events.accept(process, [event], [], [order(event, ordered)])
        else:
            await store.events.accept(
                process, [event], [make_delivery(event, ordered, claimed=False, due_at=utc_now())]
            )

    await asyncio.gather(*(accept(number, store) for number, store in enumerate([one, another] * 12)))
    await expand_all(one, process)
    assert [len(await states(one, event)) for event in events] == [1] * 24


def test_a_subscription_of_a_list_is_found_by_its_id() -> None:
    subscription = make_subscription()
    assert selected([subscription.id], bitmap([0], 1)) == [subscription.id]


async def test_orders_are_carried_out_together_up_to_a_number_of_deliveries_and_bytes(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [await subscribed(store) for _ in range(3)]
    events = [make_event(id=str(n), job_id=str(n), data={"text": "x" * 1000}) for n in range(7)]
    await store.events.accept(process, events, [], [order(event, *several) for event in events])

    async def names() -> list[str]:
        orders = await store.expansions.claim(NO_QUEUE)
        assert await expand(store, process, orders)
        return [one.event.id for one in orders]

    monkeypatch.setattr(expansions, "CHUNK", 8)
    assert await names() == ["0", "1"]
    monkeypatch.setattr(expansions, "CHUNK", 1)
    assert await names() == ["2"]
    monkeypatch.setattr(expansions, "CHUNK", 500)
    monkeypatch.setattr(expansions, "BYTES", 2 * len(events[0].document) + 10)
    assert await names() == ["3", "4"]
    monkeypatch.setattr(expansions, "BYTES", 1 << 20)
    assert await names() == ["5", "6"]
    assert [len(await states(store, event)) for event in events] == [3] * 7


async def test_who_comes_late_with_more_of_the_same_orders_stores_none_of_them(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = await subscribed(store)
    events = [make_event(id=str(n), job_id=str(n)) for n in range(4)]
    await store.events.accept(process, events, [], [order(event, subscription) for event in events])
    monkeypatch.setattr(expansions, "CLAIM", -1.0)
    late = await store.expansions.claim(NO_QUEUE)
    monkeypatch.setattr(expansions, "CHUNK", 2)
    first = await store.expansions.claim(NO_QUEUE)
    assert (len(late), len(first)) == (4, 2)
    assert await expand(store, process, first)
    assert not await expand(store, process, late)
    assert [len(await states(store, event)) for event in events] == [1, 1, 0, 0]
    assert await expand_all(store, process) == ["2", "3"]
