"""The connection is cut after each message of the protocol: nothing but StoreUnavailable, nothing lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.errors import Conflict, StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import NO_QUEUE
from dispatcher.domain.retention import DEFAULT
from dispatcher.store.filters import DeliveryFilter, EventFilter, JobFilter
from dispatcher.store.postgres.store import PostgresStore
from tests.breakers import breaker, open_breaker
from tests.claiming import claim as claim_due
from tests.claiming import next_due
from tests.factories import make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER
from tests.store.helpers import (
    ALL,
    PAST,
    accept,
    attempt,
    outcome,
    state_of,
    stored,
    subscribed,
)
from tests.store.proxy import Proxy
from tests.store.test_expansions import expand_all, order

A = "https://example.org:443"
MANY = 20_000
Call = Callable[[], Awaitable[object]]
Check = Callable[[], Awaitable[None]]


@dataclass
class World:
    """A store behind a proxy, a process of it, and the same database without the proxy."""

    proxy: Proxy
    store: PostgresStore
    direct: asyncpg.Connection[asyncpg.Record]
    process: int

    async def reconnect(self) -> None:
        """Let the next call make its connections first."""
        await self.store.session._pool.expire_connections()
        await self.store.session._engine.dispose()

    async def count(self, table: str, condition: str, *values: object) -> int:
        counted = f"select count(*) from {table} where {condition}"  # noqa: S608 - the tests' own words
        return int(await self.direct.fetchval(counted, *values))


@pytest.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    """Yield a store whose connections can be cut."""
    direct = await asyncpg.connect(postgres_url)
    async with Proxy(postgres_url) as proxy:
        store = PostgresStore(proxy.url, SEALER)
        await store.open()
        yield World(proxy, store, direct, await store.leases.register("a-host", 1, lease=3600))
        proxy.cut_after = None
        await store.close()
    await direct.close()


async def _accepting(world: World, new: list[OpenDelivery]) -> tuple[Call, Check]:
    events: dict[str, Event] = {one.event.key: one.event for one in new}

    async def check() -> None:
        for event in events.values():
            assert await world.count("events", "key = $1", event.key[4:]) == 1
            assert await world.count("identities", "event_key = $1", event.key[4:]) == 1
        for one in new:
            assert await world.count("deliveries", "id = $1", one.id[4:]) == 1

    return lambda: world.store.events.accept(world.process, list(events.values()), new), check


async def accept_plain(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    return await _accepting(world, [make_delivery(make_event(), subscription) for _ in range(3)])


async def accept_ordered(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, ordered=True)
    new = [
        make_delivery(make_event(job_id="same"), subscription, claimed=False, due_at=utc_now())
        for _ in range(3)
    ]
    return await _accepting(world, new)


async def accept_gathered(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, digest=DigestPolicy(wait=0, interval=3600))
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=utc_now()) for _ in range(3)]
    return await _accepting(world, new)


async def accept_held(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, status="paused")
    return await _accepting(world, [make_delivery(make_event(), subscription, claimed=False)])


async def accept_duplicates(world: World) -> tuple[Call, Check]:
    known = make_event()
    await world.store.events.accept(world.process, [known], [])
    again, new = make_event(id=known.id), make_event()

    async def check() -> None:
        assert await world.count("events", "key = any($1)", [known.key[4:], again.key[4:], new.key[4:]]) == 2

    return lambda: world.store.events.accept(world.process, [again, new], []), check


async def add_deliveries(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, ordered=True)
    event = make_event()
    await world.store.events.accept(world.process, [event], [])
    new = [make_delivery(event, subscription, claimed=False, due_at=utc_now())]

    async def check() -> None:
        assert await world.count("deliveries", "id = $1", new[0].id[4:]) == 1

    return lambda: world.store.events.add_deliveries(world.process, new), check


async def claim(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    due = await stored(world.store, world.process, subscription, 3, claimed=False, due_at=PAST)
    claimed: list[str] = []

    async def call() -> None:
        claimed.extend(one.id for one in await claim_due(world.store, world.process, 10))

    async def check() -> None:
        assert sorted(claimed) == sorted(one.id for one in due)
        await world.store.queue.finish(world.process, [outcome(one.id, State.DELIVERED) for one in due])

    return call, check


async def finish(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    new = await stored(world.store, world.process, subscription, 3)
    outcomes = [
        outcome(one.id, State.DELIVERED, attempt=attempt(), attempt_state="noted", ordered=True)
        for one in new
    ]

    async def check() -> None:
        for one in new:
            assert await state_of(world.store, one) is State.DELIVERED
            assert len(await world.store.deliveries.attempts(one.id)) == 1

    return lambda: world.store.queue.finish(world.process, outcomes), check


async def finish_first_of_its_job(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, ordered=True)
    first, second = [
        make_delivery(make_event(job_id="same"), subscription, claimed=False, due_at=PAST) for _ in range(2)
    ]
    await accept(world.store, world.process, first, second)
    assert [one.id for one in await claim_due(world.store, world.process, 10)] == [first.id]
    outcomes = [outcome(first.id, State.DELIVERED, ordered=True)]
    written = False

    async def call() -> None:
        nonlocal written
        if not written:
            await world.store.queue.record_outcomes(world.process, outcomes)
            written = True
        await world.store.queue.run_side_effects(outcomes)

    async def check() -> None:
        assert [one.id for one in await claim_due(world.store, world.process, 10)] == [second.id]
        await world.store.queue.finish(world.process, [outcome(second.id, State.DELIVERED, ordered=True)])

    return call, check


async def take_digest(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store, digest=DigestPolicy(wait=0, interval=3600))
    leader, member = [make_delivery(make_event(), subscription, claimed=False, due_at=PAST) for _ in range(2)]
    await accept(world.store, world.process, leader, member)
    assert [one.id for one in await claim_due(world.store, world.process, 10)] == [leader.id]
    taken: list[list[str]] = []

    async def call() -> None:
        taken.append([one.delivery_id for one in await world.store.digests.take(leader.id)])

    async def check() -> None:
        assert taken == [[member.id]]
        await world.store.queue.finish(world.process, [outcome(leader.id, State.DELIVERED, leads=True)])
        assert await state_of(world.store, member) is State.DELIVERED

    return call, check


async def heartbeat(world: World) -> tuple[Call, Check]:
    kept: list[bool] = []

    async def call() -> None:
        kept.append(await world.store.leases.renew(world.process, 3600, make_delivery_id()))

    async def check() -> None:
        assert kept == [True]

    return call, check


async def register_and_leave(world: World) -> tuple[Call, Check]:
    left = 0

    async def call() -> None:
        process = await world.store.leases.register("another-host", 2, lease=3600)
        await world.store.leases.release(process)

    async def check() -> None:
        # One whose answer was lost stays until its lease ends.
        assert await world.count("processes", "host = 'another-host'") <= left + 1
        await world.direct.execute("delete from processes where host = 'another-host'")

    return call, check


async def take_over(world: World) -> tuple[Call, Check]:
    dead = await world.store.leases.register("dead", 3, lease=-1)
    subscription = await subscribed(world.store)
    [left] = await stored(world.store, world.process, subscription)
    await world.direct.execute("update deliveries set claimed_by = $1 where id = $2", dead, left.id[4:])

    async def check() -> None:
        # What the transaction that was cut still has locked is left to the next round.
        async with asyncio.timeout(10):
            while await world.count("processes", "id = $1", dead):
                await world.store.leases.release_expired()
        assert await state_of(world.store, left) is State.PENDING
        assert [one.id for one in await claim_due(world.store, world.process, 10)] == [left.id]
        await world.store.queue.finish(world.process, [outcome(left.id, State.DELIVERED)])

    return world.store.leases.release_expired, check


async def add_subscription(world: World) -> tuple[Call, Check]:
    new = make_subscription(owner="*")

    async def call() -> None:
        try:
            await world.store.subscriptions.add(new)
        except IntegrityError:  # an earlier call stored it, whose answer was lost
            assert await world.store.subscriptions.get("default", new.id) == new

    async def check() -> None:
        assert await world.store.subscriptions.get("default", new.id) == new
        await world.store.subscriptions.remove("default", new.id)

    return call, check


async def save_subscription(world: World) -> tuple[Call, Check]:
    known = await subscribed(world.store, status="paused")
    held = make_delivery(make_event(), known, claimed=False)
    await accept(world.store, world.process, held)
    changed = replace(known, status="active", revision=2)

    async def call() -> None:
        try:
            await world.store.subscriptions.save(changed)
        except Conflict:  # an earlier call saved it
            assert await world.store.subscriptions.get("default", known.id) == changed

    async def check() -> None:
        assert await world.store.subscriptions.get("default", known.id) == changed
        assert [one.id for one in await claim_due(world.store, world.process, 10)] == [held.id]
        await world.store.queue.finish(world.process, [outcome(held.id, State.DELIVERED)])
        await world.store.subscriptions.remove("default", known.id)

    return call, check


async def remove_subscription(world: World) -> tuple[Call, Check]:
    known = await subscribed(world.store)
    [waiting] = await stored(world.store, world.process, known, claimed=False, due_at=PAST)

    async def check() -> None:
        assert await world.store.subscriptions.get("default", known.id) is None
        assert await state_of(world.store, waiting) is State.CANCELLED

    return lambda: world.store.subscriptions.remove("default", known.id), check


async def end_subscription(world: World) -> tuple[Call, Check]:
    known = await subscribed(world.store)
    [waiting] = await stored(world.store, world.process, known, claimed=False, due_at=PAST)

    async def check() -> None:
        assert await state_of(world.store, waiting) is State.CANCELLED

    return lambda: world.store.subscriptions.end(known.id, "disabled", "gone"), check


async def send_again(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    [ended] = await stored(world.store, world.process, subscription)
    await world.store.queue.finish(world.process, [outcome(ended.id, State.EXHAUSTED, attempt=attempt())])

    async def check() -> None:
        assert await state_of(world.store, ended) is State.PENDING
        assert await world.store.deliveries.cancel("default", ended.id, "done")

    return lambda: world.store.deliveries.retry("default", ended.id), check


async def destinations(world: World) -> tuple[Call, Check]:
    until = utc_now() - timedelta(seconds=1)

    async def call() -> None:
        await open_breaker(world.store, A, until, "down")
        await world.store.breakers.destinations_to_watch()
        await world.store.breakers.begin_probes([breaker(A, until)], utc_now())
        await world.store.breakers.close(A)
        await world.store.rate_limits.take_slots(A, RateLimit(per_second=1000, burst=10), 1)

    async def check() -> None:
        assert await world.store.breakers.destinations_to_watch() == []

    return call, check


async def questions(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    found: list[object] = []

    async def call() -> None:
        await world.store.check_write(world.process)
        found[:] = await world.store.subscriptions.find_matching([subscription.match_key])
        await world.store.jobs.granted([("default", "job-1", "alice", "bob")])
        await next_due(world.store)
        await world.store.events.page(EventFilter(tenant="default"), ALL)
        await world.store.jobs.page(JobFilter(tenant="default"), ALL)
        await world.store.deliveries.page(DeliveryFilter(tenant="default"), ALL)
        await world.store.deliveries.backlog()
        await world.store.leases.is_oldest(world.process)

    async def check() -> None:
        assert found == [subscription]
        await world.store.subscriptions.remove("default", subscription.id)

    return call, check


async def accept_order(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    event = make_event()
    orders = [order(event, subscription)]

    async def check() -> None:
        assert await world.store.expansions.count(event.key, None) == 1
        assert len(await expand_all(world.store, world.process)) == 1

    return lambda: world.store.events.accept(world.process, [event], [], orders), check


async def carry_out_order(world: World) -> tuple[Call, Check]:
    subscription = await subscribed(world.store)
    event = make_event()
    await world.store.events.accept(world.process, [event], [], [order(event, subscription)])
    claimed = await world.store.expansions.claim(NO_QUEUE)
    new = [make_delivery(event, subscription, claimed=False, due_at=utc_now())]

    async def check() -> None:
        assert await world.store.expansions.count(event.key, None) == 0
        assert await world.count("deliveries", "event_key = $1", event.key[4:]) == 1

    return lambda: world.store.expansions.expand(world.process, claimed, new), check


async def maintenance(world: World) -> tuple[Call, Check]:
    ahead: list[int] = []

    async def call() -> None:
        ahead.extend((await world.store.retain(DEFAULT)).ahead.values())
        await world.store.ordering.repair(0)
        await world.store.digests.repair(None)
        await world.store.purge_orphans()

    async def check() -> None:
        assert all(ahead)

    return call, check


def make_delivery_id() -> str:
    return make_delivery(make_event(), make_subscription()).id


EVERY = [
    accept_plain,
    accept_ordered,
    accept_gathered,
    accept_held,
    accept_duplicates,
    add_deliveries,
    claim,
    finish,
    finish_first_of_its_job,
    take_digest,
    heartbeat,
    register_and_leave,
    take_over,
    add_subscription,
    save_subscription,
    remove_subscription,
    end_subscription,
    send_again,
    destinations,
    accept_order,
    carry_out_order,
]
Prepare = Callable[[World], Awaitable[tuple[Call, Check]]]


async def cut_each(world: World, prepare: Prepare, *, first: int, step: int, warm: bool) -> int:
    """Cut after message `first`, `first + step` and so on until the call needs no more; how many cuts that were.

    Every other time the connection is reset instead of closed in good order.
    `warm`: the connections are there already and know the statements.
    """
    for cuts, number in enumerate(range(first, MANY, step)):
        if warm:
            call, check = await prepare(world)
            await call()
            await check()
        call, check = await prepare(world)
        if not warm:
            await world.reconnect()
        world.proxy.cut_after = number
        world.proxy.abrupt = number % 2 == 0
        try:
            await call()
        except StoreUnavailable:
            world.proxy.cut_after = None
            await call()
        if world.proxy.cut_after is not None:
            world.proxy.cut_after = None
            await check()
            return cuts
        await check()
    raise AssertionError("it needs more messages than anything should")


@pytest.mark.parametrize("prepare", [accept_ordered, claim, finish])
async def test_a_cut_now_and_then_within_a_call_loses_and_doubles_nothing(
    world: World, prepare: Prepare
) -> None:
    assert await cut_each(world, prepare, first=3, step=17, warm=False) > 1


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("prepare", EVERY)
async def test_a_cut_after_each_message_loses_and_doubles_nothing(world: World, prepare: Prepare) -> None:
    assert await cut_each(world, prepare, first=1, step=1, warm=True) > 3


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("prepare", [accept_plain, add_subscription])
async def test_a_cut_while_a_connection_is_made_loses_and_doubles_nothing(
    world: World, prepare: Prepare
) -> None:
    assert await cut_each(world, prepare, first=1, step=1, warm=False) > 20


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("prepare", "step"), [(questions, 7), (maintenance, 61)])
async def test_a_cut_within_many_statements_ends_only_the_one_under_way(
    world: World, prepare: Prepare, step: int
) -> None:
    assert await cut_each(world, prepare, first=5, step=step, warm=False) > 3
