from __future__ import annotations

from datetime import datetime
from itertools import groupby
from operator import attrgetter

import msgspec
import pytest

from dispatcher.demo.plans import PLANS, Plan
from dispatcher.demo.story import PlannedEvent, planned_events
from dispatcher.domain.event_names import EVENTS, is_terminal
from dispatcher.domain.events import utc_now
from dispatcher.intake.decode import Message, decode

STORY = planned_events()


def _of_job(prefix: str) -> list[PlannedEvent]:
    return [event for event in STORY if event.job_id.startswith(prefix)]


def test_the_first_job_lives_as_in_the_guide() -> None:
    life = _of_job("0001414144065563")
    assert [event.event for event in life] == [
        *("PENDING", "PROCESSING_INPUTS", "PROCESSING_INPUTS", "STAGING_INPUTS", "STAGING_INPUTS", "STAGED"),
        *("SUBMITTING", "SUBMITTING", "RUNNING", "CLEANING_UP", "FINISHED"),
    ]
    assert life[0].document["time"] == "2014-10-24T04:47:45.000-05:00"
    assert life[-1].document["time"] == "2014-10-24T04:48:15.000-05:00"
    assert life[-1].document["message"] == "Job completed. Skipping archiving at user request."
    assert "message" not in life[-2].document


def test_every_event_is_accepted_by_the_intake() -> None:
    documents = msgspec.json.encode([event.document for event in STORY])
    message = Message(origin="http", body=documents, content_type="application/json", headers={})
    events = decode(message, default_tenant="default", tenant_fixed=True, now=utc_now())
    assert [event.event for event in events] == [event.event for event in STORY]
    assert len({event.identity for event in events}) == len(STORY)


def test_a_jobs_events_are_published_in_the_order_of_their_times_and_end_it() -> None:
    for _, life in groupby(sorted(STORY, key=attrgetter("job_id")), key=attrgetter("job_id")):
        events = list(life)
        times = [datetime.fromisoformat(str(event.document["time"])) for event in events]
        assert times == sorted(times)
        assert [is_terminal(event.event) for event in events] == [False] * (len(events) - 1) + [True]


def test_the_jobs_end_in_every_way_and_have_several_owners() -> None:
    assert {event.event for event in STORY if is_terminal(event.event)} == {
        "FINISHED",
        "FAILED",
        "KILLED",
        "STOPPED",
    }
    assert len({event.owner for event in STORY}) == 3
    assert {event.event for event in STORY} <= EVENTS.keys()


def test_a_document_holds_nothing_that_came_later() -> None:
    for event in STORY:
        job = event.document["job"]
        assert isinstance(job, dict)
        assert ("errorMessage" in job) <= is_terminal(event.event)
        assert ("endTime" in job) <= (
            event.event in ("CLEANING_UP", "ARCHIVING_FINISHED") or is_terminal(event.event)
        )


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_each_subscription_but_one_gets_something(plan: Plan) -> None:
    assert any(map(plan.wants, STORY)) == (plan.name != "never")
