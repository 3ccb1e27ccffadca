"""What holds for every event: nothing is lost on its way, and nothing but a refusal comes of nonsense."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
from cloudevents.core.bindings import amqp, http, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.intake.decode import Message
from tests.intake.messages import decoded, read

texts = st.text(
    st.characters(categories=["L", "N", "P", "S"], include_characters=" "), min_size=1, max_size=40
)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_:-]{0,20}", fullmatch=True)
# Whole seconds, because the oracle cuts off what its conversion to a float leaves of the milliseconds.
# From 1974 on, because a smaller number of milliseconds is taken for seconds.
_FIRST, _LAST = datetime(1974, 1, 1), datetime(2500, 1, 1)  # noqa: DTZ001 - the strategy adds the time zone
times = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=5
)
objects = st.dictionaries(st.text(), values, max_size=4)
jobs = st.fixed_dictionaries({}, optional={"id": texts, "owner": texts, "status": names, "name": st.text()})

plain_events = st.fixed_dictionaries(
    {"event": names, "job_id": texts},
    optional={
        "id": texts,
        "source": texts,
        "time": times.map(datetime.isoformat),
        "owner": texts,
        "tenant": texts,
        "message": st.text(),
        "job": jobs,
        "data": objects,
    },
)

attributes = st.fixed_dictionaries(
    {
        "id": texts,
        "source": texts,
        "type": names.map("org.example.".__add__),
        "subject": texts,
        "time": times,
    },
    optional={"owner": texts, "tenant": texts, "dataschema": texts, "custom": texts},
)
json_events = st.builds(
    lambda found, data: CloudEvent(found | {"datacontenttype": "application/json"}, data), attributes, objects
)
text_events = st.builds(
    lambda found, data: CloudEvent(found | {"datacontenttype": "text/plain"}, data),
    attributes,
    st.text(min_size=1),
)
raw_events = st.builds(
    lambda found, data: CloudEvent(found | {"datacontenttype": "image/png"}, b"\xff" + data),
    attributes,
    st.binary(),
)
cloud_events = json_events | text_events | raw_events


def oracle(document: bytes) -> CloudEvent:
    found = JSONFormat().read(CloudEvent, document)
    assert isinstance(found, CloudEvent)
    return found


def check_same(event: Event, sent: CloudEvent) -> None:
    found = oracle(event.document)
    assert found.get_attributes() == sent.get_attributes()
    assert found.get_data() == sent.get_data()
    assert (event.id, event.source, event.type) == (sent.get_id(), sent.get_source(), sent.get_type())
    assert (event.job_id, event.time) == (sent.get_subject(), sent.get_time())
    assert event.owner == sent.get_extension("owner")


@settings(max_examples=50)
@given(plain_events)
def test_a_plain_event_becomes_a_cloudevent_that_others_read(sent: dict[str, Any]) -> None:
    event = read(sent)
    found = oracle(event.document)
    assert found.get_type() == f"job.{sent['event']}"
    assert found.get_subject() == sent["job_id"]
    assert found.get_id() == sent.get("id", event.key)
    assert found.get_time() == event.time
    assert found.get_extension("tenant") == sent.get("tenant", "default")
    assert found.get_extension("owner") == (sent.get("owner") or sent.get("job", {}).get("owner"))
    data = found.get_data()
    assert isinstance(data, dict)
    assert (data["job"], data["data"]) == (sent.get("job", {}), sent.get("data", {}))
    assert (data["event"], data["message"]) == (sent["event"], sent.get("message"))


@settings(max_examples=50)
@given(plain_events)
def test_the_document_of_a_plain_event_is_an_event_again(sent: dict[str, Any]) -> None:
    first = read(sent)
    again = read(first.document, content_type="application/cloudevents+json")
    assert again.document == first.document
    assert (again.identity, again.job_id, again.owner, again.time) == (
        first.identity,
        first.job_id,
        first.owner,
        first.time,
    )


@settings(max_examples=50)
@given(cloud_events)
def test_a_structured_event_of_others_is_read_and_kept(sent: CloudEvent) -> None:
    message = http.to_structured_event(sent)
    event = read(
        message.body, origin="http", content_type=message.headers["content-type"], headers=message.headers
    )
    assert event.document == message.body
    check_same(event, sent)


@settings(max_examples=50)
@given(cloud_events)
def test_a_binary_event_of_others_over_http_is_read_and_kept(sent: CloudEvent) -> None:
    message = http.to_binary_event(sent)
    content_type = message.headers["content-type"]
    check_same(read(message.body, origin="http", content_type=content_type, headers=message.headers), sent)


@settings(max_examples=50)
@given(cloud_events)
def test_a_binary_event_of_others_over_amqp_is_read_and_kept(sent: CloudEvent) -> None:
    message = amqp.to_binary_event(sent)
    content_type, found = str(message.properties["content-type"]), message.application_properties
    check_same(read(message.application_data, content_type=content_type, headers=found), sent)


@settings(max_examples=50)
@given(cloud_events)
def test_a_binary_event_of_others_for_rabbitmq_is_read_and_kept(sent: CloudEvent) -> None:
    message = rabbitmq.to_binary_event(sent)
    check_same(read(message.body, content_type=message.content_type, headers=message.headers), sent)


@settings(max_examples=50)
@given(st.lists(cloud_events, max_size=4))
def test_a_batch_of_others_is_read_and_kept(sent: list[CloudEvent]) -> None:
    body = b"[" + b" , ".join(http.to_structured_event(event).body for event in sent) + b"]"
    events = decoded(Message(origin="http", body=body, content_type="application/cloudevents-batch+json"))
    for event, one in zip(events, sent, strict=True):
        check_same(event, one)


field_names = st.sampled_from(
    [
        "event",
        "job_id",
        "id",
        "source",
        "time",
        "job",
        "data",
        "specversion",
        "type",
        "subject",
        "data_base64",
        "x",
    ]
)
nearly_events = st.dictionaries(field_names, texts | names | values, max_size=8)
bodies = (
    st.binary()
    | st.text().map(str.encode)
    | (nearly_events | st.lists(nearly_events, max_size=3) | values).map(msgspec.json.encode)
)
header_values = (
    st.text() | st.binary() | st.integers() | st.floats() | st.none() | st.lists(st.text(), max_size=2)
)
header_names = st.builds(
    str.__add__,
    st.sampled_from(["", "ce-", "Ce-", "cloudEvents_", "cloudEvents:", "x-"]),
    field_names | st.sampled_from(["Owner", "tenant", ""]),
)
content_types = st.sampled_from(
    [
        None,
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/cloudevents+xml",
        "text/plain",
        "image/png",
        ";;",
    ]
)


@settings(max_examples=300)
@given(
    st.sampled_from(["amqp", "http"]),
    bodies,
    content_types | st.text(),
    st.dictionaries(header_names, header_values),
    st.none() | st.text(),
)
def test_nonsense_is_refused_or_read_but_never_anything_else(
    origin: Any, body: bytes, content_type: str | None, headers: dict[str, object], message_id: str | None
) -> None:
    message = Message(
        origin=origin, body=body, content_type=content_type, headers=headers, message_id=message_id
    )
    try:
        events = decoded(message)
    except InvalidInput:
        return
    for event in events:
        assert msgspec.json.decode(event.document) == event.decoded


@settings(max_examples=50)
@given(json_events)
def test_what_is_in_base64_stays_so(sent: CloudEvent) -> None:
    document = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "A",
        "subject": "j",
        "data_base64": base64.b64encode(repr(sent.get_data()).encode()).decode(),
    }
    assert oracle(read(document).document).get_data() == repr(sent.get_data()).encode()


compressions = st.sampled_from([None, "", "gzip", "deflate", "bzip2", "gzip, UTF-8", "br", ",,,"])
hops = st.integers(min_value=0, max_value=10)
slips = st.sampled_from(
    [rb"\ud800", rb"\udcff\ud83d", b"NaN", b"\xff", b"\xef\xbb\xbf", rb"\u0000", b"1e400", b'"id":1,']
)
places = st.integers(min_value=0, max_value=200)


@settings(max_examples=200)
@given(nearly_events, slips, places, compressions, hops, st.sampled_from(["amqp", "http"]))
def test_whatever_slips_into_an_event_it_is_read_or_refused(
    document: dict[str, Any], slip: bytes, place: int, compression: str | None, passed: int, origin: Any
) -> None:
    body = msgspec.json.encode(document)
    broken = body[:place] + slip + body[place:]
    message = Message(origin=origin, body=broken, content_encoding=compression, hops=passed)
    try:
        events = decoded(message)
    except InvalidInput:
        return
    for event in events:
        event.document.decode()
        assert msgspec.json.decode(event.document) == event.decoded
