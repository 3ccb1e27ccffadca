"""Webhooks that post into our own intake: an event goes round a few times and is then refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.hops import MAX_HOPS, hops_in, outgoing
from dispatcher.domain.ids import new_id
from dispatcher.intake import decode as decode_module
from dispatcher.intake.decode import Message
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from dispatcher.telemetry.log_limit import LogLimit
from dispatcher.telemetry.metrics import LOOPS
from tests.api.conftest import LOOPBACK
from tests.factories import make_subscription
from tests.intake.messages import cloudevent, decoded, plain, read
from tests.receiver import Receiver


async def test_an_event_that_a_webhook_sends_back_is_refused_after_a_few_rounds() -> None:
    egress = Egress(Guard([LOOPBACK]), timeout=5)
    template = {"body": {"event": "${EVENT}", "job_id": "${JOB_ID}"}}
    for fields in (template, {"format": "plain"}, {"format": "binary"}, {}):
        async with Receiver() as receiver:
            event = read(plain())
            for _ in range(MAX_HOPS):
                event = await _sent_back(egress, receiver, event, fields)
            with pytest.raises(InvalidInput, match="a subscription sends its events back here"):
                await _sent_back(egress, receiver, event, fields)
    await egress.close()


async def _sent_back(egress: Egress, receiver: Receiver, event: Event, fields: dict[str, Any]) -> Event:
    """The event that our own API makes of a delivery of this one."""
    document = {"kind": "webhook", "url": receiver.url} | fields
    sender = WebhookKind(egress).sender(make_subscription(target=document))
    answer = await sender.send(event, new_id("dlv"), 1)
    assert answer.error is None
    arrived = receiver.arrived[-1]
    (found,) = decoded(
        Message(
            origin="http",
            body=arrived.body,
            content_type=arrived.headers["content-type"],
            headers=arrived.headers,
            hops=hops_in(arrived.headers),
        )
    )
    return found


def test_an_event_that_comes_for_the_first_time_goes_on_as_it_came() -> None:
    body = msgspec.json.encode(cloudevent())
    event = read(body)
    assert event.document == body
    assert outgoing(event.document) == 1


@pytest.mark.parametrize("document", [plain(), cloudevent()])
def test_the_document_counts_on(document: dict[str, object]) -> None:
    event = read(document, hops=2)
    assert event.decoded["dispatcherhops"] == 3
    assert outgoing(event.document) == 3
    again = read(event.document, hops=1)
    assert (again.decoded["dispatcherhops"], again.data) == (4, event.data)


def test_hops_in_the_data_of_an_event_count_nothing() -> None:
    assert outgoing(read(plain(data={"dispatcherhops": 9})).document) == 1


@pytest.mark.parametrize("said", ["", "x", "-3", "1.5", "9" * 5000, True, None, "\u0663"])
def test_hops_that_are_no_number_count_nothing(said: object) -> None:
    document = read(cloudevent(dispatcherhops=said) if said is not None else cloudevent()).document
    assert outgoing(document) in (1, 2)


def test_the_highest_number_of_several_headers_counts() -> None:
    assert hops_in({"dispatcher-hops": "0, 4", "Dispatcher-HOPS": "2"}) == 4


def test_too_many_hops_are_counted_and_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "_log_limit", LogLimit(60))
    before = LOOPS.labels("amqp")._value.get()
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(InvalidInput, match="dispatcherhops: expected an event that passed"):
                read(cloudevent(dispatcherhops=MAX_HOPS + 1))
    assert LOOPS.labels("amqp")._value.get() == before + 3
    assert [line["event"] for line in lines] == ["a subscription delivers to this service itself"]


def test_a_target_may_not_set_the_count_itself() -> None:
    kind = WebhookKind(Egress(Guard([LOOPBACK]), timeout=5))
    document = {"kind": "webhook", "url": "http://127.0.0.1:1/", "headers": {"Dispatcher-Hops": "0"}}
    with pytest.raises(InvalidInput):
        kind.check(msgspec.convert(document, WebhookTarget))
