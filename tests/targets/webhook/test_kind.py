from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from dispatcher import __version__
from dispatcher.client import verify
from dispatcher.domain.digests import DigestPolicy, Gathered
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.signing import new_secret, public_key
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from dispatcher.targets.webhook.sender import WebhookSender
from tests.factories import SECRET, make_event, make_subscription
from tests.http.servers import answering, hang, raw_server
from tests.receiver import Arrived, Receiver

DELIVERY = new_id("dlv")


def sender(egress: Egress, url: str, **fields: object) -> WebhookSender:
    """The sender of a subscription to this target, which passed the check."""
    kind = WebhookKind(egress)
    document = {"kind": "webhook", "url": url} | fields
    kind.check(msgspec.convert(document, WebhookTarget))
    return kind.sender(make_subscription(target=document))


async def sent(egress: Egress, receiver: Receiver, event: Event, /, **fields: object) -> Arrived:
    """The request that a delivery of this event makes."""
    path = fields.pop("path", "/")
    answer = await sender(egress, f"{receiver.url}{path}", **fields).send(event, DELIVERY, 1)
    assert answer.error is None
    return receiver.arrived[-1]


def answer_with(receiver: Receiver, make: Callable[[], web.Response]) -> None:
    async def answer(_: Arrived) -> web.Response:
        return make()

    receiver.answer = answer


# The request


async def test_by_default_the_event_is_posted_as_it_is_stored(egress: Egress, receiver: Receiver) -> None:
    event = make_event()
    arrived = await sent(egress, receiver, event, path="/%68ook/a%2Fb?x=%26+;,")

    assert (arrived.method, arrived.path) == ("POST", "/%68ook/a%2Fb?x=%26+;,")
    assert arrived.body == event.document
    assert arrived.headers["content-type"] == "application/cloudevents+json"
    assert arrived.headers["user-agent"] == f"Dispatcher/{__version__}"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", "/"),
        ("?a=1", "/?a=1"),
        ("/a//b/", "/a//b/"),
        ("/a?b=c?d=/e", "/a?b=c?d=/e"),
        ("/a?b#c?d", "/a?b"),
        ("/a#b?c", "/a"),
        ("/${EVENT}?${EVENT}#c", "/FINISHED?FINISHED"),
    ],
)
async def test_a_url_is_sent_as_it_is_written_without_its_fragment(
    egress: Egress, receiver: Receiver, written: str, path: str
) -> None:
    assert (await sent(egress, receiver, make_event(), path=written)).path == path


async def test_a_request_is_signed_by_standard_webhooks(egress: Egress, receiver: Receiver) -> None:
    event = make_event()
    arrived = await sent(egress, receiver, event)

    assert arrived.id == DELIVERY
    assert Webhook(SECRET).verify(arrived.body, arrived.headers) == msgspec.json.decode(event.document)


async def test_each_attempt_has_its_own_time_and_the_same_id(
    egress: Egress, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = sender(egress, receiver.url).send
    for moment in (1_700_000_000.9, 1_700_000_005.1):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        await send(make_event(), DELIVERY, 1)

    assert [arrived.id for arrived in receiver.arrived] == [DELIVERY, DELIVERY]
    assert [arrived.headers["webhook-timestamp"] for arrived in receiver.arrived] == [
        "1700000000",
        "1700000005",
    ]


@pytest.mark.parametrize(("ends_in", "signatures"), [(60, 2), (-60, 1)])
async def test_both_secrets_sign_until_the_rotation_ends(
    egress: Egress, receiver: Receiver, ends_in: int, signatures: int
) -> None:
    newest = new_secret()
    subscription = make_subscription(
        target={"kind": "webhook", "url": receiver.url},
        secrets=(newest, SECRET),
        previous_secret_until=datetime.now(UTC) + timedelta(seconds=ends_in),
    )
    await WebhookKind(egress).sender(subscription).send(make_event(), DELIVERY, 1)

    (arrived,) = receiver.arrived
    assert len(arrived.headers["webhook-signature"].split(" ")) == signatures
    Webhook(newest).verify(arrived.body, arrived.headers)


async def test_a_target_that_asks_for_it_gets_a_signature_for_its_public_key(
    egress: Egress, receiver: Receiver
) -> None:
    arrived = await sent(egress, receiver, make_event(), signature="v1a")

    now = float(arrived.headers["webhook-timestamp"])
    verify([public_key(SECRET)], arrived.headers, arrived.body, now)
    Webhook(SECRET).verify(arrived.body, arrived.headers)


async def test_variables_stand_in_url_headers_and_body(egress: Egress, receiver: Receiver) -> None:
    event = make_event(job_id="a/b", data={"name": 'say "hi" & go', "n": 3})
    arrived = await sent(
        egress,
        receiver,
        event,
        path="/jobs/$<JOB_ID>?status=${EVENT}&name=${JOB_NAME}",
        method="PUT",
        headers={"X-Job": "job ${JOB_ID}", "X-Same": "always"},
        body={"text": "${JOB_NAME}", "list": [1, "${data.n}"]},
    )

    assert arrived.method == "PUT"
    assert arrived.path == "/jobs/a%2Fb?status=FINISHED&name=say%20%22hi%22%20%26%20go"
    assert arrived.headers["x-job"] == "job a/b"
    assert arrived.headers["x-same"] == "always"
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.event == {"text": 'say "hi" & go', "list": [1, "3"]}
    assert Webhook(SECRET).verify(arrived.body, arrived.headers)


@pytest.mark.parametrize(
    ("fields", "body", "content_type"),
    [
        ({"body": "${JOB_ID} is ${EVENT}"}, b"job-1 is FINISHED", "text/plain; charset=utf-8"),
        ({"body": "plain"}, b"plain", "text/plain; charset=utf-8"),
        ({"body": ""}, b"", "text/plain; charset=utf-8"),
        ({"body": ["${EVENT}"]}, b'["FINISHED"]', "application/json"),
        ({"body": {}}, b"{}", "application/json"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, b"<a/>", "text/xml"),
        ({"body": "x", "headers": {"Content-TYPE": "text/${EVENT}"}}, b"x", "text/FINISHED"),
    ],
)
async def test_a_body_of_ones_own_is_json_or_text(
    egress: Egress, receiver: Receiver, fields: dict[str, object], body: bytes, content_type: str
) -> None:
    arrived = await sent(egress, receiver, make_event(), **fields)

    assert (arrived.body, arrived.headers["content-type"]) == (body, content_type)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_carry_no_body(egress: Egress, receiver: Receiver, method: str) -> None:
    arrived = await sent(egress, receiver, make_event(), method=method)

    assert (arrived.method, arrived.body) == (method, b"")
    assert "content-type" not in arrived.headers
    signature = Webhook(SECRET).sign(
        DELIVERY, datetime.fromtimestamp(int(arrived.headers["webhook-timestamp"]), UTC), ""
    )
    assert arrived.headers["webhook-signature"] == signature


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"type": "bearer", "token": "hunter22"}, "authorization", "Bearer hunter22"),
        (
            {"type": "basic", "user": "ann", "password": "p:ä"},
            "authorization",
            "Basic " + base64.b64encode("ann:p:ä".encode()).decode(),
        ),
        ({"type": "header", "name": "X-Api", "value": "hunter22"}, "x-api", "hunter22"),
    ],
)
async def test_credentials_go_into_their_header(
    egress: Egress, receiver: Receiver, auth: dict[str, str], name: str, value: str
) -> None:
    assert (await sent(egress, receiver, make_event(), auth=auth)).headers[name] == value


# The answer


async def test_a_delivered_event_says_what_was_asked_and_answered(egress: Egress, receiver: Receiver) -> None:
    answer_with(receiver, lambda: web.Response(status=201, text="thanks"))
    answer = await sender(egress, receiver.url + "/jobs/${JOB_ID}").send(make_event(), DELIVERY, 1)

    assert answer == AttemptResult(request_line=f"POST {receiver.url}/jobs/job-1", status=201, body="thanks")


async def test_a_receiver_is_judged_by_what_success_says(egress: Egress, receiver: Receiver) -> None:
    answer_with(receiver, lambda: web.json_response({"success": False}))
    send = sender(egress, receiver.url, success={"status": [200], "json": {"success": True}}).send

    assert (await send(make_event(), DELIVERY, 1)).error == (
        "the answer's body does not have the wanted value in success"
    )
    answer_with(receiver, lambda: web.json_response({"success": True}))
    assert (await send(make_event(), DELIVERY, 1)).error is None


async def test_a_full_receiver_says_when_to_come_again(egress: Egress, receiver: Receiver) -> None:
    answer_with(receiver, lambda: web.Response(status=429, headers={"Retry-After": "120"}))
    answer = await sender(egress, receiver.url).send(make_event(), DELIVERY, 1)

    assert (answer.error, answer.retry_after) == ("answered 429 Too Many Requests", 120)


async def test_a_receiver_that_is_gone_disables_the_subscription(egress: Egress, receiver: Receiver) -> None:
    answer_with(receiver, lambda: web.Response(status=410))

    assert (await sender(egress, receiver.url).send(make_event(), DELIVERY, 1)).disable_subscription


async def test_no_answer_is_a_failure_that_can_be_tried_again(hasty: Egress) -> None:
    async with raw_server(answering(then=hang)) as url:
        answer = await sender(hasty, url).send(make_event(), DELIVERY, 1)

    assert answer == AttemptResult(request_line=f"POST {url}", error="no answer within 0.3 s")


async def test_a_connection_without_an_answer_is_worth_an_early_retry(egress: Egress) -> None:
    async with raw_server(answering()) as url:
        answer = await sender(egress, url).send(make_event(), DELIVERY, 1)

    assert answer.retry_early


@pytest.mark.parametrize(
    ("fields", "event", "problem"),
    [
        ({"url": "/jobs/${JOB_ID}"}, {"job_id": ".."}, "JOB_ID"),
        ({"url": "/", "headers": {"X-A": "${JOB_NAME}"}}, {"data": {"name": "a\r\nX-B: c"}}, "JOB_NAME"),
    ],
)
async def test_a_value_that_cannot_stand_where_it_should_ends_the_delivery(
    egress: Egress, receiver: Receiver, fields: dict[str, object], event: dict[str, object], problem: str
) -> None:
    url = receiver.url + str(fields.pop("url"))
    answer = await sender(egress, url, **fields).send(make_event(**event), DELIVERY, 1)

    assert answer.permanent
    assert answer.error is not None
    assert problem in answer.error
    assert answer.request_line == f"POST {url}"
    assert receiver.arrived == []


async def test_a_form_whose_headers_cannot_be_sent_ends_the_delivery(
    egress: Egress, receiver: Receiver
) -> None:
    event = make_event(document=b'{"specversion":"1.0","data":1,"datacontenttype":"text/plain\\r\\nX: y"}')

    answer = await sender(egress, receiver.url, format="binary").send(event, DELIVERY, 1)

    assert answer.permanent
    assert answer.error is not None
    assert "Content-Type" in answer.error
    assert receiver.arrived == []


async def test_a_header_of_the_targets_own_takes_the_place_of_the_forms(
    egress: Egress, receiver: Receiver
) -> None:
    headers = {"content-type": "application/x-job+json"}
    arrived = await sent(egress, receiver, make_event(), format="plain", headers=headers)

    assert arrived.headers["content-type"] == "application/x-job+json"


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "${data.a}" * 10_000},
        {"body": {"many": ["${data.a}"] * 5_000}},
        {"headers": {f"X-{number}": "${data.a}" * 900 for number in range(8)}},
    ],
)
async def test_a_template_that_repeats_a_long_value_is_not_filled(
    egress: Egress, receiver: Receiver, fields: dict[str, object]
) -> None:
    event = make_event(data={"a": "x" * 10_000})

    answer = await sender(egress, receiver.url, **fields).send(event, DELIVERY, 1)

    assert answer.error is not None
    assert answer.permanent
    assert "data.a" in answer.error
    assert receiver.arrived == []


# Secrets


async def test_credentials_stay_out_of_answers_although_the_receiver_repeats_them(
    egress: Egress, receiver: Receiver
) -> None:
    async def echo(arrived: Arrived) -> web.Response:
        return web.Response(status=400, text=f"{arrived.path} {arrived.headers} hunter44")

    receiver.answer = echo
    send = sender(
        egress,
        receiver.url + "/?job=${JOB_ID}&token=hunter22",
        headers={"X-Api-Key": "hunter33"},
        auth={"type": "basic", "user": "ann", "password": "hunter44"},
    )
    answer = await send.send(make_event(), DELIVERY, 1)

    assert answer.request_line == f"POST {receiver.url}/?job=job-1&token=***"
    assert answer.body is not None
    assert "job=job-1" in answer.body
    assert base64.b64encode(b"ann:hunter44").decode() not in answer.body
    assert "hunter" not in repr(answer)


async def test_credentials_stay_out_of_a_failure_to_render(egress: Egress) -> None:
    send = sender(egress, "http://127.0.0.1/${JOB_ID}?token=hunter22").send

    assert "hunter" not in repr(await send(make_event(job_id=".."), DELIVERY, 1))


async def test_many_events_go_out_as_one_signed_batch_of_cloudevents(
    egress: Egress, receiver: Receiver
) -> None:
    target = {"kind": "webhook", "url": f"{receiver.url}/${{JOB_ID}}"}
    send = WebhookKind(egress).sender(make_subscription(target=target, digest=DigestPolicy()))
    events = [make_event(event=name, job_id=f"job-{name}") for name in ("RUNNING", "FINISHED")]
    answer = await send.send_digest([Gathered(f"{DELIVERY}{n}", event) for n, event in enumerate(events)], 1)
    assert answer.error is None
    [arrived] = receiver.arrived
    assert arrived.path == "/job-RUNNING"
    assert arrived.headers["content-type"] == "application/cloudevents-batch+json"
    assert arrived.id == f"{DELIVERY}0"
    Webhook(SECRET).verify(arrived.body, arrived.headers)
    assert [one["subject"] for one in msgspec.json.decode(arrived.body)] == ["job-RUNNING", "job-FINISHED"]


@pytest.mark.parametrize("fields", [{"body": {"x": "${JOB_ID}"}}, {"format": "plain"}, {"method": "GET"}])
def test_only_what_is_a_cloudevent_can_be_gathered(egress: Egress, fields: dict[str, Any]) -> None:
    target = WebhookTarget(url="https://example.org/", **fields)
    with pytest.raises(InvalidInput, match="batch of CloudEvents"):
        WebhookKind(egress).check_digest(target)


async def test_a_value_in_a_form_adds_no_field(egress: Egress, receiver: Receiver) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    event = make_event(data={"name": "a&admin=1"})
    arrived = await sent(egress, receiver, event, body="job=${JOB_NAME}&s=${EVENT}", headers=form)

    assert arrived.body == b"job=a%26admin%3D1&s=FINISHED"


async def test_a_stored_template_that_is_refused_by_now_ends_its_delivery_with_the_reason(
    egress: Egress, receiver: Receiver
) -> None:
    document: dict[str, object] = {
        "kind": "webhook",
        "url": receiver.url,
        "body": "${JOB_NAME}=1",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    }
    old = WebhookKind(egress).sender(make_subscription(target=document))
    answer = await old.send(make_event(), DELIVERY, 1)

    assert answer.permanent
    assert "JOB_NAME stands in the name of a form's field" in (answer.error or "")
    assert receiver.arrived == []
