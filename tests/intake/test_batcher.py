"""Batches: what is confirmed is stored, what fails holds up no one else, and nothing is lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import pytest
from prometheus_client import Counter
from structlog.testing import capture_logs

from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake import batcher
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.submission import Busy, Limits, Result, SourceName
from dispatcher.telemetry.metrics import EVENTS, EVENTS_UNMATCHED, INTERNAL_ERRORS
from tests.factories import make_event, make_subscription
from tests.intake.doubles import Running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(batcher, "LONGEST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


def events(*ids: str) -> list[Event]:
    return [make_event(id=name) for name in ids]


def submitted(intake: IngestQueue, *ids: str, source: SourceName = "amqp") -> asyncio.Future[Result]:
    """Submit one message with these events; what becomes of them."""
    result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    intake.submit_nowait(events(*ids), source, result.set_result)
    return result


def counted(counter: Counter, *labels: str) -> float:
    return counter.labels(*labels)._value.get()  # type: ignore[no-any-return]  # the library does not annotate it


def problem(run: Running) -> str | None:
    """What readiness shows of the intake."""
    return run.batcher.problem


def unavailable(_: Sequence[Event]) -> None:
    raise StoreUnavailable("the database is being restarted")


def bad(*ids: str) -> Callable[[Sequence[Event]], None]:
    """A fault of every batch with one of these events."""

    def fault(batch: Sequence[Event]) -> None:
        if found := [event.id for event in batch if event.id in ids]:
            raise ValueError(f"{found[0]} does not fit")

    return fault


class Noticed:
    """A fault that says when it was met so many times."""

    def __init__(self, fault: Callable[[Sequence[Event]], None], times: int = 1) -> None:
        self._fault = fault
        self._left = times
        self.met = asyncio.Event()

    def __call__(self, batch: Sequence[Event]) -> None:
        self._left -= 1
        if self._left <= 0:
            self.met.set()
        self._fault(batch)


async def test_a_request_is_answered_when_its_events_and_their_deliveries_are_stored() -> None:
    async with Running(make_subscription(), make_subscription()) as run:
        assert await run.intake.submit(events("a", "b")) == {}
        assert run.store.ids == ["a", "b"]
        assert len(run.store.deliveries) == 4
        assert {d.id for d in run.deliverer.started} == run.store.deliveries.keys()


async def test_what_goes_into_a_digest_is_stored_with_its_group() -> None:
    digest = DigestPolicy(group_by=("owner",))
    async with Running(make_subscription(), make_subscription(digest=digest)) as run:
        await run.intake.submit(events("a"))
        stored = [delivery for _, delivery in run.store.deliveries.values()]
        assert [one.group is not None for one in stored] == [False, True]


async def test_nothing_is_confirmed_before_it_is_stored() -> None:
    async with Running() as run:
        run.store.open.clear()
        result = submitted(run.intake, "a")
        await run.store.entered.wait()
        await asyncio.sleep(0)
        assert not result.done()
        assert run.intake.waiting == 1
        run.store.open.set()
        assert await result == {}
        assert run.intake.waiting == 0


async def test_what_arrives_during_a_commit_makes_the_next_batch_in_order() -> None:
    async with Running() as run:
        run.store.open.clear()
        first = submitted(run.intake, "a")
        await run.store.entered.wait()
        later = [submitted(run.intake, name) for name in "bcd"]
        run.store.open.set()
        await asyncio.gather(first, *later)
        assert run.store.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_has_no_more_events_than_it_may() -> None:
    async with Running(max_events=2) as run:
        results = [submitted(run.intake, name) for name in "abcde"]
        await asyncio.gather(*results)
        assert run.store.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_batch_takes_no_more_memory_than_it_may() -> None:
    async with Running(max_bytes=2 * events("a")[0].size) as run:
        results = [submitted(run.intake, name) for name in "abcde"]
        await asyncio.gather(*results)
        assert run.store.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_batch_is_smaller_when_an_event_causes_many_deliveries() -> None:
    async with Running(*(make_subscription() for _ in range(10)), max_events=40) as run:
        for _ in range(4):
            await asyncio.gather(*(run.intake.submit([make_event()]) for _ in range(40)))
    assert len(run.store.batches[0]) == 40
    assert len(run.store.batches[-1]) < 8


async def test_the_deliverer_is_asked_before_each_batch_whether_it_is_ready() -> None:
    async with Running(max_events=2) as run:
        await asyncio.gather(*(run.intake.submit([make_event()]) for _ in range(6)))
    assert run.deliverer.asked >= 3


async def test_the_events_of_one_message_are_stored_together_however_many() -> None:
    async with Running(max_events=2) as run:
        results = [
            submitted(run.intake, "a"),
            submitted(run.intake, "b", "c", "d"),
            submitted(run.intake, "e"),
        ]
        await asyncio.gather(*results)
        assert run.store.batches == [["a", "b", "c", "d"], ["e"]]


async def test_a_message_without_events_is_confirmed() -> None:
    async with Running() as run:
        assert await submitted(run.intake) == {}


async def test_a_duplicate_is_reported_with_what_was_there_and_not_delivered_again() -> None:
    async with Running(make_subscription()) as run:
        (first,) = events("a")
        await run.intake.submit([first])
        again, new = events("a", "b")
        assert await run.intake.submit([again, new]) == {again.key: first.key}
        assert [d.event.key for d in run.deliverer.started] == [first.key, new.key]
        assert [d.event.key for d in run.deliverer.released] == [again.key]


async def test_a_duplicate_leaves_a_log_line_with_both_ids(logs: list[MutableMapping[str, Any]]) -> None:
    async with Running() as run:
        (first,) = events("a")
        await run.intake.submit([first])
        again, new = events("a", "b")
        await run.intake.submit([again, new])
    lines = [line for line in logs if line["event"] == "duplicate event"]
    assert [(line["log_level"], line["id"], line["stored_id"], line["source_id"]) for line in lines] == [
        ("debug", again.key, first.key, "a")
    ]


async def test_a_batch_is_kept_while_the_store_cannot_be_reached() -> None:
    tries = 0

    def fault(_: Sequence[Event]) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreUnavailable("the database is being restarted")

    async with Running(make_subscription()) as run:
        run.store.fault = fault
        results = [submitted(run.intake, name) for name in "ab"]
        assert await asyncio.gather(*results) == [{}, {}]
        assert run.store.ids == ["a", "b"]
        assert len(run.deliverer.started) == 2
        assert not run.deliverer.reserved


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    logs: list[MutableMapping[str, Any]],
) -> None:
    async with Running() as run:
        for name in "ab":
            run.store.fault = fault = Noticed(unavailable)
            result = submitted(run.intake, name)
            await fault.met.wait()
            run.store.fault = lambda _: None
            await result
    assert [line["event"] for line in logs] == [
        "intake stalled: the database cannot be reached",
        "intake resumed",
    ] * 2
    assert logs[0]["error"] == "the database is being restarted"


async def test_an_outage_is_a_problem_while_events_wait() -> None:
    async with Running() as run:
        run.store.fault = fault = Noticed(unavailable, times=2)
        result = submitted(run.intake, "a")
        await fault.met.wait()
        assert problem(run) == "1 events wait: the database is being restarted"
        run.store.fault = lambda _: None
        await result
        assert problem(run) is None


async def test_a_batch_that_is_long_in_the_store_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Running() as run:
        run.store.open.clear()
        result = submitted(run.intake, "a")
        await run.store.entered.wait()
        assert problem(run) is None
        monkeypatch.setattr(batcher, "SLOW_BATCH", 0.0)
        assert problem(run) == "a batch of events has been in the database for 0 s"
        run.store.open.set()
        await result
        assert problem(run) is None


async def test_the_store_may_be_out_of_reach_for_matching_too() -> None:
    async with Running(make_subscription()) as run:
        run.matcher.fault = fault = Noticed(unavailable)
        result = submitted(run.intake, "a")
        await fault.met.wait()
        assert not result.done()
        run.matcher.fault = lambda _: None
        assert await result == {}


async def test_what_arrives_during_an_outage_is_stored_after_what_was_there() -> None:
    async with Running() as run:
        run.store.fault = unavailable
        first = submitted(run.intake, "a")
        await run.store.entered.wait()
        later = submitted(run.intake, "b")
        run.store.fault = lambda _: None
        await asyncio.gather(first, later)
        assert run.store.ids == ["a", "b"]


async def test_a_commit_whose_answer_was_lost_is_delivered_once() -> None:
    async with Running(make_subscription()) as run:
        run.store.loses_answer = True
        assert await run.intake.submit(events("a")) == {}
        assert [d.id for d in run.deliverer.started] == list(run.store.deliveries)
        assert not run.deliverer.released


async def test_a_commit_whose_answer_was_lost_with_the_lease_is_left_to_others() -> None:
    async with Running(make_subscription()) as run:
        run.store.loses_answer = True

        def fault(_: Sequence[Event]) -> None:
            if run.store.events:
                run.deliverer.lease_id = 2

        run.store.fault = fault
        assert await run.intake.submit(events("a")) == {}
        assert not run.deliverer.started
        assert [d.id for d in run.deliverer.released] == list(run.store.deliveries)


async def test_a_commit_whose_answer_was_lost_is_recognised_among_others_that_cannot_be_stored() -> None:
    async with Running(make_subscription()) as run:
        run.store.loses_answer = True
        run.store.fault = bad("bad")
        stored = submitted(run.intake, "a")
        await run.store.entered.wait()
        refused, other = submitted(run.intake, "bad"), submitted(run.intake, "b")
        assert await stored == {}
        assert isinstance(await refused, InvalidInput)
        assert await other == {}
        assert {d.id for d in run.deliverer.started} == run.store.deliveries.keys()


async def test_a_message_that_cannot_be_stored_is_refused_and_holds_up_no_one_else() -> None:
    async with Running(make_subscription()) as run:
        run.store.fault = bad("d")
        results = {name: submitted(run.intake, name) for name in "abcdefg"}
        refused = await results.pop("d")
        assert isinstance(refused, InvalidInput)
        assert refused.problem == "the event cannot be stored: d does not fit"
        assert await asyncio.gather(*results.values()) == [{}] * 6
        assert run.store.ids == list("abcefg")
        assert not run.deliverer.reserved


async def test_a_message_is_refused_as_a_whole() -> None:
    async with Running() as run:
        run.store.fault = bad("bad")
        good, mixed = submitted(run.intake, "a"), submitted(run.intake, "b", "bad", "c")
        assert isinstance(await mixed, InvalidInput)
        assert await good == {}
        assert run.store.ids == ["a"]


async def test_a_request_learns_that_its_events_cannot_be_stored() -> None:
    async with Running() as run:
        run.store.fault = bad("bad")
        outcome = asyncio.create_task(run.intake.submit(events("bad")))
        await run.store.entered.wait()
        await run.intake.submit(events("a"))
        with pytest.raises(InvalidInput, match="bad does not fit"):
            await outcome


async def test_what_the_store_says_is_invalid_is_refused_at_once() -> None:
    def fault(_: Sequence[Event]) -> None:
        raise InvalidInput("job_id", "expected no such thing")

    async with Running() as run:
        run.store.fault = fault
        with pytest.raises(InvalidInput, match="job_id: expected no such thing"):
            await run.intake.submit(events("a"))


async def test_nothing_is_refused_while_the_store_refuses_everything() -> None:
    async with Running() as run:
        run.store.fault = fault = Noticed(bad("a", "b", "c"), times=20)
        results = [submitted(run.intake, name) for name in "abc"]
        await fault.met.wait()
        assert not any(result.done() for result in results)
        run.store.fault = lambda _: None
        assert await asyncio.gather(*results) == [{}, {}, {}]
        assert run.store.ids == ["a", "b", "c"]


async def test_a_fault_that_passes_refuses_no_message() -> None:
    failures = iter([True, True, False, True])

    def fault(batch: Sequence[Event]) -> None:
        if "b" in [event.id for event in batch] and next(failures, False):
            raise ValueError("the connection was closed")

    async with Running() as run:
        run.store.fault = fault
        assert await asyncio.gather(*(submitted(run.intake, name) for name in "abcd")) == [{}] * 4


async def test_a_fault_in_matching_is_found_like_one_in_storing() -> None:
    async with Running(make_subscription()) as run:
        run.matcher.fault = bad("b")
        good, refused = submitted(run.intake, "a"), submitted(run.intake, "b")
        assert isinstance(await refused, InvalidInput)
        assert await good == {}


async def test_an_outage_in_the_midst_of_a_search_keeps_the_order() -> None:
    calls: list[list[str]] = []

    def fault(batch: Sequence[Event]) -> None:
        calls.append([event.id for event in batch])
        if len(calls) == 2:
            raise StoreUnavailable("the database is being restarted")
        bad("d")(batch)

    async with Running() as run:
        run.store.fault = fault
        results = [submitted(run.intake, name) for name in "abcd"]
        await asyncio.gather(*results)
        assert calls[:3] == [["a", "b", "c", "d"], ["a", "b"], ["a", "b", "c", "d"]]
        assert run.store.ids == ["a", "b", "c"]


async def test_a_request_that_waits_too_long_is_asked_to_come_again() -> None:
    async with Running(patience=0.01) as run:
        run.store.open.clear()
        with pytest.raises(StoreUnavailable, match=r"could not be stored within 0\.01 s"):
            await run.intake.submit(events("a"))
        run.store.open.set()


async def test_a_request_without_a_waiting_caller_is_not_stored_later() -> None:
    async with Running(patience=0.01) as run:
        run.store.open.clear()
        first = submitted(run.intake, "a")
        await run.store.entered.wait()
        with pytest.raises(StoreUnavailable):
            await run.intake.submit(events("b"))
        run.store.open.set()
        await first
        await run.intake.submit(events("c"))
        assert run.store.ids == ["a", "c"]
        assert run.intake.waiting == 0


async def test_a_request_is_turned_away_when_too_many_events_wait() -> None:
    async with Running(every=Limits(2, 1 << 20)) as run:
        run.store.open.clear()
        waiting = asyncio.create_task(run.intake.submit(events("a", "b")))
        await run.store.entered.wait()
        with pytest.raises(Busy):
            await run.intake.submit(events("c"))
        run.store.open.set()
        assert await waiting == {}
        assert await run.intake.submit(events("c")) == {}


async def test_a_request_is_turned_away_when_what_waits_takes_too_much_memory() -> None:
    size = events("a")[0].size
    async with Running(every=Limits(100, 2 * size + size // 2)) as run:
        run.store.open.clear()
        waiting = asyncio.create_task(run.intake.submit(events("a", "b")))
        await run.store.entered.wait()
        with pytest.raises(Busy):
            await run.intake.submit(events("c"))
        run.store.open.set()
        assert await waiting == {}
        assert run.intake.waiting_bytes == 0
        assert await run.intake.submit(events("a", "b", "c")) != {}


async def test_a_stop_finishes_what_was_submitted() -> None:
    async with Running() as run:
        run.store.open.clear()
        results = [submitted(run.intake, name) for name in "ab"]
        await run.store.entered.wait()
        stopping = asyncio.create_task(run.stop(5))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await run.intake.submit(events("late"))
        run.store.open.set()
        await stopping
        assert [result.result() for result in results] == [{}, {}]


async def test_a_stop_ends_in_time_though_the_store_does_not_answer() -> None:
    async with Running() as run:
        run.store.open.clear()
        result = submitted(run.intake, "a")
        await run.store.entered.wait()
        await run.stop(0.01)
        assert not result.done()
        assert run.store.ids == []


async def test_events_are_counted_by_what_became_of_them() -> None:
    def counts() -> list[float]:
        results = [counted(EVENTS, "http", result) for result in ("accepted", "duplicate")]
        return [*results, counted(EVENTS, "amqp", "refused"), counted(EVENTS_UNMATCHED, "http")]

    before = counts()
    async with Running() as run:
        run.store.fault = bad("bad")
        await run.intake.submit(events("a", "b"))
        await run.intake.submit(events("a"))
        refused = submitted(run.intake, "bad")
        await run.intake.submit(events("c"))
        await refused
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [3, 1, 1, 3]


async def test_an_event_that_somebody_wants_is_not_counted_as_unmatched() -> None:
    before = counted(EVENTS_UNMATCHED, "http")
    async with Running(make_subscription()) as run:
        await run.intake.submit(events("a"))
    assert counted(EVENTS_UNMATCHED, "http") == before


async def test_one_whose_sender_cannot_be_answered_leaves_the_others_answered() -> None:
    def fails(_: Result) -> None:
        raise RuntimeError("the channel is gone")

    before = counted(INTERNAL_ERRORS, "intake")
    async with Running() as running:
        running.store.open.clear()
        first = submitted(running.intake, "one")
        running.intake.submit_nowait(events("two"), "amqp", fails)
        last = submitted(running.intake, "three")
        running.store.open.set()
        assert await first == {}
        assert await last == {}
        assert await submitted(running.intake, "four") == {}
        assert running.intake.waiting == 0
    assert counted(INTERNAL_ERRORS, "intake") == before + 1
