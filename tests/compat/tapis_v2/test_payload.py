"""The payload of Tapis v2: the job document, with the headers that its receivers know."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from dispatcher.compat.tapis_v2.ids import attempt_of, subscription_id
from dispatcher.compat.tapis_v2.payload import FORMAT
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind
from tests.factories import SECRET, make_event, make_subscription
from tests.intake.messages import plain, read
from tests.receiver import Arrived, Receiver

DELIVERY = new_id("dlv")
FORMATS = {"tapis": FORMAT}
JOB = {"id": "job-1", "name": "fold", "owner": "alice", "status": "RUNNING", "archive": False}


async def sent(egress: Egress, receiver: Receiver, event: Event) -> Arrived:
    """The request that a delivery of this event makes, at its second attempt."""
    target = {"kind": "webhook", "url": receiver.url, "format": "tapis"}
    sender = WebhookKind(egress, FORMATS).sender(make_subscription(target=target))
    answer = await sender.send(event, DELIVERY, 2)
    assert answer.error is None
    return receiver.arrived[-1]


async def test_receivers_get_the_job_and_the_headers_of_agave(egress: Egress, receiver: Receiver) -> None:
    arrived = await sent(egress, receiver, read(plain(job=JOB)))

    assert arrived.event == JOB | {"status": "FINISHED"}
    assert arrived.headers["content-type"] == "application/json"
    assert attempt_of(arrived.headers["x-agave-delivery"]) == (DELIVERY, 2)
    assert arrived.headers["x-agave-delivery"].endswith("-0002-042")
    assert subscription_id(arrived.headers["x-agave-notification"]) is not None
    assert arrived.headers["x-agave-notification"].endswith("-0001-011")


async def test_a_job_without_a_document_has_what_is_known_of_it(egress: Egress, receiver: Receiver) -> None:
    arrived = await sent(egress, receiver, read(plain(owner="alice")))

    assert arrived.event == {"id": "job-1", "owner": "alice", "status": "FINISHED"}


async def test_it_is_signed(egress: Egress, receiver: Receiver) -> None:
    arrived = await sent(egress, receiver, make_event())

    assert Webhook(SECRET).verify(arrived.body, arrived.headers) == msgspec.json.decode(arrived.body)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"method": "GET"}, "target.format"),
        ({"headers": {"X-Agave-Delivery": "x"}}, "target.headers.X-Agave-Delivery"),
    ],
)
def test_what_it_sets_itself_is_refused(fields: dict[str, Any], field: str) -> None:
    kind = WebhookKind(Egress(Guard()), FORMATS)
    document = {"kind": "webhook", "url": "https://example.org/", "format": "tapis"} | fields
    with pytest.raises(InvalidInput) as refused:
        kind.check(msgspec.convert(document, kind.spec))

    assert refused.value.field == field
