from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from dispatcher.client.models import DeliveryDetail
from dispatcher.demo.check import problems, wrongly_seen
from dispatcher.demo.plans import PLANS
from dispatcher.demo.receivers import Receiver, open_inboxes
from dispatcher.demo.story import planned_events
from dispatcher.demo.summary import Counts
from dispatcher.domain.deliveries import State
from tests.demo.seen import REFUSED, attempt, delivery, job, picture

STORY = planned_events()
PUBLISHED = {f"evt_{event.id}": event for event in STORY}
ENDED = next(plan for plan in PLANS if plan.name == "busy")
WANTED = [event for event in STORY if ENDED.wants(event)]
ARRIVED = [delivery(event, "sub_1", [attempt(1, 0.1)]) for event in WANTED]
COUNTS = Counts(Counter(accepted=len(STORY), duplicate=1), Counter(delivered=len(WANTED)))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver that got every delivery of ARRIVED."""
    async with open_inboxes([ENDED], Receiver) as (receiver,):
        receiver.received = {one.id for one in ARRIVED}
        yield receiver


def _problems(
    receiver: Receiver, deliveries: Sequence[DeliveryDetail] = ARRIVED, counts: Counts = COUNTS
) -> list[str]:
    return list(problems(PUBLISHED, picture(STORY, deliveries), counts, {"sub_1": receiver}))


def test_there_is_no_problem_when_everything_arrived(receiver: Receiver) -> None:
    assert _problems(receiver) == []


def test_an_event_that_is_not_listed_is_missing() -> None:
    counts = Counts(Counter(accepted=len(STORY), duplicate=1), Counter())
    assert list(problems(PUBLISHED, picture(STORY[1:], []), counts, {})) == [
        f"the event evt_{STORY[0].id} (PENDING {STORY[0].job_id}) was accepted, and is not listed"
    ]


def test_a_delivery_that_was_never_made_is_missing(receiver: Receiver) -> None:
    assert f"busy has no delivery of {WANTED[0].event} {WANTED[0].job_id}" in _problems(receiver, ARRIVED[1:])


def test_a_delivery_of_an_event_that_was_not_wanted_is_too_much(receiver: Receiver) -> None:
    assert STORY[0] not in WANTED
    found = _problems(receiver, [*ARRIVED, delivery(STORY[0], "sub_1", [attempt(1, 0.1)])])
    assert f"busy has {len(WANTED) + 1} deliveries, expected {len(WANTED)}" in found


def test_a_delivery_that_still_waits_is_missing_with_its_reason(receiver: Receiver) -> None:
    waiting = delivery(WANTED[0], "sub_1", [attempt(1, 0.1, REFUSED)], State.PENDING)
    receiver.received.remove(waiting.id)
    which = f"busy: the delivery {waiting.id} of {waiting.event} {waiting.job_id}"
    assert _problems(receiver, [waiting, *ARRIVED[1:]]) == [f"{which} is pending after 1 attempts: {REFUSED}"]


def test_what_is_called_delivered_must_have_been_received(receiver: Receiver) -> None:
    receiver.received.remove(ARRIVED[0].id)
    assert _problems(receiver) == [
        f"busy: {ARRIVED[0].id} is called delivered, and its receiver never got it"
    ]


def test_what_was_received_must_be_called_delivered(receiver: Receiver) -> None:
    receiver.received.add("dlv_x")
    assert _problems(receiver) == ["busy: its receiver got dlv_x, which is not called delivered"]


def test_a_delivery_that_came_twice_is_a_problem(receiver: Receiver) -> None:
    receiver.repeats = 1
    assert _problems(receiver) == ["busy: its receiver got 1 deliveries twice"]


def test_a_refused_signature_is_a_problem(receiver: Receiver) -> None:
    receiver.forged.append("another secret")
    assert _problems(receiver) == ["busy: its receiver refused a signature: another secret"]


def test_metrics_must_count_what_was_published_and_tried(receiver: Receiver) -> None:
    assert _problems(receiver, counts=Counts(Counter(accepted=1), Counter())) == [
        f"/metrics counts 1 events accepted, expected {len(STORY)}",
        "/metrics counts 0 duplicate events, expected 1",
        f"/metrics counts 0 attempts, expected {len(WANTED)}",
    ]


def test_an_owner_must_see_the_own_jobs_and_the_granted_one_and_no_other() -> None:
    granted = {event.job_id for event in STORY if event.event == "PERMISSION_GRANT"}
    own = {event.job_id for event in STORY if event.owner == "demo"}
    shown = [job(job_id) for job_id in own | granted]
    assert list(wrongly_seen(shown, STORY)) == []
    other = next(event.job_id for event in STORY if event.owner == "tokafor")
    assert list(wrongly_seen([*shown, job(other, "tokafor")], STORY)) == [
        f"the key of demo shows the job {other}, which belongs to somebody else"
    ]
    assert list(wrongly_seen(shown[1:], STORY)) == [f"the key of demo does not show the job {shown[0].id}"]
