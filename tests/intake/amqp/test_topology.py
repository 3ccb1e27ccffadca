"""Exchanges as others declare them, and what of them the bindings of the settings let in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aio_pika
import msgspec
import pytest
from aio_pika import ExchangeType
from structlog.testing import capture_logs

from dispatcher.domain.errors import SettingsError
from tests.intake.consuming import EXCHANGE, QUEUE, Consuming, channel, plain, publish
from tests.servers import Broker


async def declared(url: str, kind: ExchangeType, **arguments: Any) -> None:
    async with channel(url) as opened:
        await opened.declare_exchange(EXCHANGE, kind, **arguments)


async def arriving(
    url: str, sent: Sequence[tuple[str, dict[str, Any]]], exchange: str = EXCHANGE
) -> list[bool]:
    """Of messages with these routing keys and headers: whether each has a queue to go to."""
    found = []
    async with await aio_pika.connect(url) as connection:
        opened = await connection.channel(on_return_raises=True)
        source = await opened.get_exchange(exchange)
        for number, (key, headers) in enumerate(sent):
            message = aio_pika.Message(msgspec.json.encode(plain(f"{number}")), headers=headers)
            try:
                await source.publish(message, key, mandatory=True)
            except aio_pika.exceptions.PublishError:
                found.append(False)
            else:
                found.append(True)
    return found


async def refusal(url: str, **topology: Any) -> str:
    run = Consuming(url, **topology)
    with pytest.raises(SettingsError) as caught:
        await run.consumer.run()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "difference"),
    [
        (ExchangeType.TOPIC, {"durable": False}, "durable"),
        (
            ExchangeType.TOPIC,
            {"durable": True, "arguments": {"alternate-exchange": "ae"}},
            "alternate-exchange",
        ),
        (ExchangeType.FANOUT, {"durable": True}, "type"),
        (ExchangeType.HEADERS, {"durable": True}, "type"),
    ],
    ids=["transient", "alternate exchange", "fanout", "headers"],
)
async def test_an_exchange_that_others_declared_is_used_as_it_is(
    amqp_url: str, kind: ExchangeType, arguments: dict[str, Any], difference: str
) -> None:
    await declared(amqp_url, kind, **arguments)
    with capture_logs() as lines:
        async with Consuming(amqp_url) as run:
            await publish(amqp_url, "a")
            assert await run.store.holds(1) == ["a"]
    (said,) = [line["declared_by_others"] for line in lines if line["event"] == "using the exchange as it is"]
    assert f"inequivalent arg '{difference}' for exchange '{EXCHANGE}'" in said


@pytest.mark.parametrize("exchange", ["amq.topic", "amq.fanout", "amq.headers"])
async def test_an_exchange_that_every_broker_has_is_used(amqp_url: str, exchange: str) -> None:
    async with Consuming(amqp_url, exchange=exchange) as run:
        assert await arriving(amqp_url, [("any", {})], exchange) == [True]
        assert await run.store.holds(1) == ["0"]


async def test_an_exchange_that_may_not_be_declared_is_used_when_it_is_there(
    rabbitmq: Broker, amqp_url: str
) -> None:
    await declared(amqp_url, ExchangeType.TOPIC, durable=True)
    rights = f"/permissions{urlsplit(amqp_url).path}/{quote(rabbitmq.user)}"
    await rabbitmq.api("PUT", rights, {"configure": f"^{QUEUE}", "write": f"^{QUEUE}", "read": ".*"})
    async with Consuming(amqp_url) as run:
        assert run.consumer.error is None


async def test_an_exchange_that_may_not_be_declared_and_is_missing_ends_the_start(
    rabbitmq: Broker, amqp_url: str
) -> None:
    rights = f"/permissions{urlsplit(amqp_url).path}/{quote(rabbitmq.user)}"
    await rabbitmq.api("PUT", rights, {"configure": f"^{QUEUE}", "write": ".*", "read": ".*"})
    assert f"amqp.exchange: access to the exchange {EXCHANGE} refused by the broker" in await refusal(
        amqp_url
    )
    assert "'amq.own'" in await refusal(amqp_url, exchange="amq.own")


async def test_only_what_a_binding_names_comes_in(amqp_url: str) -> None:
    async with Consuming(amqp_url, bindings=["job.#", "*.FINISHED"]) as run:
        keys = ["job.a.RUNNING", "task.FINISHED", "task.RUNNING", "job"]
        assert await arriving(amqp_url, [(key, {}) for key in keys]) == [True, True, False, True]
        assert await run.store.holds(3) == ["0", "1", "3"]


@pytest.mark.parametrize("there", [True, False])
async def test_a_direct_exchange_is_bound_with_routing_keys(amqp_url: str, there: bool) -> None:
    if there:
        await declared(amqp_url, ExchangeType.DIRECT, durable=True)
    kind = "topic" if there else "direct"
    async with Consuming(amqp_url, exchange_type=kind, bindings=["FINISHED", "FAILED"]):
        keys = ["FINISHED", "RUNNING", "FAILED", "FINISHED.late"]
        assert await arriving(amqp_url, [(key, {}) for key in keys]) == [True, False, True, False]


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        (["kind=job&site=a"], [True, False, False, False]),
        (["kind=job&site=a&x-match=any"], [True, True, False, False]),
        (["kind=job&site=a", "site=b%26c"], [True, False, True, False]),
        (["#"], [True, True, True, True]),
    ],
)
async def test_a_headers_exchange_is_bound_with_headers(
    amqp_url: str, bindings: list[str], expected: list[bool]
) -> None:
    async with Consuming(amqp_url, exchange_type="headers", bindings=bindings):
        sent = [{"kind": "job", "site": "a"}, {"kind": "job"}, {"site": "b&c"}, {"kind": "invoice"}]
        assert await arriving(amqp_url, [("", headers) for headers in sent]) == expected


@pytest.mark.parametrize(
    ("kind", "bindings", "problem"),
    [
        ("direct", ["#"], "of the type direct, which has no patterns: expected the routing keys"),
        ("headers", ["job.#"], "expected headers and their values such as kind=job&x-match=any, got 'job.#'"),
        ("headers", ["kind=job&x-match=some"], "refused by the broker: PRECONDITION_FAILED"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
async def test_a_binding_that_the_exchange_cannot_have_ends_the_start(
    amqp_url: str, there: bool, kind: str, bindings: list[str], problem: str
) -> None:
    if there:
        await declared(amqp_url, ExchangeType(kind), durable=True)
    said = await refusal(amqp_url, exchange_type="topic" if there else kind, bindings=bindings)
    assert said.startswith("amqp.bindings: ")
    assert problem in said
    assert "delete it" not in said
