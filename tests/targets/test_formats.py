"""The forms that a webhook can ask for, read back by the package that CloudEvents publishes, and by our intake."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1.http import from_http
from standardwebhooks import Webhook

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from tests.factories import SECRET, make_event, make_subscription
from tests.intake.messages import cloudevent, plain, read
from tests.receiver import Arrived, Receiver

DELIVERY = new_id("dlv")
JOB = {"id": "job-1", "name": "fold", "owner": "alice", "status": "RUNNING", "archive": False}


async def sent(egress: Egress, receiver: Receiver, event: Event, form: str, **fields: Any) -> Arrived:
    """The request that a delivery of this event makes, at its second attempt."""
    target = {"kind": "webhook", "url": receiver.url, "format": form} | fields
    subscription = make_subscription(target=target)
    answer = await WebhookKind(egress).sender(subscription).send(event, DELIVERY, 2)
    assert answer.error is None
    return receiver.arrived[-1]


def understood(arrived: Arrived) -> tuple[dict[str, object], object]:
    """The attributes and the data of a CloudEvent, as the `cloudevents` package finds them."""
    event = from_http_event(HTTPMessage(arrived.headers, arrived.body), JSONFormat())
    return event.get_attributes(), event.get_data()


@pytest.mark.parametrize("form", ["cloudevents", "binary"])
@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"exit_code": 0}},
        {"data": {"exit_code": 0}, "datacontenttype": "application/json"},
        {"data": [1, "two"], "datacontenttype": "application/vnd.x+json; charset=utf-8"},
        {"data": "a\nb ü", "datacontenttype": "text/plain; charset=utf-8"},
        {"data_base64": "AP8=", "datacontenttype": "application/octet-stream"},
        {"datacontenttype": None},
        {"data": {}, "owner": 'Zoë "Z" 100%', "partof": 7, "urgent": True},
    ],
)
async def test_the_cloudevents_package_reads_what_is_sent(
    egress: Egress, receiver: Receiver, form: str, changes: dict[str, object]
) -> None:
    document = cloudevent(time="2026-01-02T03:04:05Z", **changes)
    attributes, data = understood(await sent(egress, receiver, read(document), form))

    wanted = {name: value for name, value in document.items() if name not in ("data", "data_base64")}
    found = {name: value for name, value in attributes.items() if name != "datacontenttype"}
    assert {name: _text(value) for name, value in found.items()} == {
        name: _text(value) for name, value in wanted.items() if name != "datacontenttype"
    }
    assert data == (b"\x00\xff" if "data_base64" in changes else changes.get("data"))


def _text(value: object) -> str:
    """A value as a header carries it, which knows no types."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def test_of_the_python_package_only_the_newer_api_decodes_headers() -> None:
    """As the table in docs/cloudevents.md says."""
    headers = {f"ce-{name}": str(value) for name, value in cloudevent(owner="Zo%C3%AB").items()}
    newer = from_http_event(HTTPMessage(headers, b""), JSONFormat()).get_attributes()
    assert (newer["owner"], from_http(headers, b"")["owner"]) == ("Zoë", "Zo%C3%AB")


async def test_in_binary_form_the_data_goes_out_byte_for_byte(egress: Egress, receiver: Receiver) -> None:
    body = (
        b'{"id":"e-1","specversion":"1.0","source":"/s","type":"FINISHED","subject":"j",'
        b'"data":{"n": 12345678901234567890123, "x": 1.10} }'
    )
    arrived = await sent(egress, receiver, read(body), "binary")

    assert arrived.body == b'{"n": 12345678901234567890123, "x": 1.10}'
    assert arrived.headers["content-type"] == "application/json"


async def test_a_header_value_is_encoded_as_the_binding_says(egress: Egress, receiver: Receiver) -> None:
    event = read(cloudevent(owner='Zoë "Z" 100%', data={}))
    arrived = await sent(egress, receiver, event, "binary")

    assert arrived.headers["ce-owner"] == "Zo%C3%AB%20%22Z%22%20100%25"
    assert arrived.headers["ce-source"] == "/cluster"


@pytest.mark.parametrize(
    "document",
    [
        plain(id="1", owner="alice", message="done", job=JOB, data={"x": [1]}),
        plain(id="1", time="2026-01-02T03:04:05Z", source="/cluster", tenant="blue"),
        plain(id="1", job=JOB, data_base64="AP8="),
    ],
)
async def test_a_plain_event_goes_out_as_it_may_come_in(
    egress: Egress, receiver: Receiver, document: dict[str, object]
) -> None:
    event = read(document)
    arrived = await sent(egress, receiver, event, "plain")

    assert arrived.headers["content-type"] == "application/json"
    assert arrived.event.items() >= document.items()
    assert read(arrived.body).document == event.document


async def test_a_cloudevent_in_plain_form_has_all_its_data(egress: Egress, receiver: Receiver) -> None:
    arrived = await sent(egress, receiver, read(cloudevent(data={"exit_code": 0, "message": "bye"})), "plain")

    assert (arrived.event["event"], arrived.event["job_id"]) == ("FINISHED", "job-1")
    assert (arrived.event["data"], arrived.event["message"]) == ({"exit_code": 0, "message": "bye"}, "bye")
    assert "job" not in arrived.event


async def test_a_cloudevent_in_plain_form_has_its_bytes_and_may_be_published_again(
    egress: Egress, receiver: Receiver
) -> None:
    event = read(cloudevent(data_base64="AP8=", datacontenttype="application/octet-stream"))
    arrived = await sent(egress, receiver, event, "plain")

    assert arrived.event["data_base64"] == "AP8="
    assert "data" not in arrived.event
    again = await sent(egress, receiver, read(arrived.body), "plain")
    assert again.event["data_base64"] == "AP8="


@pytest.mark.parametrize("form", ["cloudevents", "binary", "plain"])
async def test_every_form_is_signed(egress: Egress, receiver: Receiver, form: str) -> None:
    arrived = await sent(egress, receiver, make_event(), form)

    assert Webhook(SECRET).verify(arrived.body, arrived.headers) == msgspec.json.decode(arrived.body)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"format": "binary", "body": {}}, "target.format"),
        ({"format": "plain", "method": "GET"}, "target.format"),
        ({"format": "binary", "headers": {"CE-Id": "x"}}, "target.headers.CE-Id"),
        ({"format": "binary", "headers": {"Content-Type": "x"}}, "target.headers.Content-Type"),
        (
            {"format": "binary", "auth": {"type": "header", "name": "ce-id", "value": "x"}},
            "target.auth.name",
        ),
    ],
)
def test_what_a_form_sets_itself_is_refused(fields: dict[str, object], field: str) -> None:
    target = msgspec.convert({"kind": "webhook", "url": "https://example.org/"} | fields, WebhookTarget)
    with pytest.raises(InvalidInput) as refused:
        WebhookKind(Egress(Guard())).check(target)

    assert refused.value.field == field


async def test_a_content_type_of_ones_own_stands_beside_a_form(egress: Egress, receiver: Receiver) -> None:
    own = {"Content-Type": "application/vnd.site+json"}
    arrived = await sent(egress, receiver, make_event(), "plain", headers=own)

    assert arrived.headers["content-type"] == "application/vnd.site+json"


def test_a_form_that_no_plugin_brings_is_refused() -> None:
    document = {"kind": "webhook", "url": "https://example.org/", "format": "pigeon"}
    kind = WebhookKind(Egress(Guard()))
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'pigeon'"):
        msgspec.convert(document, kind.spec)
    with pytest.raises(InvalidInput, match="expected one of cloudevents, binary, plain, got 'pigeon'"):
        kind.check(msgspec.convert(document, WebhookTarget))
