from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from dispatcher.domain.events import Event
from dispatcher.domain.templates import RenderError
from dispatcher.domain.variable_values import MAX_TEXT, EventValues
from dispatcher.domain.variables import VARIABLES
from tests.factories import make_event

JOB = {
    "id": "0001-007",
    "name": "align",
    "owner": "alice",
    "appId": "bwa-0.7",
    "executionSystem": "ssh.execute.example.com",
    "status": "FINISHED",
    "submitTime": "2018-01-26T15:09:45.000-06:00",
    "startTime": "2018-01-26T15:09:53.000-06:00",
    "endTime": "2018-01-26T15:09:55.000-06:00",
    "archivePath": "alice/archive/0001",
    "outputPath": "alice/scratch/0001",
    "nodeCount": 2,
    "archive": False,
    "parameters": {"sort": True},
    "_links": {
        "self": {"href": "https://api.example.org/jobs/0001-007"},
        "archiveData": {"href": "https://api.example.org/jobs/0001-007/outputs"},
    },
}


def plain(event: str = "FINISHED", **changes: object) -> Event:
    """An event as it is stored when it came in plain form."""
    data = {"event": event, "status": event, "message": None, "job": {}, "data": {}} | changes
    return make_event(event=event, job_id="0001-007", data=data)


def value(event: Event, name: str) -> str:
    return EventValues(event).get(name)


def test_a_plain_event_with_bytes_is_one_too() -> None:
    event = plain("RENDERED", status="RUNNING", data_base64="AP8=")
    assert (value(event, "JOB_STATUS"), value(event, "data.data_base64")) == ("RUNNING", "AP8=")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UUID", "0001-007"),
        ("EVENT", "FINISHED"),
        ("JOB_STATUS", "FINISHED"),
        ("JOB_URL", "https://api.example.org/jobs/0001-007"),
        ("JOB_ID", "0001-007"),
        ("JOB_SYSTEM", "ssh.execute.example.com"),
        ("JOB_NAME", "align"),
        ("JOB_START_TIME", "2018-01-26T15:09:53.000-06:00"),
        ("JOB_END_TIME", "2018-01-26T15:09:55.000-06:00"),
        ("JOB_SUBMIT_TIME", "2018-01-26T15:09:45.000-06:00"),
        ("JOB_ARCHIVE_PATH", "alice/archive/0001"),
        ("JOB_ARCHIVE_URL", "https://api.example.org/jobs/0001-007/outputs"),
        ("JOB_ERROR", ""),
        ("JOB_OWNER", "alice"),
        ("JOB_APP_ID", "bwa-0.7"),
        ("JOB_MESSAGE", "done"),
        ("TENANT", "default"),
        ("OWNER", "alice"),
        ("APP_ID", "bwa-0.7"),
        ("JOB_TENANT", "default"),
        ("JOB_EXECUTION_SYSTEM", "ssh.execute.example.com"),
        ("JOB_OUTPUT_PATH", "alice/scratch/0001"),
        ("JOB_NODE_COUNT", "2"),
        ("JOB_ARCHIVE", "false"),
        ("JOB_PARAMETERS", '{"sort":true}'),
        ("JOB_BATCH_QUEUE", ""),
        ("PERMISSION_USERNAME", ""),
    ],
)
@pytest.mark.parametrize("in_plain_form", [True, False])
def test_each_variable_comes_from_the_event_or_its_job_document(
    name: str, expected: str, in_plain_form: bool
) -> None:
    if in_plain_form:
        event = plain(message="done", job=JOB)
    else:
        event = make_event(job_id="0001-007", data=JOB | {"message": "done"})

    assert value(event, name) == expected


@pytest.mark.parametrize("name", ["RAW_JSON", "JOB_JSON"])
def test_the_whole_job_document_is_a_variable_too(name: str) -> None:
    assert json.loads(value(plain(job=JOB), name)) == JOB
    assert value(plain(), name) == ""


@pytest.mark.parametrize("data", [{"data": {"username": "bob", "permission": "READ"}}, {"username": "bob"}])
def test_an_event_about_a_permission_tells_whose_it_is(data: dict[str, object]) -> None:
    event = "PERMISSION_GRANT"
    granted = plain(event, **data) if "data" in data else make_event(event=event, data=data)

    assert value(granted, "PERMISSION_USERNAME") == "bob"
    assert value(granted, "PERMISSION_PERMISSION") == ("READ" if "data" in data else "")


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_has_a_value_even_when_the_event_says_nothing(name: str) -> None:
    assert isinstance(value(make_event(owner=None, data="no object"), name), str)


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(KeyError):
        value(make_event(), "JOB_COLOUR")


def test_without_an_archive_path_it_is_the_output_path() -> None:
    job = {name: value for name, value in JOB.items() if name != "archivePath"}

    assert value(plain(job=job), "JOB_ARCHIVE_PATH") == "alice/scratch/0001"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (plain("UPDATED", status=None, job={"status": "RUNNING"}), "RUNNING"),
        (plain("UPDATED", status="QUEUED", job={"status": "RUNNING"}), "QUEUED"),
        (plain("UPDATED", status=None), ""),
        (make_event(event="FAILED", data={"status": "RUNNING"}), "FAILED"),
        (make_event(event="HEARTBEAT", data={"status": "RUNNING"}), "RUNNING"),
    ],
)
def test_the_status_is_the_events_own_before_the_job_documents(event: Event, expected: str) -> None:
    assert value(event, "JOB_STATUS") == expected


@pytest.mark.parametrize(
    ("event", "job", "expected"),
    [
        ("FAILED", {"errorMessage": "disk full", "lastStatusMessage": "x"}, "disk full"),
        ("FAILED", {"lastStatusMessage": "no such queue"}, "said with the event"),
        ("KILLED", {}, "said with the event"),
        ("ARCHIVING_FAILED", {}, "said with the event"),
        ("FINISHED", {"errorMessage": "from an earlier try"}, ""),
        ("RUNNING", {}, ""),
    ],
)
def test_there_is_an_error_only_when_the_job_failed(
    event: str, job: Mapping[str, object], expected: str
) -> None:
    assert value(plain(event, message="said with the event", job=job), "JOB_ERROR") == expected


def test_without_any_message_the_error_is_the_last_status_message() -> None:
    event = plain("FAILED", job={"lastStatusMessage": "no such queue"})

    assert value(event, "JOB_ERROR") == "no such queue"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data.exit_code", "3"),
        ("data.data.exit_code", "3"),
        ("data.job.name", "align"),
        ("data.hosts.1", "n2"),
        ("data.status", "FINISHED"),
        ("data.nothing", ""),
        ("data.exit_code.deeper", ""),
    ],
)
def test_a_path_finds_the_publishers_own_data_in_a_plain_event(path: str, expected: str) -> None:
    event = plain(job=JOB, data={"exit_code": 3, "hosts": ["n1", "n2"], "status": "not this one"})

    assert value(event, path) == expected


def test_a_path_in_a_cloud_event_means_its_data_only() -> None:
    event = make_event(data={"event": "x", "data": {"exit_code": 3}})

    assert value(event, "data.exit_code") == ""
    assert value(event, "data.data.exit_code") == "3"


@pytest.mark.parametrize("name", ["EVENT", "JOB_ID", "UUID", "JOB_OWNER", "TENANT"])
def test_what_the_event_itself_holds_does_not_decode_its_document(name: str) -> None:
    assert value(make_event(document=b"not JSON"), name)


def test_the_values_of_one_request_are_bounded_together() -> None:
    values = EventValues(make_event(data={"a": "x" * (MAX_TEXT // 2), "b": ["x" * MAX_TEXT]}))

    assert len(values.get("data.a")) + len(values.get("data.a")) == MAX_TEXT
    assert values.get("data.none") == ""
    with pytest.raises(RenderError, match=r"data\.b"):
        values.get("data.b")
