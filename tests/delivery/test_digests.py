"""Digests: what comes too soon goes out together."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.domain.deliveries import State
from dispatcher.domain.digests import DigestPolicy, Gathered, Group
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, ScriptedSender, Sent, running, settled
from tests.delivery.test_engine import QUICK, new_event
from tests.factories import NOW, make_subscription
from tests.store.helpers import later

OFTEN = DigestPolicy(wait=0, interval=1)


class GatheringKind(ScriptedKind):
    """Notes what it is sent together."""

    def __init__(self, *, overflows: bool = False) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.overflows = overflows

    def sender(self, subscription: Subscription) -> ScriptedSender:
        return GatheringSender(self, subscription)


class GatheringSender(ScriptedSender):
    """The sender of one subscription."""

    def __init__(self, kind: GatheringKind, subscription: Subscription) -> None:
        super().__init__(kind, subscription)
        self.overflows = kind.overflows
        self._batches = kind.batches

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None
    ) -> AttemptResult:
        self._batches.append([event.event])
        return await super().send(event, delivery_id, number, attempt_state)

    async def send_digest(self, gathered: Sequence[Gathered], number: int) -> AttemptResult:
        self._batches.append([one.event.event for one in gathered])
        first = gathered[0]
        return await super().send(first.event, first.delivery_id, number, first.memo)


async def test_a_digest_takes_what_came_before_it_and_the_next_one_the_rest(store: Store) -> None:
    kind = GatheringKind()
    await store.subscriptions.add(make_subscription(digest=OFTEN))
    async with running(store, kind) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(3)))
        await settled(store, {State.DELIVERED: 3})
        await process.accept(*(new_event(event=f"e{number}") for number in range(3, 6)))
        await settled(store, {State.DELIVERED: 6})
    assert kind.batches == [["e0", "e1", "e2"], ["e3", "e4", "e5"]]


async def test_a_digest_that_fails_is_tried_again_with_the_same_events(store: Store) -> None:
    kind = GatheringKind()

    async def first_time_bad(sent: Sent) -> AttemptResult:
        return BAD if sent.number == 1 else GOOD

    kind.answer = first_time_bad
    await store.subscriptions.add(make_subscription(digest=OFTEN, retry=QUICK))
    async with running(store, kind) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(3)))
        found = await settled(store, {State.DELIVERED: 3})
    assert kind.batches == [["e0", "e1", "e2"]] * 2
    assert [delivery.attempts for delivery in found] == [2, 2, 2]


async def test_what_a_recipient_cannot_take_now_becomes_one_message_later(store: Store) -> None:
    kind = GatheringKind(overflows=True)

    async def full_at_first(sent: Sent) -> AttemptResult:
        if len(kind.batches) <= 3:
            return AttemptResult(request_line="x", error="too many", retry_at_delay=1.0, coalesce=True)
        return GOOD

    kind.answer = full_at_first
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(3)))
        found = await settled(store, {State.DELIVERED: 3})
    assert sorted(kind.batches[-1]) == ["e0", "e1", "e2"]
    assert len(kind.batches) == 4
    assert [delivery.attempts for delivery in found] == [1, 1, 1]


def test_after_a_quiet_time_it_waits_for_wait_and_else_for_the_interval() -> None:
    policy = DigestPolicy(wait=10, interval=300)
    assert _due(Group(), policy) == later(10)
    assert _due(Group(sent_at=later(-400)), policy) == later(10)
    assert _due(Group(sent_at=later(-100)), policy) == later(200)


def _due(group: Group, policy: DigestPolicy) -> object:
    group.place("dlv", 1, policy, 10, NOW)
    return group.due_at


def test_values_of_events_make_the_groups() -> None:
    policy = DigestPolicy(group_by=("owner", "data.array", "unheard"))
    assert policy.values(new_event(data={"array": "a-7"})) == ("alice", "a-7", "")
