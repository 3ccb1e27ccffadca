"""Queues of owners: they take turns, events keep their owner's order, and who floods hears of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.events import Event
from dispatcher.intake.ingest_queue import LARGE, IngestQueue
from dispatcher.intake.submission import Limits, Submission
from tests.factories import make_event

MUCH = 1 << 30
EVERY = Limits(10_000, MUCH)


def submission(owner: str | None, *names: str, job: str | None = None) -> Submission:
    events = [make_event(id=name, owner=owner, job_id=job or f"{owner}-{name}") for name in names]
    return Submission(
        events, "http", lambda _: None, sum(event.size for event in events), (events[0].tenant, owner)
    )


def large(owner: str, size: int = LARGE, job: str | None = None) -> Submission:
    return submission(owner, *map(str, range(size)), job=job)


def queues(*submissions: Submission, each: Limits = EVERY) -> IngestQueue:
    made = IngestQueue(EVERY, each)
    for one in submissions:
        made.put(one)
    return made


def names(submissions: Sequence[Submission]) -> list[str]:
    return [event.id for one in submissions for event in one.events]


def test_owners_take_turns_in_any_order_of_arrival() -> None:
    flood = [submission("mallory", f"m{n}") for n in range(50)]
    made = queues(*flood, submission("alice", "a"), submission(None, "n"))
    taken = names(made.take(9, MUCH))
    assert taken[:3] == ["m0", "m1", "m2"]
    assert {"a", "n"} <= set(taken)
    assert [name for name in taken if name.startswith("m")] == [f"m{n}" for n in range(len(taken) - 2)]


def test_one_who_causes_many_deliveries_has_a_share_of_deliveries_and_not_of_events() -> None:
    made = queues()
    first = submission("mallory", "m")
    for _ in range(6):
        made._fan_out.learn(first.owner, 1, 300)
    for n in range(9):
        made.put(submission("mallory", f"m{n}"))
        made.put(submission("alice", f"a{n}"))
    taken = names(made.take(500, MUCH))
    assert sum(name.startswith("a") for name in taken) == 9
    assert sum(name.startswith("m") for name in taken) <= 2


def test_one_submission_goes_alone_however_much_it_causes() -> None:
    made = queues(first := submission("alice", "a"))
    for _ in range(20):
        made._fan_out.learn(first.owner, 1, 100_000)
    assert made.take(500, MUCH) == [first]


def test_what_costs_more_than_a_turn_gives_goes_after_a_few_turns() -> None:
    heavy = submission("mallory", *map(str, range(LARGE - 1)))
    made = queues(heavy, *(submission("alice", f"a{n}") for n in range(400)))
    batches = 1
    while heavy not in made.take(20, MUCH):
        batches += 1
    assert 2 <= batches <= 20


def test_a_batch_ends_with_the_bytes_that_it_may_have() -> None:
    made = queues(*(submission("alice", str(n)) for n in range(9)))
    size = submission("alice", "x").size
    assert len(made.take(500, 2 * size)) == 2


def test_events_of_one_job_stay_in_order_whatever_owner_they_name() -> None:
    first, second, third = (
        submission("alice", "1", job="j"),
        submission(None, "2", job="j"),
        submission("bob", "3", job="j"),
    )
    made = queues(submission("alice", "0"), first, second, third)
    assert [name for name in names(made.take(500, MUCH)) if name != "0"] == ["1", "2", "3"]


def test_a_large_submission_goes_apart_and_its_jobs_wait_for_it() -> None:
    storm = large("mallory", job="j")
    later, other, own = (
        submission("alice", "1", job="j"),
        submission("alice", "2"),
        submission("mallory", "3"),
    )
    made = queues(storm, own, submission("bob", "4"), later, other)
    assert names(made.take(500, MUCH)) == ["4"]
    assert made.take_large() is storm
    assert made.take_large() is None
    assert names(made.take(500, MUCH)) == ["3"]
    made.done(storm, None)
    assert names(made.take(500, MUCH)) == ["1", "2"]


def test_large_submissions_of_owners_take_turns() -> None:
    first, second, other = large("mallory"), large("mallory"), large("bob")
    made = queues(first, second, other)
    taken = []
    while (one := made.take_large()) is not None:
        taken.append(one)
        made.done(one, None)
    assert taken == [first, other, second]


def test_who_floods_is_refused_and_not_the_others() -> None:
    made = queues(submission("mallory", "1", "2"), each=Limits(3, MUCH))
    assert made.refusal(submission("mallory", "3")) is None
    refusal = made.refusal(submission("mallory", "3", "4"))
    assert refusal == "2 events of mallory wait to be stored already"
    assert made.refusal(submission("alice", *"abcdef")) is None
    by_size = queues(one := submission("mallory", "1"), each=Limits(99, 1))
    assert by_size.refusal(one) is not None


def test_all_together_have_a_bound_too() -> None:
    made = IngestQueue(Limits(2, MUCH), EVERY)
    assert made.refusal(submission("alice", "1", "2", "3")) is None
    made.put(submission("alice", "1"))
    made.put(submission("bob", "1"))
    assert made.refusal(submission("carol", "1")) == "2 events wait to be stored already"


def test_requests_without_a_waiting_caller_are_left_out() -> None:
    gone, other = submission("alice", "1"), submission("alice", "2")
    made = queues(gone, other)
    gone.withdrawn = True
    assert made.take(500, MUCH) == [other]
    made.done(other, None)
    assert (made.waiting, made.waiting_bytes) == (0, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_taken_where_nothing_waits(count: int) -> None:
    made = queues(*(large("alice") for _ in range(count)))
    assert made.take(500, MUCH) == []


_SUBMISSIONS = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from("xyz"), min_size=1, max_size=3), st.booleans()),
    max_size=25,
)


@given(_SUBMISSIONS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_everything_is_taken_once_and_each_job_and_owner_in_order(
    given_submissions: list[tuple[str, list[str], bool]], room: int, random: object
) -> None:
    made = IngestQueue(EVERY, EVERY)
    submissions: list[Submission] = []
    for number, (owner, jobs, is_large) in enumerate(given_submissions):
        padding = [make_event(owner=owner, job_id=f"p{number}")] * (LARGE if is_large else 0)
        events: list[Event] = [make_event(owner=owner, job_id=job) for job in jobs] + padding
        submissions.append(Submission(events, "amqp", lambda _: None, 1, ("default", owner)))
        made.put(submissions[-1])
    finished: list[Submission] = []
    apart: Submission | None = None
    while len(finished) < len(submissions):
        batch = made.take(room, MUCH)
        if apart is None:
            apart = made.take_large()
        done = batch if batch or apart is None else [apart]
        if done == [apart]:
            apart = None
        assert done, "nothing can go"
        for one in done:
            finished.append(one)
            made.done(one, None)
    for key in ("x", "y", "z"):
        of_job = [one for one in submissions if any(event.job_id == key for event in one.events)]
        assert [one for one in finished if one in of_job] == of_job
    assert made.waiting == 0
