"""Deliveries that wait for their turn at a portal's job ask the store seldom, and go soon after the turn is free."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Literal

import pytest

from dispatcher.compat.tethys import turns as tethys_turns
from dispatcher.compat.tethys.turns import APART, LAST, LONGEST_WAIT, Turns

HANGS = 15.0
JOB, OTHER = b"job", b"other"


class Portal:
    """The store's side of the turns: one delivery of a job at a time. Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.busy: dict[bytes, str] = {}

    async def begin(
        self, key: bytes, event_key: str, delivery_id: str, seconds: float
    ) -> Literal["go", "wait", "superseded"]:
        self.asked += 1
        if event_key == "old":
            return "superseded"
        if self.busy.setdefault(key, delivery_id) != delivery_id:
            return "wait"
        return "go"

    async def finish(
        self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool, interval: float = 0.0
    ) -> None:
        self.busy.pop(key)


class Clock:
    """A time that passes only when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tethys_turns, "monotonic", clock)
    return clock


async def come_back(
    turns: Turns, clock: Clock, names: list[str], until: Callable[[], bool]
) -> tuple[list[str], int]:
    """Let each come when it was said to, until something holds: who went, and how often one came."""
    coming, went, times = [(clock.now, name) for name in names], [], 0
    heapq.heapify(coming)
    while coming:
        clock.now = max(clock.now, coming[0][0])
        if until():
            break
        name, times = heapq.heappop(coming)[1], times + 1
        turn = await turns.begin(JOB, "evt", name, 30)
        if turn == "go":
            went.append(name)
            await turns.finish(JOB, "evt", name, delivered=True)
        else:
            assert isinstance(turn, float)
            heapq.heappush(coming, (clock.now + turn, name))
    return went, times


@pytest.mark.parametrize("waiting", [1, 50, 1000])
@pytest.mark.parametrize("here", [True, False], ids=["a request of this process", "one of another process"])
async def test_however_many_wait_for_one_that_hangs_the_store_is_asked_a_few_times(
    clock: Clock, waiting: int, here: bool
) -> None:
    portal = Portal()
    turns = Turns(portal)
    if here:
        assert await turns.begin(JOB, "evt", "hangs", 30) == "go"
    else:
        portal.busy[JOB] = "hangs"
    names = [f"waits-{number}" for number in range(waiting)]
    ends = clock.now + HANGS
    went, times = await come_back(turns, clock, names, lambda: clock.now > ends)
    assert went == []
    assert portal.asked <= 8
    # Each of a few comes at growing intervals; of many one after the other.
    assert times <= waiting + min(8 * waiting, HANGS / APART + waiting * HANGS / LAST)


@pytest.mark.parametrize("here", [True, False], ids=["a request of this process", "one of another process"])
async def test_when_the_turn_is_free_those_who_wait_go_one_soon_after_the_other(
    clock: Clock, here: bool
) -> None:
    portal = Portal()
    turns = Turns(portal)
    portal.busy[JOB] = "hangs"
    names = [f"waits-{number}" for number in range(20)]
    ends = clock.now + HANGS

    def free() -> bool:
        if clock.now > ends:
            portal.busy.pop(JOB, None)
        return False

    if here:
        portal.busy.clear()
        assert await turns.begin(JOB, "evt", "hangs", 30) == "go"
    went, _ = await come_back(turns, clock, names, free)
    assert sorted(went) == sorted(names)
    assert clock.now - ends <= LONGEST_WAIT + 20 * APART


async def test_what_comes_after_the_end_of_a_request_goes_at_once(clock: Clock) -> None:
    turns = Turns(Portal())
    assert await turns.begin(JOB, "evt", "first", 30) == "go"
    wait = await turns.begin(JOB, "evt", "second", 30)
    assert isinstance(wait, float)
    await turns.finish(JOB, "evt", "first", delivered=False)
    assert await turns.begin(JOB, "evt", "third", 30) == "go"


async def test_another_job_does_not_wait(clock: Clock) -> None:
    turns = Turns(Portal())
    assert await turns.begin(JOB, "evt", "first", 30) == "go"
    assert await turns.begin(OTHER, "evt", "second", 30) == "go"


async def test_those_who_come_at_the_same_moment_ask_once(clock: Clock) -> None:
    portal = Portal()
    turns = Turns(portal)
    found = await asyncio.gather(*(turns.begin(JOB, "evt", f"one-{number}", 30) for number in range(100)))
    assert found.count("go") == 1
    assert portal.asked == 1


async def test_a_superseded_one_says_nothing_of_the_others(clock: Clock) -> None:
    portal = Portal()
    turns = Turns(portal)
    portal.busy[JOB] = "elsewhere"
    assert await turns.begin(JOB, "old", "first", 30) == "superseded"
    for name in ("second", "third"):
        assert isinstance(await turns.begin(JOB, "evt", name, 30), float)
    assert portal.asked == 2


INTERVAL = 10.0


async def test_a_job_is_left_alone_after_a_request(clock: Clock) -> None:
    turns = Turns(Portal(), INTERVAL)
    assert await turns.begin(JOB, "evt-1", "first", 30) == "go"
    clock.now += 2
    await turns.finish(JOB, "evt-1", "first", delivered=True)
    assert await turns.begin(JOB, "evt-2", "second", 30) == pytest.approx(INTERVAL)
    clock.now += 4
    assert await turns.begin(JOB, "evt-2", "second", 30) == pytest.approx(INTERVAL - 4)
    clock.now += INTERVAL - 4
    assert await turns.begin(JOB, "evt-2", "second", 30) == "go"


async def test_what_waits_anyway_waits_until_it_is_sure(clock: Clock) -> None:
    turns = Turns(Portal(), INTERVAL)
    assert await turns.begin(JOB, "evt-1", "first", 30, 8) == "go"
    await turns.finish(JOB, "evt-1", "first", delivered=True)
    assert await turns.begin(JOB, "evt-2", "second", 30, 13) == pytest.approx(13)
    assert await turns.begin(JOB, "evt-3", "third", 30, 8) == pytest.approx(INTERVAL)


async def test_an_earlier_status_gives_way_to_the_latest_that_waits(clock: Clock) -> None:
    turns = Turns(Portal(), INTERVAL)
    assert await turns.begin(JOB, "evt-1", "first", 30) == "go"
    await turns.finish(JOB, "evt-1", "first", delivered=True)
    for name in ("evt-2", "evt-3"):
        assert await turns.begin(JOB, name, name, 30, 12) == pytest.approx(12)
    clock.now += 12
    earlier = await turns.begin(JOB, "evt-2", "evt-2", 30)
    assert isinstance(earlier, float)
    assert 0 < earlier < 1
    assert await turns.begin(JOB, "evt-3", "evt-3", 30) == "go"


async def test_an_earlier_status_goes_when_the_latest_does_not_come(clock: Clock) -> None:
    turns = Turns(Portal(), INTERVAL)
    assert await turns.begin(JOB, "evt-1", "first", 30) == "go"
    await turns.finish(JOB, "evt-1", "first", delivered=True)
    for name in ("evt-2", "evt-3"):
        await turns.begin(JOB, name, name, 30)
    clock.now += INTERVAL + tethys_turns.GRACE
    assert await turns.begin(JOB, "evt-2", "evt-2", 30) == "go"
