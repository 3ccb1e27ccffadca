"""The plain form, and the CloudEvent that it becomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.ids import is_id
from dispatcher.intake.decode import MAX_BODY, MAX_EVENTS, Message
from tests.intake.messages import NOW, decoded, plain, read

JOB = {
    "id": "0001409867973952-5056a550b8-0001-007",
    "name": "my job",
    "owner": "ada",
    "appId": "wc-1.0",
    "status": "ARCHIVING",
    "submitTime": "2014-09-04T23:53:05.000-05:00",
    "_links": {"self": {"href": "https://example.org/jobs/v2/0001"}},
}


def refusal(document: object, **message: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read(document, **message)
    return refused.value


def test_an_event_name_and_a_job_id_are_enough() -> None:
    event = read({"event": "FINISHED", "job_id": "job-1"})
    assert is_id("evt", event.key)
    assert msgspec.json.decode(event.document) == {
        "specversion": "1.0",
        "id": event.key,
        "source": "/jobs",
        "type": "job.FINISHED",
        "subject": "job-1",
        "time": "2026-05-04T12:00:00Z",
        "tenant": "default",
        "data": {"event": "FINISHED", "status": "FINISHED", "message": None, "job": {}, "data": {}},
    }


def test_what_the_publisher_says_stands_in_the_event_and_in_its_document() -> None:
    event = read(
        plain(
            id="e-1",
            source="/hpc",
            time="2026-01-02T03:04:05+01:00",
            owner="ada",
            tenant="blue",
            message="done",
            data={"code": 0},
        )
    )
    assert (event.id, event.source, event.owner, event.tenant) == ("e-1", "/hpc", "ada", "blue")
    assert event.time == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert event.accepted_at == NOW
    assert event.attributes == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/hpc",
        "type": "job.FINISHED",
        "subject": "job-1",
        "time": "2026-01-02T02:04:05Z",
        "owner": "ada",
        "tenant": "blue",
        "event": "FINISHED",
        "job_id": "job-1",
    }
    assert event.data == {
        "event": "FINISHED",
        "status": "FINISHED",
        "message": "done",
        "job": {},
        "data": {"code": 0},
    }


def test_a_job_document_gives_what_the_event_does_not_say() -> None:
    event = read({"job": JOB})
    assert (event.event, event.job_id, event.owner, event.time) == ("ARCHIVING", JOB["id"], "ada", NOW)
    assert event.job == JOB


def test_what_the_event_says_wins_over_its_job_document() -> None:
    event = read(plain(owner="bob", job=JOB))
    assert (event.event, event.job_id, event.owner) == ("FINISHED", "job-1", "bob")
    assert event.data == {"event": "FINISHED", "status": "FINISHED", "message": None, "job": JOB, "data": {}}


def test_an_event_that_names_no_status_has_that_of_its_job_document() -> None:
    assert read(plain(event="HEARTBEAT", job=JOB)).data["status"] == "ARCHIVING"  # type: ignore[index]  # a dict
    assert read(plain(event="HEARTBEAT")).data["status"] is None  # type: ignore[index]  # a dict


def test_a_time_without_an_offset_is_utc() -> None:
    assert read(plain(time="2026-01-02T03:04:05")).time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_an_event_without_a_time_has_that_of_its_amqp_message() -> None:
    sent = datetime(2026, 5, 4, 11, 0, tzinfo=UTC)
    event = read(plain(), timestamp=sent)
    assert (event.time, event.decoded["time"]) == (sent, "2026-05-04T11:00:00Z")


def test_numbers_in_the_publishers_data_stay_as_they_were_written() -> None:
    body = b'{"event":"RUNNING","job_id":"j","job":{"memory":12345678901234567890123},"data":{"x":1.10}}'
    document = read(body).document
    assert b'"memory":12345678901234567890123' in document
    assert b'"x":1.10' in document


@pytest.mark.parametrize("name", ["UPLOADED", "my-site.step:2", "a" * 64])
def test_a_site_may_have_its_own_event_names(name: str) -> None:
    assert read(plain(event=name)).type == f"job.{name}"


@pytest.mark.parametrize(
    "name", ["", " ", "2ND", "2nd try", "a" * 65, "ÜBER", "dispatcher.x", "Dispatcher.x"]
)
def test_a_name_that_no_subscription_could_name_is_refused(name: str) -> None:
    assert refusal(plain(event=name)).field == "event"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event": None}, "event"),
        ({"event": 7}, "event"),
        ({"job_id": None}, "job_id"),
        ({"job_id": ""}, "job_id"),
        ({"job_id": 12.0}, "job_id"),
        ({"job_id": True}, "job_id"),
        ({"job_id": {}}, "job_id"),
        ({"job_id": 10**255}, "job_id"),
        ({"job_id": 10**4200}, "job_id"),
        ({"job_id": None, "job": {"id": 4.5}}, "job.id"),
        ({"job_id": None, "job": {"id": {"jobs": [1]}}}, "job.id"),
        ({"job": {"owner": False}}, "job.owner"),
        ({"job": {"owner": ["ada"]}}, "job.owner"),
        ({"job_id": "a\u0000b"}, "job_id"),
        ({"job_id": "x" * 256}, "job_id"),
        ({"id": "x" * 256}, "id"),
        ({"time": "yesterday"}, "time"),
        ({"time": True}, "time"),
        ({"time": 5}, "time"),
        ({"time": -1772000000}, "time"),
        ({"time": 1e300}, "time"),
        ({"time": "0001-01-01T00:00:00+05:00"}, "time"),
        ({"owner": "a\tb"}, "owner"),
        ({"data": [1]}, "data"),
        ({"data": "text"}, "data"),
        ({"job": "job-1"}, "job"),
        ({"job_id": None, "job": {"id": "a\nb"}}, "job.id"),
        ({"event": None, "job": {"status": "2 names"}}, "job.status"),
        ({"job": {"owner": "a\nb"}}, "job.owner"),
    ],
)
def test_a_refusal_names_the_field(changes: dict[str, object], field: str) -> None:
    assert refusal(plain(**changes)).field == field


def test_null_is_the_same_as_nothing() -> None:
    absent = dict.fromkeys(("id", "source", "time", "owner", "tenant", "message", "job", "data"))
    event, bare = read(plain(**absent)), read(plain())
    assert (event.data, event.source, event.owner) == (bare.data, bare.source, bare.owner)


def test_an_empty_text_is_the_same_as_nothing() -> None:
    empty = dict.fromkeys(("event", "job_id", "id", "source", "time", "owner", "tenant"), "")
    job = {"id": "job-1", "owner": "ada", "status": "FINISHED"}
    event, bare = read(plain(**empty, job=job)), read({"job": job})
    assert (event.event, event.job_id, event.owner, event.tenant) == ("FINISHED", "job-1", "ada", "default")
    assert (event.source, event.time, event.data) == (bare.source, bare.time, bare.data)
    assert event.id == event.key


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    assert str(refusal(plain(jobId="1"))) == "jobId: unknown field; did you mean job_id?"


def test_a_bare_job_document_is_refused_with_where_it_belongs() -> None:
    refused = refusal(JOB)
    assert refused.field == "name"
    assert 'a job document stands under "job"' in refused.problem


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'"FINISHED"',
        b'{"event":"A","job_id":"j","data":{"x":1e400}}',
        b'{"event":"A","job_id":"j","data":{"x":' + b"[" * 200 + b"]" * 200 + b"}}",
        b'{"event":"A","job_id":"j","data":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    ],
)
def test_what_a_receiver_could_not_read_is_refused(body: bytes) -> None:
    assert refusal(body).problem


def test_json_of_many_shallow_objects_is_not_taken_for_deep() -> None:
    assert read(plain(data={"steps": [{"n": i} for i in range(500)]})).data


def test_an_array_holds_several_events_in_order() -> None:
    body = msgspec.json.encode([plain(job_id=f"job-{i}") for i in range(3)])
    events = decoded(Message(origin="http", body=body, content_type="application/json"))
    assert [event.job_id for event in events] == ["job-0", "job-1", "job-2"]
    assert len({event.id for event in events}) == 3


def test_a_refusal_in_an_array_names_the_event_and_the_field() -> None:
    assert refusal([plain(), plain(), plain(), plain(job_id="")]).field == "[3].job_id"
    assert refusal([plain(), {"evnt": "A"}]).field == "[1].evnt"
    assert refusal([plain(), 7]).field == "[1]"


def test_an_array_has_at_most_a_thousand_events() -> None:
    body = msgspec.json.encode([plain()] * MAX_EVENTS)
    assert len(decoded(Message(origin="http", body=body))) == MAX_EVENTS
    assert "at most 1000 events" in refusal([plain()] * (MAX_EVENTS + 1)).problem


def test_a_message_has_at_most_one_mebibyte() -> None:
    room = MAX_BODY - len(msgspec.json.encode(plain(message="")))
    assert read(plain(message="x" * room)).event == "FINISHED"
    assert "at most 1048576 bytes" in refusal(plain(message="x" * (room + 1))).problem


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/xml", "image/png"]
)
def test_a_content_type_that_is_not_json_is_refused(content_type: str) -> None:
    assert refusal(plain(), content_type=content_type).field == "content-type"


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json; charset=utf-8", "application/vnd.site+json"]
)
def test_json_may_be_called_so_in_several_ways(content_type: str | None) -> None:
    assert read(plain(), content_type=content_type).event == "FINISHED"


def test_an_event_may_name_a_tenant_only_where_its_sender_may_choose_one() -> None:
    assert read(plain(tenant="blue"), tenant="blue", tenant_fixed=True).tenant == "blue"
    assert read(plain(), tenant="blue", tenant_fixed=True).tenant == "blue"
    refused = refusal(plain(tenant="red"), tenant="blue", tenant_fixed=True)
    assert refused.field == "tenant"
    assert "'blue'" in refused.problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"data_base64": "AP8=", "data": {"a": 1}}, "expected either data or data_base64, got both"),
        ({"data_base64": "not base64"}, "expected a text in base64 (RFC 4648, section 4)"),
    ],
)
def test_bytes_stand_in_base64_in_place_of_data(fields: dict[str, object], problem: str) -> None:
    assert msgspec.json.decode(read(plain(data_base64="AP8=")).document)["data"]["data_base64"] == "AP8="
    assert "data_base64" not in msgspec.json.decode(read(plain(data_base64="")).document)["data"]
    refused = refusal(plain(**fields))
    assert (refused.field, refused.problem) == ("data_base64", problem)


def test_an_event_without_an_id_has_the_same_one_when_its_amqp_message_comes_again() -> None:
    first, again = (read(plain(), message_id="m-1") for _ in range(2))
    assert first.id == again.id
    assert first.key != again.key


def test_a_message_id_that_is_used_twice_merges_no_different_events() -> None:
    assert read(plain(event="RUNNING"), message_id="job-1").id != read(plain(), message_id="job-1").id


def test_a_message_id_that_is_used_at_different_times_merges_no_events() -> None:
    sent = [NOW, NOW + timedelta(seconds=1), NOW, None]
    first, later, again, without = (read(plain(), message_id="job-1", timestamp=moment).id for moment in sent)
    assert first == again
    assert len({first, later, without}) == 3


def test_the_events_of_one_amqp_message_have_separate_ids() -> None:
    body = msgspec.json.encode([plain(), plain()])
    one, other = decoded(Message(origin="amqp", body=body, message_id="m-1"))
    assert one.id != other.id


def test_a_message_id_of_any_length_gives_an_id_that_fits() -> None:
    assert len(read(plain(), message_id="m" * 255).id) <= 255
