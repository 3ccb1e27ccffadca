"""CloudEvents in structured, binary and batch form, over AMQP and HTTP."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.decode import Message
from tests.intake.messages import NOW, cloudevent, decoded, plain, read

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def refusal(document: object, **message: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read(document, **message)
    return refused.value


def headers(prefix: str, **changes: object) -> dict[str, object]:
    return {prefix + name: value for name, value in cloudevent(**changes).items()}


@pytest.mark.parametrize(
    "content_type", [STRUCTURED, STRUCTURED + "; charset=utf-8", "application/json", None]
)
def test_a_structured_event_is_known_by_its_content_type_or_its_specversion(content_type: str | None) -> None:
    event = read(
        cloudevent(owner="ada", tenant="blue", time="2026-01-02T03:04:05+01:00"), content_type=content_type
    )
    assert (event.id, event.source, event.type) == ("e-1", "/cluster", "org.example.job.FINISHED")
    assert (event.event, event.job_id, event.owner, event.tenant) == ("FINISHED", "job-1", "ada", "blue")
    assert event.time == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)


def test_a_structured_event_goes_on_as_it_came() -> None:
    body = (
        b'{ "id":"e-1", "specversion":"1.0","source":"/s","type":"FINISHED","subject":"j",'
        b'"time":"2026-01-02T03:04:05Z","partof":7,"urgent":true,'
        b'"data":{"n": 12345678901234567890123, "x": 1.10} }'
    )
    assert read(body).document == body


def test_an_event_without_a_time_happened_when_it_was_sent() -> None:
    event = read(cloudevent())
    assert event.time == NOW
    assert "time" not in event.decoded


def test_the_document_is_written_again_where_strict_receivers_would_stumble() -> None:
    event = read(cloudevent(time="2026-01-02T03:04:05") | {"dataschema": None, "data": {"x": None}})
    assert event.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert event.decoded == cloudevent(time="2026-01-02T03:04:05Z", data={"x": None})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"source": None}, "source"),
        ({"type": None}, "type"),
        ({"type": "org.example."}, "type"),
        ({"subject": None}, "subject"),
        ({"subject": "a\u0000"}, "subject"),
        ({"time": "yesterday"}, "time"),
        ({"time": 5}, "time"),
        ({"time": True}, "time"),
        ({"time": {}}, "time"),
        ({"id": 4.5}, "id"),
        ({"id": False}, "id"),
        ({"id": ["e"]}, "id"),
        ({"source": 10**2000}, "source"),
        ({"type": "dispatcher.delivery.exhausted"}, "type"),
        ({"type": "Dispatcher.x"}, "type"),
        ({"datacontenttype": "a\u0000"}, "datacontenttype"),
        ({"owner": True}, "owner"),
        ({"source": ""}, "source"),
        ({"type": ""}, "type"),
        ({"subject": ""}, "subject"),
        ({"data": 1, "data_base64": "AA=="}, "data_base64"),
        ({"data_base64": "not base64"}, "data_base64"),
        ({"data_base64": 7}, "data_base64"),
    ],
)
def test_a_refusal_names_the_attribute(changes: dict[str, object], field: str) -> None:
    assert refusal(cloudevent(**changes), content_type=STRUCTURED).field == field


def test_an_empty_attribute_that_may_be_missing_is_left_out() -> None:
    empty = dict.fromkeys(("owner", "tenant", "time", "datacontenttype"), "")
    event = read(cloudevent(**empty), content_type=STRUCTURED)
    assert (event.owner, event.tenant, event.time) == (None, "default", NOW)
    assert event.decoded == cloudevent()


def test_a_batch_holds_several_events_in_order() -> None:
    body = msgspec.json.encode([cloudevent(id=str(i)) for i in range(3)])
    for origin in ("amqp", "http"):
        message = Message(origin=origin, body=body, content_type=BATCH)
        assert [event.id for event in decoded(message)] == ["0", "1", "2"]


def test_an_array_may_mix_both_forms() -> None:
    body = msgspec.json.encode([plain(), cloudevent()])
    events = decoded(Message(origin="http", body=body, content_type="application/json"))
    assert [event.source for event in events] == ["/jobs", "/cluster"]


def test_what_the_content_type_promises_must_be_there() -> None:
    assert refusal(plain(), content_type=STRUCTURED).field == "specversion"
    assert refusal([plain()], content_type=BATCH).field == "[0].specversion"
    assert "array" in refusal(cloudevent(), content_type=BATCH).problem
    assert BATCH in refusal([cloudevent()], content_type=STRUCTURED).problem
    assert refusal(cloudevent(), content_type="application/cloudevents+avro").field == "content-type"


def test_the_word_specversion_in_the_data_makes_no_cloudevent() -> None:
    assert read(plain(data={"specversion": "1.0"})).source == "/jobs"


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-", "CE-", "ce_", ""])
def test_the_attributes_of_a_binary_amqp_message_may_be_written_in_several_ways(prefix: str) -> None:
    named = headers(prefix, owner="ada", time="2026-01-02T03:04:05Z", dataschema="")
    event = read(b'{"code":0}', headers=named | {"x-death": [{"count": 1}]}, content_type="application/json")
    assert event.owner == "ada"
    assert event.decoded == cloudevent(
        owner="ada", time="2026-01-02T03:04:05Z", datacontenttype="application/json", data={"code": 0}
    )


def test_the_content_type_may_be_a_header_as_bridges_from_kafka_write_it() -> None:
    named = headers("ce_") | {"content-type": "text/plain"}
    assert read(b"hello", headers=named).data == "hello"
    assert read(b"{}", headers=named, content_type="application/json").data == {}


def test_a_header_that_only_begins_like_one_of_kafka_makes_no_cloudevent() -> None:
    assert read({"event": "FINISHED", "job_id": "job-1"}, headers={"ce_region": "eu"}).event == "FINISHED"


@pytest.mark.parametrize("time", [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 1767323045000])
def test_a_native_amqp_time_becomes_text(time: object) -> None:
    assert read(b"", headers=headers("cloudEvents_", time=time)).decoded["time"] == "2026-01-02T03:04:05Z"


def test_headers_of_http_are_percent_decoded() -> None:
    named = headers("ce-", subject="Euro%20%E2%82%AC%25", owner='"a b"')
    event = read(b"", origin="http", headers=named)
    assert (event.job_id, event.owner) == ("Euro €%", "a b")


def test_headers_of_amqp_are_not_percent_decoded() -> None:
    assert read(b"", headers=headers("ce-", subject="100%25")).job_id == "100%25"


@pytest.mark.parametrize(
    ("content_type", "body", "member", "value"),
    [
        ("application/json", b'{"a": 1}', "data", {"a": 1}),
        ("application/vnd.site+json; v=1", b"[1]", "data", [1]),
        (None, b'{"a": 1}', "data", {"a": 1}),
        (None, b"\x00\x01", "data_base64", "AAE="),
        ("text/plain", "größer".encode(), "data", "größer"),
        ("text/plain; charset=latin-1", "größer".encode("latin-1"), "data_base64", "Z3L232Vy"),
        ("application/xml", b"<a/>", "data", "<a/>"),
        ("application/octet-stream", b"{}", "data_base64", "e30="),
    ],
)
def test_the_body_of_a_binary_message_becomes_data(
    content_type: str | None, body: bytes, member: str, value: object
) -> None:
    document = read(body, headers=headers("ce-"), content_type=content_type).decoded
    assert document[member] == value
    assert document.get("datacontenttype") == content_type


def test_a_binary_message_without_a_body_has_no_data() -> None:
    assert not {"data", "data_base64"} & read(b"", headers=headers("ce-")).decoded.keys()


@pytest.mark.parametrize(
    ("origin", "named", "field"),
    [
        ("http", headers("ce-", subject=None), "subject"),
        ("http", headers("ce-", specversion=None), "specversion"),
        ("http", headers("ce-", subject="%00"), "subject"),
        ("amqp", headers("ce-", subject=["job-1"]), "subject"),
        ("amqp", headers("ce-", id=True), "id"),
        ("amqp", headers("ce-", source=4.5), "source"),
        ("amqp", headers("cloudEvents_", time=float("nan")), "time"),
        ("amqp", headers("ce-") | {"cloudEvents_id": "e-2"}, "id"),
    ],
)
def test_a_refusal_of_a_binary_message_names_the_attribute(
    origin: str, named: dict[str, object], field: str
) -> None:
    assert refusal(b"{}", origin=origin, headers=named).field == field


def test_data_that_is_not_the_json_that_its_content_type_says_is_refused() -> None:
    assert refusal(b'{"a":', headers=headers("ce-"), content_type="application/json").problem
    assert refusal(b'1,"id":"x"', headers=headers("ce-"), content_type="application/json").problem


def test_a_structured_message_is_read_from_its_body_whatever_its_headers_say() -> None:
    assert read(cloudevent(), headers={"ce-id": "other"}, content_type=STRUCTURED).id == "e-1"


def test_data_in_base64_goes_on_as_it_came() -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    assert read(cloudevent(data_base64=encoded)).decoded["data_base64"] == encoded
