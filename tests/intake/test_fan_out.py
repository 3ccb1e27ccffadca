"""Deliveries of events with many subscribers: the first thousand at once, orders for the rest, none missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.events import Event
from dispatcher.domain.expansions import CHUNK, FAN_OUT, Expansion, selected
from dispatcher.domain.subscriptions import Subscription, event_match_keys
from dispatcher.intake.job_access import Permit
from dispatcher.intake.matcher import Matcher
from dispatcher.telemetry import time_slices
from tests.factories import make_event, make_subscription

RUNNING = ({"exact": {"event": "RUNNING"}},)


class Subscribers:
    """A store that holds these subscriptions; `granted` are the permissions that there are."""

    def __init__(self, subscriptions: Sequence[Subscription], granted: Iterable[Permit] = ()) -> None:
        self._subscriptions = subscriptions
        self._granted = set(granted)
        self.largest = 0

    async def find_matching(self, match_keys: Iterable[str]) -> list[Subscription]:
        keys = set(match_keys)
        return [one for one in self._subscriptions if one.match_key in keys]

    async def find_matching_pages(
        self, match_keys: Iterable[str], size: int
    ) -> AsyncIterator[list[Subscription]]:
        found = await self.find_matching(match_keys)
        for start in range(0, len(found), size):
            self.largest = max(self.largest, len(found[start : start + size]))
            yield found[start : start + size]

    @property
    def subscriptions(self) -> Subscribers:
        """Return itself."""
        return self

    @property
    def jobs(self) -> Subscribers:
        """Return itself: it knows the permits too."""
        return self

    async def granted(self, wanted: Iterable[Permit]) -> set[Permit]:
        return self._granted & set(wanted)

    async def in_use(self, subscription_ids: Collection[str]) -> list[Subscription]:
        return [one for one in self._subscriptions if one.id in subscription_ids]


def many(count: int, **fields: object) -> list[Subscription]:
    one = make_subscription(**fields)
    return [make_subscription(**fields) for _ in range(count - 1)] + [one]


async def caused(store: Subscribers, messages: Sequence[Sequence[Event]]) -> tuple[list[int], list[int]]:
    """How many deliveries each event causes at once, and how many later; no subscriber twice."""
    matches, orders = await Matcher(store).select(messages)
    now: list[int] = []
    later: list[int] = []
    for event in (event for message in messages for event in message):
        direct = [one.id for its, one in matches if its is event]
        ordered = [
            key
            for one in orders
            if one.event is event
            for key in selected(one.candidates.subscription_ids, one.wanted)
        ]
        keys = event_match_keys(event)
        wanted = {one.id for one in await store.subscriptions.find_matching(keys) if one.wants(event)}
        assert sorted([*direct, *ordered]) == sorted(wanted)
        now.append(len(direct))
        later.append(len(ordered))
    return now, later


@pytest.mark.parametrize(
    ("count", "now", "later"), [(0, 0, 0), (1, 1, 0), (FAN_OUT, FAN_OUT, 0), (FAN_OUT + 1, 0, FAN_OUT + 1)]
)
async def test_an_event_that_more_than_a_thousand_want_becomes_orders(
    count: int, now: int, later: int
) -> None:
    store = Subscribers(many(count) if count else [])
    assert await caused(store, [[make_event()]]) == ([now], [later])
    assert store.largest <= CHUNK


async def test_a_message_that_causes_too_much_in_all_becomes_orders_from_there_on() -> None:
    store = Subscribers(many(400))
    events = [make_event(id=str(number)) for number in range(5)]
    assert await caused(store, [events]) == ([400, 400, 0, 0, 0], [0, 0, 400, 400, 400])


async def test_an_owner_who_causes_too_much_takes_nothing_from_the_others() -> None:
    store = Subscribers([*many(600), *many(2, owner="bob", subscriber="bob")])
    messages = [[make_event(id=str(number))] for number in range(12)] + [[make_event(owner="bob")]]
    now, later = await caused(store, messages)
    assert (now[-1], later[-1]) == (2, 0)
    assert sum(now[:-1]) <= 5 * FAN_OUT
    assert sum(now[:-1]) + sum(later) == 12 * 600


async def test_filters_names_and_keys_select_on_every_page() -> None:
    store = Subscribers(
        [
            *many(700, events=("RUNNING", "FINISHED")),
            *many(700, filters=RUNNING),
            *many(700, owner="*", events=("FAILED",)),
            *many(300, job_id="job-1"),
        ]
    )
    names = ("RUNNING", "FINISHED", "FAILED")
    now, later = await caused(store, [[make_event(event=name, id=name)] for name in names])
    assert [one + other for one, other in zip(now, later, strict=True)] == [1700, 1000, 1000]


async def test_a_subscriber_who_may_not_see_a_job_is_in_no_order_and_gets_none_of_its_deliveries() -> None:
    foreign = many(FAN_OUT + 1, owner="bob", subscriber="bob", job_id="job-1")
    event = make_event()
    assert await Matcher(Subscribers(foreign)).select([[event]]) == ([], [])
    permits = [(event.tenant, event.job_id, "alice", "bob")]
    matches, orders = await Matcher(Subscribers(foreign, permits)).select([[event]])
    assert len(matches) + sum(one.count for one in orders) == FAN_OUT + 1
    order = Expansion(1, b"", event, [one.id for one in foreign[:3]])
    assert len(await Matcher(Subscribers(foreign, permits)).expand([order])) == 3
    assert await Matcher(Subscribers(foreign)).expand([order]) == []


async def test_matching_stops_early_when_no_caller_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_slices, "SLICE", 0.0)  # so that others have their turn after each event
    asked = 0

    def unwanted() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    events = [make_event(id=str(number)) for number in range(100)]
    selected = await Matcher(Subscribers(many(3))).select([events], unwanted)
    assert (selected, asked) == (([], []), 5)


@given(
    st.lists(st.integers(0, 700), max_size=4),
    st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=4),
)
async def test_no_subscriber_is_missed_or_notified_twice(sizes: list[int], messages: list[list[str]]) -> None:
    everybody = [
        make_subscription(owner=owner, subscriber=owner, events=("FINISHED",) if number % 3 else ("*",))
        for owner, size in zip("abcd", sizes, strict=False)
        for number in range(size)
    ]
    await caused(Subscribers(everybody), [[make_event(owner=owner) for owner in one] for one in messages])
