"""Events of Tapis v3, in the shape that its notifications service gives them on the broker."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
import pytest

from dispatcher.compat.tapis_v3 import decoder
from dispatcher.compat.tapis_v3.event_model import check_type_filter, filters_of
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.filters import compile_filters
from dispatcher.domain.jobs import project_one
from dispatcher.intake.decode import Message, decode

JOB = "0f3b2a6e-5b1e-4e1f-9a37-6d1a2f1c9f10-007"
DATA = {
    "newJobStatus": "FINISHED",
    "oldJobStatus": "ARCHIVING",
    "blockedCount": 0,
    "jobName": "a run",
    "jobUuid": JOB,
    "jobOwner": "alice",
    "message": "The job has transitioned to a new status: FINISHED.",
}
THEIRS = {
    "source": "Jobs",
    "type": "jobs.JOB_NEW_STATUS.FINISHED",
    "subject": JOB,
    "data": msgspec.json.encode(DATA).decode(),
    "seriesId": JOB,
    "seriesSeqCount": 9,
    "timestamp": "2026-05-04T12:00:00.123456789Z",
    "deleteSubscriptionsMatchingSubject": True,
    "endSeries": False,
    "tenant": "dev",
    "user": "jobs",
    "received": "2026-05-04T12:00:01.5Z",
    "uuid": "5c2f7d8e-1111-4222-8333-444455556666",
}


def read(**changes: object) -> Event:
    body = {name: value for name, value in (THEIRS | changes).items() if value is not None}
    message = Message(origin="amqp", body=msgspec.json.encode(body))
    [event] = decode(
        message, default_tenant="default", tenant_fixed=False, now=utc_now(), adapters=(decoder,)
    )
    return event


def test_a_new_status_is_an_event_of_the_job_and_of_its_owner() -> None:
    event = read()
    assert (event.event, event.job_id, event.owner, event.tenant) == ("FINISHED", JOB, "alice", "dev")
    assert (event.id, event.source, event.type) == (THEIRS["uuid"], "Jobs", THEIRS["type"])
    assert event.time == datetime(2026, 5, 4, 12, 0, 0, 123457, UTC)
    assert event.message == DATA["message"]
    job = project_one(event)
    assert (job.status, job.name, job.terminal) == ("FINISHED", "a run", True)


def test_the_event_of_tapis_stays_whole_in_the_data() -> None:
    data = msgspec.json.decode(read().document)["data"]
    assert data["data"] == THEIRS


def test_what_is_no_new_status_leaves_the_status_of_the_job_alone() -> None:
    transfer = read(type="jobs.JOB_INPUT_TRANSACTION_ID.FAILED")
    assert transfer.event == "JOB_INPUT_TRANSACTION_ID.FAILED"
    assert project_one(transfer).status is None


def test_what_a_user_wrote_into_an_event_does_not_say_whose_the_job_is() -> None:
    event = read(
        type="jobs.JOB_USER_EVENT.DEFAULT", user="alice", data='{"jobOwner": "bob", "jobName": "his"}'
    )
    assert (event.event, event.owner, project_one(event).name) == ("JOB_USER_EVENT.DEFAULT", "alice", None)


def test_a_cancelled_job_was_killed() -> None:
    assert read(type="jobs.JOB_NEW_STATUS.CANCELLED").event == "KILLED"


def test_data_of_another_service_may_be_any_text() -> None:
    for data in ("just words", "{not json", '{"jobOwner": 3}', None):
        event = read(type="files.TRANSFER.COMPLETED", data=data)
        assert (event.owner, event.message) == ("jobs", None)


def test_an_event_without_a_subject_is_called_as_its_series_or_as_itself() -> None:
    assert read(subject=None).job_id == JOB
    assert read(subject=None, seriesId=None).job_id == THEIRS["uuid"]


@pytest.mark.parametrize("text", ["2026-05-04T12:00Z", "2026-05-04T12:00", "2026-05-04T14:00+02:00"])
def test_a_time_may_lack_seconds_and_offset_as_java_writes_it(text: str) -> None:
    assert read(timestamp=text).time == datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "jobs.FINISHED"}, "type"),
        ({"type": "Jobs.A.B"}, "type"),
        ({"type": "jobs.A." + "x" * 128}, "type"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"source": ""}, "source"),
        ({"subject": "x" * 256}, "subject"),
        ({"seriesSeqCount": "nine"}, "seriesSeqCount"),
        ({"data": {"not": "a text"}}, "data"),
    ],
)
def test_a_refusal_names_the_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(**changes)
    assert refused.value.field == field


def test_a_plain_event_that_speaks_of_the_mark_is_still_plain() -> None:
    body = {"event": "FINISHED", "job_id": "1", "data": {"deleteSubscriptionsMatchingSubject": True}}
    message = Message(origin="http", body=msgspec.json.encode(body))
    [event] = decode(message, default_tenant="default", tenant_fixed=True, now=utc_now(), adapters=(decoder,))
    assert event.type == "job.FINISHED"


TYPES = (
    "jobs.JOB_NEW_STATUS.FINISHED",
    "jobs.JOB_NEW_STATUS.FAILED",
    "jobs.JOB_ERROR_MESSAGE.FAILED",
    "files.TRANSFER.FINISHED",
)


@pytest.mark.parametrize(
    ("type_filter", "wanted"),
    [
        ("jobs.JOB_NEW_STATUS.FINISHED", {TYPES[0]}),
        ("jobs.JOB_NEW_STATUS.*", {TYPES[0], TYPES[1]}),
        ("jobs.*.FAILED", {TYPES[1], TYPES[2]}),
        ("jobs.*.*", {TYPES[0], TYPES[1], TYPES[2]}),
        ("files.*.*", {TYPES[3]}),
        ("apps.*.*", set()),
    ],
)
def test_each_part_of_a_type_filter_is_a_name_or_every_name(type_filter: str, wanted: set[str]) -> None:
    passes = compile_filters(filters_of(type_filter))
    assert passes is not None
    assert {one for one in TYPES if passes(read(type=one))} == wanted


def test_events_that_came_in_another_form_are_selected_as_what_they_would_be() -> None:
    def native(name: str) -> Event:
        message = Message(origin="http", body=msgspec.json.encode({"event": name, "job_id": "1"}))
        return decode(
            message, default_tenant="default", tenant_fixed=True, now=utc_now(), adapters=(decoder,)
        )[0]

    def wants(type_filter: str, name: str) -> bool:
        passes = compile_filters(filters_of(type_filter))
        return passes is not None and passes(native(name))

    assert wants("jobs.JOB_NEW_STATUS.FINISHED", "FINISHED")
    assert not wants("jobs.JOB_NEW_STATUS.FINISHED", "FAILED")
    assert wants("jobs.*.*", "RUNNING")
    assert wants("jobs.JOB_NEW_STATUS.CANCELLED", "KILLED")
    assert not wants("jobs.JOB_NEW_STATUS.*", "HEARTBEAT")
    assert not wants("jobs.JOB_ERROR_MESSAGE.*", "FAILED")


@pytest.mark.parametrize("type_filter", ["*.A.B", "jobs.A", "jobs.A.B.C", "jobs.A*.B", "jobs..B", ""])
def test_a_type_filter_has_three_parts_and_names_its_service(type_filter: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape("<service>.<category>.<detail>")):
        check_type_filter("typeFilter", type_filter)
