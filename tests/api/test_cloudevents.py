"""CloudEvents made by the package that CloudEvents publishes, and sent as brokers of Knative send them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.api.conftest import Caller, Reply

ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/cluster/ä b",
    "type": "org.example.job.FINISHED",
    "subject": "job-1",
    "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "owner": "alice",
}

# What the broker of Knative adds to a request, and to an event.
KNATIVE = {
    "Prefer": "reply",
    "Kn-Namespace": "default",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Ce-Knativearrivaltime": "2026-01-02T03:04:06.123Z",
    "Ce-Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


async def published(caller: Caller, event: CloudEvent, mode: str, **headers: str) -> Reply:
    """The answer to an event in this mode."""
    message = (to_binary if mode == "binary" else to_structured)(event, JSONFormat())
    return await caller.ask("POST", "/v1/events", message.body, **{**message.headers, **headers})


async def stored(caller: Caller) -> Any:
    (listed,) = (await caller.get("/v1/events"))["items"]
    return (await caller.get(f"/v1/events/{listed['id']}"))["document"]


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        ({"exit_code": 0, "text": "ä"}, "application/json"),
        ("done\nü", "text/plain; charset=utf-8"),
        (b"\x00\xff", "image/png"),
    ],
)
async def test_what_the_cloudevents_package_encodes_is_understood(
    alice: Caller, mode: str, data: Any, media_type: str
) -> None:
    event = CloudEvent(attributes=ATTRIBUTES | {"datacontenttype": media_type}, data=data)
    reply = await published(alice, event, mode)

    document = await stored(alice)
    assert (reply.status, reply.json["accepted"]) == (202, 1)
    expected = ATTRIBUTES | {"datacontenttype": media_type, "time": "2026-01-02T03:04:05Z"}
    assert {name: document[name] for name in expected} == expected
    if isinstance(data, bytes):
        assert document["data_base64"] == "AP8="
    else:
        assert document["data"] == data


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_a_broker_of_knative_gets_202_without_a_body(alice: Caller, mode: str) -> None:
    event = CloudEvent(attributes=ATTRIBUTES, data={"exit_code": 0})
    first = await published(alice, event, mode, **KNATIVE)
    again = await published(alice, event, mode, **KNATIVE)

    # A body that is no CloudEvent would be a failure to it, and the event be sent again and again.
    assert [(reply.status, reply.body) for reply in (first, again)] == [(202, b""), (202, b"")]
    document = await stored(alice)
    assert document["data"] == {"exit_code": 0}
    if mode == "binary":
        assert document["knativearrivaltime"] == KNATIVE["Ce-Knativearrivaltime"]


@pytest.mark.parametrize("preference", ["return=minimal", "respond-async, return=minimal", "REPLY"])
async def test_who_prefers_no_body_gets_none(alice: Caller, preference: str) -> None:
    body = msgspec.json.encode({"event": "FINISHED", "job_id": "job-1"})
    reply = await alice.ask("POST", "/v1/events", body, Content_Type="application/json", Prefer=preference)

    assert (reply.status, reply.body) == (202, b"")


async def test_another_preference_changes_nothing(alice: Caller) -> None:
    body = msgspec.json.encode({"event": "FINISHED", "job_id": "job-1"})
    reply = await alice.ask("POST", "/v1/events", body, Content_Type="application/json", Prefer="wait=10")

    assert reply.json["accepted"] == 1


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_an_event_that_names_no_job_is_refused_for_good(alice: Caller, mode: str) -> None:
    attributes = {name: value for name, value in ATTRIBUTES.items() if name != "subject"}
    reply = await published(alice, CloudEvent(attributes=attributes, data={}), mode, **KNATIVE)

    # 400 is not tried again: the broker gives the event to its dead letter sink.
    assert reply.status == 400
    assert "subject" in reply.faults
