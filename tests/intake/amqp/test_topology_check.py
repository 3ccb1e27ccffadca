"""What happens when somebody deletes or changes the exchange, the binding or the queues while events are consumed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aio_pika
import pytest
from aio_pika import ExchangeType
from structlog.testing import capture_logs

from dispatcher.domain.errors import SettingsError
from dispatcher.intake.amqp import consumer as consumer_module
from dispatcher.intake.amqp import dead_letters as dead_letters_module
from dispatcher.intake.amqp import topology_check
from dispatcher.intake.amqp.topology import Topology
from dispatcher.intake.amqp.topology_check import TopologyCheck
from dispatcher.telemetry.metrics import AMQP_CONNECTED
from tests.intake.consuming import (
    DEAD,
    EXCHANGE,
    QUEUE,
    Consuming,
    channel,
    dead,
    dead_letters,
    publish,
    send,
    until,
)
from tests.intake.wire import Wire
from tests.servers import Broker

EVERY = 0.1


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(consumer_module, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(dead_letters_module, "_FIRST_PAUSE", 0.02)


def connected() -> float:
    return AMQP_CONNECTED._value.get()  # type: ignore[no-any-return]  # the library does not say


async def routed(url: str, key: str = "any") -> bool:
    """Whether an event that is published now has a queue to go to."""
    async with await aio_pika.connect(url) as connection:
        opened = await connection.channel(on_return_raises=True)
        try:
            exchange = await opened.get_exchange(EXCHANGE)
            await exchange.publish(aio_pika.Message(b'{"event":"PROBE","job_id":"j"}'), key, mandatory=True)
        except aio_pika.exceptions.AMQPError:
            return False
        return True


async def until_routed(url: str) -> None:
    async with asyncio.timeout(20):
        while not await routed(url):  # noqa: ASYNC110 - the broker does not say when
            await asyncio.sleep(0.01)


async def delete_binding(url: str) -> None:
    async with channel(url) as opened:
        queue = await opened.get_queue(QUEUE)
        await queue.unbind(EXCHANGE, "#")


async def delete_exchange(url: str) -> None:
    async with channel(url) as opened:
        await opened.exchange_delete(EXCHANGE)


async def delete_queue(url: str) -> None:
    async with channel(url) as opened:
        await opened.queue_delete(QUEUE)


async def delete_dead_letters(url: str) -> None:
    async with channel(url) as opened:
        await opened.exchange_delete(DEAD)
        await opened.queue_delete(DEAD)


@pytest.mark.parametrize("delete", [delete_binding, delete_exchange, delete_queue])
async def test_events_come_in_again_after_somebody_deleted_what_they_come_by(
    amqp_url: str, delete: Callable[[str], Awaitable[None]]
) -> None:
    async with Consuming(amqp_url, check_every=EVERY) as run:
        await delete(amqp_url)
        await until_routed(amqp_url)
        await until(lambda: run.consumer.error is None)
        await publish(amqp_url, "a")
        await until(lambda: "a" in run.store.ids)
        assert connected() == 1


async def test_the_bindings_of_the_settings_are_made_again(amqp_url: str) -> None:
    async with Consuming(amqp_url, check_every=EVERY, bindings=["job.#", "any"]):
        async with channel(amqp_url) as opened:
            queue = await opened.get_queue(QUEUE)
            await queue.unbind(EXCHANGE, "job.#")
            await queue.unbind(EXCHANGE, "any")
        await until_routed(amqp_url)  # by "any", which is made last
        assert await routed(amqp_url, "job.FINISHED")
        assert not await routed(amqp_url, "invoice.PAID")


async def test_what_was_deleted_is_said_and_that_it_was_declared_again(amqp_url: str) -> None:
    expected = {f"the exchange {EXCHANGE}", f"the exchange {DEAD}", f"the queue {DEAD}"}
    with capture_logs() as lines:
        async with Consuming(amqp_url, check_every=EVERY):
            await delete_exchange(amqp_url)
            await delete_dead_letters(amqp_url)
            await until(lambda: named(lines, "missing") == named(lines, "declared") == expected)


def named(lines: Sequence[MutableMapping[str, Any]], field: str) -> set[str]:
    """All that the lines of the log name in this field."""
    return {name for line in lines for name in line.get(field, ())}


async def test_dead_letters_have_a_place_again_after_somebody_deleted_it(amqp_url: str) -> None:
    before = dead_letters("malformed")
    async with Consuming(amqp_url):
        await send(amqp_url, b"poison 1")
        await dead(amqp_url)
        await delete_dead_letters(amqp_url)
        await send(amqp_url, b"poison 2")
        await until(lambda: dead_letters("malformed") == before + 2)
        (letter,) = await dead(amqp_url)
    assert letter.body == b"poison 2"


async def test_an_exchange_that_was_declared_with_another_type_is_named_until_it_is_right(
    amqp_url: str,
) -> None:
    with capture_logs() as lines:
        async with Consuming(amqp_url, check_every=EVERY) as run:
            async with channel(amqp_url) as opened:
                await opened.exchange_delete(EXCHANGE)
                await opened.declare_exchange(EXCHANGE, ExchangeType.DIRECT, durable=True)
            await until(lambda: run.consumer.error is not None)
            assert f"amqp.bindings: the exchange {EXCHANGE} is of the type direct" in str(run.consumer.error)
            assert connected() == 0
            await delete_exchange(amqp_url)
            await until(lambda: run.consumer.error is None)
            assert connected() == 1
            await publish(amqp_url, "a")
            await until(lambda: "a" in run.store.ids)
    said = [line["event"] for line in lines if line["event"] in ("the queue may receive no events", AGAIN)]
    assert said == ["the queue may receive no events", AGAIN]


AGAIN = "the exchange and queues are complete again"


async def test_rights_that_were_revoked_are_named_until_they_are_given_back(
    rabbitmq: Broker, amqp_url: str
) -> None:
    rights = f"/permissions{urlsplit(amqp_url).path}/{quote(rabbitmq.user)}"
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    async with Consuming(amqp_url, check_every=EVERY) as run:
        await rabbitmq.api("PUT", rights, everything | {"configure": "^$"})
        await until(lambda: "refused by the broker" in str(run.consumer.error))
        await rabbitmq.api("PUT", rights, everything)
        await until(lambda: run.consumer.error is None)


async def test_a_virtual_host_that_was_deleted_is_named_until_it_is_back(
    rabbitmq: Broker,
) -> None:
    url = await rabbitmq.create_vhost()
    async with Consuming(url, check_every=EVERY) as run:
        await rabbitmq.delete_vhost(url)
        await until(lambda: "virtual host" in str(run.consumer.error))
        assert connected() == 0
        path = urlsplit(url).path
        await rabbitmq.api("PUT", f"/vhosts{path}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await rabbitmq.api("PUT", f"/permissions{path}/{quote(rabbitmq.user)}", everything)
        await until(lambda: run.consumer.error is None)
    await rabbitmq.delete_vhost(url)


async def test_what_is_not_ours_to_declare_is_named_while_it_is_missing(amqp_url: str) -> None:
    async with Consuming(amqp_url):
        pass  # declares it
    async with Consuming(amqp_url, check_every=EVERY, declare=False) as run:
        await publish(amqp_url, "a")
        assert await run.store.holds(1) == ["a"]
        await delete_exchange(amqp_url)
        await until(lambda: run.consumer.error is not None)
        assert f"amqp.declare: the exchange {EXCHANGE} is missing at the broker" in str(run.consumer.error)
        async with channel(amqp_url) as opened:
            exchange = await opened.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
            await (await opened.get_queue(QUEUE)).bind(exchange, "#")
        await until(lambda: run.consumer.error is None)


async def test_a_start_that_may_not_declare_names_all_that_is_missing(amqp_url: str) -> None:
    run = Consuming(amqp_url, declare=False)
    with pytest.raises(SettingsError) as caught:
        await run.consumer.run()
    for name in (
        f"the exchange {EXCHANGE}",
        f"the exchange {DEAD}",
        f"the queue {QUEUE}",
        f"the queue {DEAD}",
    ):
        assert name in str(caught.value)


async def test_a_check_whose_connection_was_lost_makes_a_new_one_and_reports_nothing(amqp_url: str) -> None:
    reports: list[str | None] = []
    async with Consuming(amqp_url), Wire(amqp_url) as wire:
        check = TopologyCheck(wire.url, Topology(exchange=EXCHANGE, queue=QUEUE), reports.append, EVERY)
        checking = asyncio.create_task(check.run())
        for count in range(1, 4):
            reports.clear()
            await until(lambda: len(reports) > 1)
            assert not any(reports)
            assert wire.connections == count
            wire.cut()
        checking.cancel()
        await asyncio.wait({checking})


async def test_a_broker_that_does_not_answer_a_check_is_named(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology_check, "_ANSWER_SECONDS", 0.0)
    async with Consuming(amqp_url, check_every=EVERY) as run:
        await until(lambda: "did not answer" in str(run.consumer.error))
        monkeypatch.setattr(topology_check, "_ANSWER_SECONDS", 20.0)
        await until(lambda: run.consumer.error is None)


async def test_an_internal_error_in_a_check_ends_neither_the_checks_nor_the_consumer(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_: object) -> list[str]:
        raise ZeroDivisionError("division by zero")

    async with Consuming(amqp_url, check_every=EVERY) as run:
        monkeypatch.setattr(topology_check, "missing", faulty)
        await until(lambda: "ZeroDivisionError" in str(run.consumer.error))
        monkeypatch.undo()
        await until(lambda: run.consumer.error is None)
        await send(amqp_url, b'{"event":"A","job_id":"j"}', message_id="m")
        await until(lambda: bool(run.store.ids))
