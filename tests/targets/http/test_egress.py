"""Which transport requests leave by."""

from __future__ import annotations

from dispatcher.domain.ids import new_id
from dispatcher.http import HttpClient
from dispatcher.http.aiohttp_transport import AiohttpTransport
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind
from tests.factories import make_event, make_subscription
from tests.http.proxy import proxy
from tests.http.requests import on_port
from tests.receiver import Receiver


async def test_a_proxy_chooses_the_transport_of_every_client() -> None:
    direct, proxied = Egress(Guard()), Egress(Guard(), proxy="http://proxy.example.org:3128")

    assert isinstance(direct.exchange, HttpClient)
    assert isinstance(direct.client(1), HttpClient)
    assert isinstance(proxied.exchange, AiohttpTransport)
    assert isinstance(proxied.client(1), AiohttpTransport)


async def test_a_webhook_is_delivered_signed_through_the_proxy(receiver: Receiver) -> None:
    async with proxy({"hook.example": "127.0.0.1"}) as running:
        kind = WebhookKind(Egress(Guard(), proxy=running.url))
        url = on_port(receiver, "hook.example")
        sender = kind.sender(make_subscription(target={"kind": "webhook", "url": url}))
        event = make_event()
        result = await sender.send(event, new_id("dlv"), 1)
        await kind.close()

    (arrived,) = receiver.arrived
    assert result.error is None
    assert running.asked == [f"POST {url}"]
    assert arrived.body == event.document
    assert arrived.headers["webhook-signature"].startswith("v1,")
    assert arrived.headers["content-type"] == "application/cloudevents+json"
