"""The states of deliveries, held against a model of them: whatever happens in whichever order, on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from typing import ClassVar, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from sqlalchemy import Connection, delete, update

from dispatcher.domain.deliveries import Delivery, DigestJoin, OpenDelivery, Outcome, State
from dispatcher.domain.digests import MAX_MEMBERS, DigestPolicy
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.store.factory import open_store
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.schema import deliveries, digests, metadata
from dispatcher.store.sqlite.store import SqliteStore
from tests.breakers import breaker, open_breaker
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER
from tests.store.helpers import attempt, outcome
from tests.store.model import ENDINGS, Client, Due, Group, Kept, Model

A, B = "https://a.example:443", "https://b.example:443"
KINDS: Sequence[dict[str, object]] = [
    {"destination": A},
    {"destination": B, "ordered": True},
    {"destination": A, "digest": DigestPolicy(wait=0, interval=3600, max_rows=3)},
    {"destination": B, "digest": DigestPolicy(wait=0, interval=3600, max_rows=1000)},
]
BIG = 1_000_000
OLD = 3
"""The kind whose first delivery is too old: a digest's."""

PROCESSES = 3
ALL = DeliveryFilter(tenant="default")
AnyStore = SqliteStore | PostgresStore
AGES_AGO = timedelta(days=30)

How = Literal["delivered", "exhausted", "too old", "again", "later", "put back", "joins"]
T = TypeVar("T")
picks = st.integers(0, 99)
slots = st.integers(0, len(KINDS) - 1)
processes = st.integers(0, PROCESSES - 1)
hows = st.sampled_from(["delivered", "exhausted", "too old", "again", "later", "put back", "joins"])


class World:
    """Stores on one database, as several processes have them, and the loop in which they live."""

    def __init__(self, url: str, count: int) -> None:
        self._runner = asyncio.Runner()
        self.stores = [self._open(url) for _ in range(count)]

    def _open(self, url: str) -> AnyStore:
        store = open_store(url, SEALER)
        assert isinstance(store, AnyStore)
        self.run(store.open())
        return store

    def run(self, call: Coroutine[object, object, T]) -> T:
        return self._runner.run(call)

    def empty(self) -> None:
        """Delete all rows."""

        def delete_all(connection: Connection) -> None:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))

        self.run(self.stores[0].session.write(delete_all))

    def close(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self._runner.close()


class Deliveries(RuleBasedStateMachine):
    """Every rule does a thing to the store and to the model; then both have to say the same."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.run = self.world.run
        self.store = self.world.stores[0]
        self.model = Model()
        self.clients: list[Client] = []
        self.numbers: list[int] = []
        self.lost: list[tuple[int, str]] = []
        self.batches: list[tuple[list[OpenDelivery], int]] = []
        self.steps = 0
        self.sound = False

    def of(self, process: int) -> tuple[AnyStore, int]:
        return self.world.stores[process % len(self.world.stores)], self.numbers[process]

    @initialize()
    def begin(self) -> None:
        self.clients = [self.subscribe(number) for number in range(len(KINDS))]
        for process in range(PROCESSES):
            self.numbers.append(0)
            self.register(process)
        for slot in range(len(KINDS)):
            self.accept(slot, 0, ["a"], old=slot == OLD)
            self.accept(slot, 0, ["a", "b"], old=False)

    def subscribe(self, slot: int) -> Client:
        stored = make_subscription(owner="*", **KINDS[slot])
        self.run(self.store.subscriptions.add(stored))
        most = 1 if stored.digest is None else stored.digest.max_rows
        return Client(stored, {"digest": Group(most), "overflow": Group(MAX_MEMBERS)})

    def register(self, process: int) -> None:
        store = self.world.stores[process % len(self.world.stores)]
        self.numbers[process] = self.run(store.leases.register("a-host", process, 60))

    # In

    @rule(
        slot=slots,
        process=processes,
        jobs=st.lists(st.sampled_from("ab"), min_size=1, max_size=4),
        old=st.booleans(),
    )
    def accept(self, slot: int, process: int, jobs: list[str], old: bool, due: Due = "now") -> None:
        client = self.clients[slot]
        if not client.wants and client.status != "paused":
            return
        direct = client.status == "active" and not (client.stored.ordered or client.stored.digest)
        held = client.status == "paused"
        fields = {
            "claimed": direct and due == "now" and not old,
            "due_at": None if held else self.time(due),
            "since": utc_now() - AGES_AGO if old else None,
        }
        new = [make_delivery(make_event(job_id=job), client.stored, **fields) for job in jobs]
        self.put(process, new)
        for one in new:
            self.model.enter(Kept(one, client, due=None if held else due, old=old), self.numbers[process])

    accept_more = accept

    @rule(slot=slots, process=processes, jobs=st.lists(st.sampled_from("ab"), min_size=1, max_size=2))
    def accept_for_later(self, slot: int, process: int, jobs: list[str]) -> None:
        self.accept(slot, process, jobs, old=False, due="later")

    def time(self, due: Due) -> object:
        return utc_now() + {"now": timedelta(), "later": timedelta(hours=1)}[due] if due else None

    def put(self, process: int, new: list[OpenDelivery]) -> None:
        store, number = self.of(process)
        duplicates = self.run(store.events.accept(number, [one.event for one in new], new))
        assert not duplicates
        self.batches.append((new, process))

    @precondition(lambda self: self.batches)
    @rule(pick=picks, new_ids=st.booleans())
    def accept_what_is_there(self, pick: int, new_ids: bool) -> None:
        """The same call again, because its answer was lost; or the same events again, published twice."""
        new, process = choose(self.batches, pick)
        if new_ids:
            new = [
                replace(one, id=new_id("dlv"), event=replace(one.event, key=new_id("evt"), id=one.event.id))
                for one in new
            ]
        store, number = self.of(process)
        assert len(self.run(store.events.accept(number, [one.event for one in new], new))) == len(new)

    @precondition(lambda self: self.batches)
    @rule(pick=picks, slot=slots, process=processes, twice=st.booleans())
    def replay(self, pick: int, slot: int, process: int, twice: bool) -> None:
        client = self.clients[slot]
        if not client.wants:
            return
        events = [one.event for one in choose(self.batches, pick)[0]]
        new = [make_delivery(one, client.stored, claimed=False, due_at=utc_now()) for one in events]
        store, number = self.of(process)
        for _ in range(1 + twice):
            self.run(store.events.add_deliveries(number, new))
        for delivery in new:
            self.model.enter(Kept(delivery, client, due="now"), number)

    # Claims

    @rule(process=processes, each=st.sampled_from([1, 2, BIG]))
    def claim(self, process: int, each: int) -> None:
        store, number = self.of(process)
        due = {to: self.model.due(to) for to in (A, B)}
        if not all(one.client.wants for to in due for one in due[to]):
            each = BIG  # which of them would be looked at is not specified
        claimed = self.run(claim(store, number, 10_000, each))
        ids = [one.id for one in claimed]
        for to in (A, B):
            wanted = {one.new.id for one in due[to] if one.client.wants}
            mine = wanted & set(ids)
            assert len(mine) == min(each, len(wanted))
            ids = [key for key in ids if key not in mine]
            self.model.claim(number, mine)
        assert not ids, "claimed what was not due"
        for one in claimed:
            assert one.attempts == self.model.kept[one.id].attempts
            self.in_order(self.model.kept[one.id])
        self.model.settle_unwanted()

    claim_more = claim

    def in_order(self, one: Kept) -> None:
        if not one.over:
            came = one.client.came[one.job]
            earlier = came[: came.index(one.new.id)] if one.new.id in came else []
            assert all(self.model.kept[key].over for key in earlier), "claimed before an earlier one ended"

    @precondition(lambda self: self.model.ids(State.DELIVERING))
    @rule(pick=picks, crashed=st.booleans())
    def lose_the_lease(self, pick: int, crashed: bool) -> None:
        holder = self.model.kept[choose(self.model.ids(State.DELIVERING), pick)].holder
        assert holder is not None
        process = self.numbers.index(holder)
        store, number = self.of(process)
        mine = self.model.held_by(number)
        fresh = [key for key in mine if self.model.kept[key].new.lease_id]
        if crashed:
            assert self.run(store.leases.renew(number, -1, min([*fresh, new_id("dlv")])))
            assert self.run(self.store.leases.release_expired()) == len(mine)
            assert not self.run(store.leases.renew(number, 60, new_id("dlv")))
        else:
            assert self.run(store.leases.release(number)) == len(mine)
        assert self.model.free(number) == len(mine)
        self.lost += [(number, key) for key in mine]
        self.register(process)

    # Outcomes

    @precondition(lambda self: self.model.ids(State.DELIVERING))
    @rule(pick=picks, how=st.lists(hows, min_size=1, max_size=3), twice=st.booleans(), cut=st.booleans())
    def finish(self, pick: int, how: list[How], twice: bool, cut: bool) -> None:
        """Write all that a process has; the call may be made again, and a crash may cut off what follows from it."""
        number = self.model.kept[choose(self.model.ids(State.DELIVERING), pick)].holder
        assert number is not None
        store = self.world.stores[self.numbers.index(number) % len(self.world.stores)]
        cut = cut and not twice
        keys = self.model.held_by(number)
        written = [self.tried(store, key, each, cut) for key, each in zip(keys, cycle(how), strict=False)]
        for _ in range(1 + twice):
            self.run(store.queue.finish(number, written))
        self.model.finish([(one, self.due_after(one)) for one in written])

    finish_more = finish

    def tried(self, store: AnyStore, key: str, how: How, cut: bool) -> Outcome:
        one = self.model.kept[key]
        ordered = one.client.stored.ordered
        if how == "joins" and ordered:
            how = "put back"
        others = [] if how == "put back" or ordered else self.take(store, key)
        return self.outcome(one, how, ordered=ordered and not cut, leads=bool(others) and not cut)

    def due_after(self, one: Outcome) -> Due:
        if one.due_at is None:
            return None
        return "now" if one.due_at <= utc_now() else "later"

    def take(self, store: AnyStore, key: str) -> list[str]:
        others = [one.delivery_id for one in self.run(store.digests.take(key))]
        assert others == self.model.take(key)
        return others

    def outcome(self, one: Kept, how: How, *, ordered: bool = False, leads: bool = False) -> Outcome:
        ends = {"delivered": State.DELIVERED, "exhausted": State.EXHAUSTED, "too old": State.EXHAUSTED}
        state = ends.get(how, State.PENDING)
        tried = how in {"delivered", "exhausted", "again", "later"}
        due: Due = None if state.final else "now" if how in {"again", "put back"} else "later"
        return outcome(
            one.new.id,
            state,
            attempts=one.attempts + tried,
            attempt=attempt(one.attempts + 1) if tried else None,
            due_at=self.time(due),
            ordered=ordered and state.final,
            leads=leads and tried and state.final,
            joins=DigestJoin(one.client.stored.id, 100) if how == "joins" else None,
        )

    @precondition(lambda self: self.lost)
    @rule(pick=picks, how=hows)
    def finish_too_late(self, pick: int, how: How) -> None:
        number, key = choose(self.lost, pick)
        one = self.model.kept[key]
        if how == "joins" and (one.client.stored.ordered or one.state is State.PENDING):
            return  # it may as well be gathered while it waits
        written = self.outcome(one, how, ordered=one.client.stored.ordered)
        self.run(self.store.queue.finish(number, [written]))
        self.model.pass_on([key] if written.ordered else [])

    # By hand and by age

    @precondition(lambda self: self.model.kept)
    @rule(pick=picks)
    def send_again(self, pick: int) -> None:
        key = choose(sorted(self.model.kept), pick)
        one = self.model.kept[key]
        can = one.state is not State.DELIVERING and not one.behind
        assert self.run(self.store.deliveries.retry("default", key)) == can
        if can:
            self.model.send_again(key)
            self.model.leave(key)

    @rule(limit=st.integers(1, 3), state=st.sampled_from([None, State.EXHAUSTED, State.CANCELLED]))
    def send_many_again(self, limit: int, state: State | None) -> None:
        states = (State.EXHAUSTED, State.CANCELLED) if state is None else (state,)
        failed = self.model.ids(*states)[:limit]
        assert self.run(self.store.deliveries.retry_matching(replace(ALL, state=state), limit)) == len(failed)
        for key in failed:
            self.model.send_again(key)

    @precondition(lambda self: self.model.kept)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        key = choose(self.model.ids(State.PENDING) or sorted(self.model.kept), pick)
        waits = self.model.kept[key].state is State.PENDING
        assert self.run(self.store.deliveries.cancel("default", key, "not needed")) == waits
        if waits:
            self.model.cancel(key)

    @rule()
    def expire(self) -> None:
        for destination in (A, B):
            expired, more = self.run(self.store.queue.find_expired({destination: None}, 500))
            assert more == {}
            assert self.run(self.store.queue.expire(expired)) == self.model.expire(destination)

    @rule()
    def hours_pass(self) -> None:
        """All that waits for its time is due, and digests may go again."""
        self.run(self.store.session.write(pass_hours))
        self.model.hours_pass()

    @rule()
    def mend(self) -> None:
        place = 0
        while place := self.run(self.store.ordering.repair(place)):
            pass
        self.model.mend_turns()
        assert self.run(self.store.digests.repair(None)) is None
        self.model.mend_digests()

    @rule(destination=st.sampled_from([A, B]), seconds=st.integers(1, 60))
    def open_and_close_a_breaker(self, destination: str, seconds: int) -> None:
        """What is stored stays as it is; one process only may try."""
        until = utc_now() + timedelta(seconds=seconds)
        self.run(open_breaker(self.store, destination, until, "it hangs"))
        (open_now,) = self.run(self.store.breakers.destinations_to_watch())
        assert open_now.open_until is not None
        later = timedelta(seconds=60)
        tries = [
            self.run(store.breakers.begin_probes([breaker(destination, open_now.open_until)], until + later))
            for store in (self.of(process)[0] for process in range(PROCESSES))
        ]
        assert sorted(tries, key=len) == [set()] * (PROCESSES - 1) + [{destination}]
        self.run(self.store.breakers.close(destination))
        assert self.run(self.store.breakers.destinations_to_watch()) == []

    # Subscriptions

    def save(self, client: Client, status: SubscriptionStatus) -> None:
        now = self.run(self.store.subscriptions.get("default", client.stored.id))
        assert now is not None
        client.stored = replace(now, status=status, revision=now.revision + 1)
        self.run(self.store.subscriptions.save(client.stored))
        self.model.save(client, status)

    @rule(slot=slots, how=st.sampled_from(["paused", "active", "disabled", "completed", "removed"]))
    def change(self, slot: int, how: str) -> None:
        client = self.clients[slot]
        if how == "paused" and client.status == "active":
            self.save(client, "paused")
        elif how == "active":
            self.save(client, "active")
        elif how in ENDINGS:
            self.end(client, "disabled" if how == "disabled" else "completed")
        elif how == "removed":
            assert self.run(self.store.subscriptions.remove("default", client.stored.id))
            client.removed = True
            self.model.end_waiting(client, State.CANCELLED)
            self.clients[slot] = self.subscribe(slot)

    def end(self, client: Client, status: Literal["disabled", "completed"]) -> None:
        self.run(self.store.subscriptions.end(client.stored.id, status, "answered 410"))
        if client.status in {"active", "paused"}:
            client.status = status
        self.model.end_waiting(client, ENDINGS[status])

    # What has to hold

    @invariant()
    def every_delivery_is_where_the_model_says(self) -> None:
        self.sound = False
        stored = self.listed()
        kept = self.model.kept
        assert {key: (one.state, one.attempts) for key, one in stored.items()} == {
            key: (one.state, one.attempts) for key, one in kept.items()
        }
        assert {key: self.due_of(one) for key, one in stored.items()} == {
            key: one.due for key, one in kept.items()
        }
        self.sound = True

    def listed(self) -> dict[str, Delivery]:
        found = self.run(self.store.deliveries.page(ALL, Window(limit=500)))
        assert found.next is None
        return {one.id: one for one in found.items}

    def due_of(self, one: Delivery) -> Due:
        if one.due_at is None:
            return None
        return "now" if one.due_at <= utc_now() else "later"

    @invariant()
    def lists_and_counts_agree(self) -> None:
        self.steps += 1
        states = (State.PENDING, State.DELIVERING, State.EXHAUSTED)
        counted = {state: len(self.model.ids(state)) for state in states}
        assert self.run(self.store.deliveries.backlog()) == counted
        state = list(State)[self.steps % len(State)]
        which = replace(ALL, state=state)
        found = self.run(self.store.deliveries.page(which, Window(limit=500))).items
        assert [one.id for one in found] == self.model.ids(state)[::-1]

    def teardown(self) -> None:
        try:
            if self.sound:
                self.deliver_all()
        finally:
            self.world.empty()

    def deliver_all(self) -> None:
        """Nothing is left behind: when all go on, and every wait is cut short, everything ends."""
        self.mend()
        for client in self.clients:
            self.save(client, "active")
        for _ in range(3 * len(self.model.kept)):
            self.claim(0, BIG)
            while self.model.ids(State.DELIVERING):
                self.finish(0, ["delivered"], twice=False, cut=False)
            self.hours_pass()
            self.every_delivery_is_where_the_model_says()
            if not self.model.ids(State.PENDING, State.DELIVERING):
                return
        assert not self.model.kept, "something waits for nothing"


def pass_hours(connection: Connection) -> None:
    now = utc_now()
    for table in (deliveries, digests):
        connection.execute(update(table).where(table.c.due_at > now).values(due_at=now))
    connection.execute(update(digests).values(sent_at=None))


def choose(values: Sequence[T], pick: int) -> T:
    return values[pick % len(values)]


@contextmanager
def world(url: str, count: int) -> Iterator[World]:
    opened = World(url, count)
    try:
        yield opened
    finally:
        opened.close()


HOW_LONG = settings(
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("kind", "count", "examples"),
    [
        ("sqlite", 1, 8),
        pytest.param("sqlite", 1, 20, marks=pytest.mark.long),
        pytest.param("postgres", 2, 20, marks=pytest.mark.long),
    ],
)
def test_deliveries_are_always_where_a_simple_model_says(
    request: pytest.FixtureRequest, kind: str, count: int, examples: int
) -> None:
    with world(request.getfixturevalue(f"{kind}_url"), count) as stores:

        class Here(Deliveries):
            world = stores

        run_state_machine_as_test(Here, settings=settings(HOW_LONG, max_examples=examples))
