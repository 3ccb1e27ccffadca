"""The consumer on a real broker: what it declares, acknowledges, sets aside, and how it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from dispatcher.client import Publisher
from dispatcher.domain.errors import SettingsError, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake.amqp import channel_session
from dispatcher.intake.amqp import consumer as consumer_module
from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.amqp.topology import DELIVERY_LIMIT, Topology
from dispatcher.intake.decode import Message, decode
from tests.intake.consuming import (
    DEAD,
    EXCHANGE,
    QUEUE,
    Consuming,
    channel,
    consumers,
    dead,
    dead_letters,
    plain,
    publish,
    send,
    until,
    waiting,
)
from tests.intake.doubles import Running
from tests.intake.wire import Wire
from tests.servers import Broker, RabbitMQ


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(consumer_module, "LONGEST_PAUSE", 0.1)


async def send_large(url: str, count: int) -> None:
    """Publish events that take some 100 KiB each."""
    async with Publisher.amqp(url) as publisher:
        padding = {"padding": "x" * 100_000}
        await publisher.publish_many(plain(f"large-{n}") | {"data": padding} for n in range(count))


async def send_changed(
    url: str, body: bytes, properties: Basic.Properties, change: tuple[bytes, bytes]
) -> None:
    """Publish something that the library would refuse to write: its bytes are changed on their way."""
    async with channel(url) as opened:
        sender = await opened.get_underlay_channel()
        frame = ChannelFrame.marshall(
            frames=[
                Basic.Publish(exchange=EXCHANGE, routing_key="changed"),
                ContentHeader(properties=properties, body_size=len(body)),
                ContentBody(body),
            ],
            channel_number=sender.number,
        )
        assert frame.payload.count(change[0]) == 1
        changed = ChannelFrame(payload=frame.payload.replace(*change), should_close=False, drain_future=None)
        await sender.connection.write_queue.put(changed)
        await opened.declare_queue(QUEUE, passive=True)  # answered after the broker has the message


async def test_it_declares_what_it_consumes_and_where_its_dead_letters_go(
    rabbitmq: Broker, amqp_url: str
) -> None:
    async with Consuming(amqp_url):
        vhost = urlsplit(amqp_url).path
        intake: Any = await rabbitmq.api("GET", f"/queues{vhost}/{QUEUE}")
        letters: Any = await rabbitmq.api("GET", f"/queues{vhost}/{DEAD}")
        exchange: Any = await rabbitmq.api("GET", f"/exchanges{vhost}/{EXCHANGE}")
        bindings: Any = await rabbitmq.api("GET", f"/bindings{vhost}/e/{EXCHANGE}/q/{QUEUE}")
    assert intake["arguments"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert letters["arguments"] == {"x-queue-type": "quorum"}
    assert (exchange["type"], exchange["durable"]) == ("topic", True)
    assert [binding["routing_key"] for binding in bindings] == ["#"]


async def test_messages_are_stored_in_their_order_and_acknowledged(amqp_url: str) -> None:
    names = [f"e-{n}" for n in range(500)]
    async with Consuming(amqp_url, prefetch=50) as run:
        await publish(amqp_url, *names)
        assert await run.store.holds(500) == names
    assert await waiting(amqp_url) == 0


async def test_a_message_is_not_acknowledged_before_it_is_stored(amqp_url: str) -> None:
    async with Consuming(amqp_url) as run:
        run.store.open.clear()
        await publish(amqp_url, "a", "b", "c")
        await run.store.entered.wait()
        await until(lambda: run.intake.waiting == 3)
        await run.consumer.stop(0.05)
        assert await waiting(amqp_url) == 3
        run.store.open.set()


async def test_messages_stay_with_the_broker_while_the_store_cannot_be_reached(amqp_url: str) -> None:
    def unavailable(_: Sequence[Event]) -> None:
        raise StoreUnavailable("the database is being restarted")

    async with Consuming(amqp_url) as run:
        run.store.fault = unavailable
        await publish(amqp_url, "a", "b")
        await run.store.entered.wait()
        run.store.fault = lambda _: None
        assert await run.store.holds(2) == ["a", "b"]
    assert await waiting(amqp_url) == 0


async def test_no_more_messages_than_the_prefetch_are_taken(amqp_url: str) -> None:
    async with Consuming(amqp_url, prefetch=2) as run:
        run.store.open.clear()
        await publish(amqp_url, "a", "b", "c", "d")
        await until(lambda: run.intake.waiting == 2)
        assert await waiting(amqp_url) == 2
        run.store.open.set()
        await run.store.holds(4)


async def test_a_stop_acknowledges_what_was_being_stored(amqp_url: str) -> None:
    async with Consuming(amqp_url) as run:
        run.store.open.clear()
        await publish(amqp_url, "a", "b")
        await until(lambda: run.intake.waiting == 2)
        stopping = asyncio.create_task(run.consumer.stop(10))
        await publish(amqp_url, "late")
        run.store.open.set()
        await stopping
        assert run.store.ids[:2] == ["a", "b"]
        assert await waiting(amqp_url) == 3 - len(run.store.ids)


async def test_what_cannot_be_understood_is_set_aside_and_the_next_one_is_handled(amqp_url: str) -> None:
    before = dead_letters("malformed"), dead_letters("invalid")
    async with Consuming(amqp_url) as run:
        await publish(amqp_url, "a")
        await send(amqp_url, b"not json", "poison.one")
        await send(amqp_url, b'{"event":"FINISHED"}', "poison.two", headers={"site": "x"}, priority=3)
        await publish(amqp_url, "b")
        assert await run.store.holds(2) == ["a", "b"]
        letters = {letter.routing_key: letter for letter in await dead(amqp_url, 2)}
    assert await waiting(amqp_url) == 0
    one, two = letters["poison.one"], letters["poison.two"]
    assert one.body == b"not json"
    assert str(one.headers["x-dispatcher-reason"]).startswith("expected valid JSON")
    assert two.headers["x-dispatcher-reason"] == "expected the id of the job"
    assert two.headers["x-dispatcher-field"] == "job_id"
    assert two.headers["x-dispatcher-exchange"] == EXCHANGE
    assert two.headers["x-dispatcher-routing-key"] == "poison.two"
    assert datetime.fromisoformat(str(two.headers["x-dispatcher-time"])).tzinfo is not None
    assert (two.headers["site"], two.priority) == ("x", 3)
    after = dead_letters("malformed"), dead_letters("invalid")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


async def test_an_internal_error_sets_its_message_aside_and_nothing_else(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(message: Message, **options: Any) -> list[Event]:
        if b"trigger" in message.body:
            raise ZeroDivisionError("division by zero")
        return decode(message, **options)

    monkeypatch.setattr(channel_session, "decode", faulty)
    async with Consuming(amqp_url) as run:
        await publish(amqp_url, "a", "trigger", "b")
        assert await run.store.holds(2) == ["a", "b"]
        (letter,) = await dead(amqp_url)
    assert letter.headers["x-dispatcher-reason"] == "internal error: ZeroDivisionError('division by zero')"


async def test_a_dead_letter_does_not_expire_and_needs_no_rights_of_its_sender(amqp_url: str) -> None:
    async with Consuming(amqp_url):
        await send(amqp_url, b"", expiration=60, user_id="guest", reply_to="amq.rabbitmq.reply-to.x")
        (letter,) = await dead(amqp_url)
    assert (letter.expiration, letter.user_id, letter.reply_to) == (None, None, None)
    assert letter.headers["x-dispatcher-expiration"] == "60000"
    assert letter.headers["x-dispatcher-user-id"] == "guest"


async def test_a_dead_letter_may_have_headers_that_fill_a_frame(amqp_url: str) -> None:
    async with Consuming(amqp_url):
        await send(amqp_url, b"poison", headers={"h": "x" * 100_000})
        (letter,) = await dead(amqp_url)
    assert letter.body == b"poison"
    assert str(letter.headers["x-dispatcher-headers"]).startswith("{'h': 'xxx")


async def test_a_dead_letter_may_have_headers_that_cannot_be_written_again(amqp_url: str) -> None:
    properties = Basic.Properties(headers={"site": {"name": "latin"}})
    async with Consuming(amqp_url):
        await send_changed(amqp_url, b"poison", properties, (b"latin", b"gr\xf6\xdfe"))
        (letter,) = await dead(amqp_url)
    assert letter.body == b"poison"
    assert letter.headers["x-dispatcher-headers"] == r"{'site': {'name': b'gr\xf6\xdfe'}}"


async def test_a_dead_letter_keeps_a_header_that_is_bytes(amqp_url: str) -> None:
    properties = Basic.Properties(headers={"site": "latin"})
    async with Consuming(amqp_url):
        await send_changed(amqp_url, b"poison", properties, (b"latin", b"gr\xf6\xdfe"))
        (letter,) = await dead(amqp_url)
    assert letter.headers["site"] == b"gr\xf6\xdfe"


async def test_what_the_store_refuses_is_set_aside_too(amqp_url: str) -> None:
    def fault(events: Sequence[Event]) -> None:
        if "bad" in [event.id for event in events]:
            raise ValueError("it does not fit")

    async with Consuming(amqp_url) as run:
        run.store.fault = fault
        await publish(amqp_url, "a", "bad", "b")
        assert await run.store.holds(2) == ["a", "b"]
        (letter,) = await dead(amqp_url)
    assert msgspec.json.decode(letter.body)["id"] == "bad"
    assert letter.headers["x-dispatcher-reason"] == "the event cannot be stored: it does not fit"
    assert await waiting(amqp_url) == 0


async def test_a_message_of_several_events_is_stored_as_a_whole_or_set_aside_as_a_whole(
    amqp_url: str,
) -> None:
    async with Consuming(amqp_url) as run:
        await send(amqp_url, msgspec.json.encode([plain("a"), plain("b")]))
        await send(amqp_url, msgspec.json.encode([plain("c"), {"event": "RUNNING"}]))
        assert await run.store.holds(2) == ["a", "b"]
        (letter,) = await dead(amqp_url)
    assert letter.headers["x-dispatcher-field"] == "[1].job_id"


async def test_a_message_that_is_delivered_again_is_a_duplicate_though_its_event_has_no_id(
    amqp_url: str,
) -> None:
    body = b'{"event":"HEARTBEAT","job_id":"job-1"}'
    async with Consuming(amqp_url) as first:
        first.store.open.clear()
        await send(amqp_url, body, message_id="m-1")
        await first.store.entered.wait()
        await first.consumer.stop(0.05)
        first.store.open.set()
        stored = await first.store.holds(1)
    async with Consuming(amqp_url) as second:
        assert await second.store.holds(1) == stored


async def test_a_status_that_comes_twice_under_one_message_id_is_stored_twice(amqp_url: str) -> None:
    """The job's id as the id of all its messages: only the times of sending differ."""
    began = datetime(2026, 5, 4, 12, tzinfo=UTC)
    async with Consuming(amqp_url) as run:
        for minute, name in enumerate(["RUNNING", "PAUSED", "RUNNING", "FINISHED"]):
            body = msgspec.json.encode({"event": name, "job_id": "job-1"})
            await send(amqp_url, body, message_id="job-1", timestamp=began + timedelta(minutes=minute))
        await run.store.holds(4)
        stored = sorted(run.store.events.values(), key=lambda event: event.time)
    assert [event.event for event in stored] == ["RUNNING", "PAUSED", "RUNNING", "FINISHED"]


@pytest.mark.parametrize("written", [1_772_000_000_000_000, 1_772_000_000_000_000_000, 2**64 - 1_000_000])
async def test_a_message_with_an_odd_timestamp_is_stored(amqp_url: str, written: int) -> None:
    in_seconds = Basic.Properties(timestamp=datetime.fromtimestamp(0x01020304, UTC))
    change = (0x01020304).to_bytes(8, "big"), written.to_bytes(8, "big")
    async with Consuming(amqp_url) as run:
        await send_changed(amqp_url, msgspec.json.encode(plain("odd")), in_seconds, change)
        assert await run.store.holds(1) == ["odd"]


async def test_a_message_whose_headers_cannot_be_read_is_set_aside_at_once(amqp_url: str) -> None:
    """Tables that are nested so deep that a reader would run out of stack."""
    deep = b""
    for _ in range(2000):
        deep = b"\x01aF" + len(deep).to_bytes(4, "big") + deep
    filler = "y" * len(deep)
    async with Consuming(amqp_url, prefetch=5) as run:
        await publish(amqp_url, "a", "b")
        headers = Basic.Properties(headers={"specversion": filler})
        change = (
            b"S" + len(filler).to_bytes(4, "big") + filler.encode(),
            b"F" + len(deep).to_bytes(4, "big") + deep,
        )
        await send_changed(amqp_url, msgspec.json.encode(plain("poison")), headers, change)
        await publish(amqp_url, "c", "d")
        assert await run.store.holds(4) == ["a", "b", "c", "d"]
        (letter,) = await dead(amqp_url)
        assert run.consumer.error is None
    assert letter.headers["x-dispatcher-field"] == "headers"
    assert msgspec.json.decode(letter.body) == plain("poison")
    assert await waiting(amqp_url) == 0


async def test_no_more_is_read_while_what_was_read_takes_too_much_memory(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_session, "MAX_HELD", 1 << 20)
    async with Consuming(amqp_url) as run:
        run.store.open.clear()
        await send_large(amqp_url, 60)
        assert run.consumer._channel_session is not None
        transport = run.consumer._channel_session._transport
        await until(lambda: transport.paused)
        assert run.intake.waiting < 30
        run.store.open.set()
        await run.store.holds(60)
        await until(lambda: not transport.paused)


async def test_a_stop_gives_back_what_was_not_read_yet(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_session, "MAX_HELD", 1 << 20)
    async with Consuming(amqp_url) as run:
        run.store.open.clear()
        await send_large(amqp_url, 60)
        assert run.consumer._channel_session is not None
        transport = run.consumer._channel_session._transport
        await until(lambda: transport.paused)
        stopping = asyncio.create_task(run.consumer.stop(10))
        await until(lambda: not transport.paused)
        run.store.open.set()
        await stopping
        stored = len(run.store.ids)
        assert stored < 60
    assert await waiting(amqp_url) == 60 - stored


@pytest.mark.long
async def test_it_comes_back_after_the_broker_was_restarted(own_rabbitmq: RabbitMQ) -> None:
    url = await own_rabbitmq.create_vhost()
    async with Consuming(url) as run:
        await publish(url, "a")
        await run.store.holds(1)
        await asyncio.to_thread(own_rabbitmq.stop)
        await until(lambda: run.consumer.error is not None)
        own_rabbitmq.launch()
        await asyncio.to_thread(own_rabbitmq.wait)
        await until(lambda: run.consumer.error is None)
        await publish(url, "b")
        assert await run.store.holds(2) == ["a", "b"]
        assert await consumers(url) == 1


async def test_it_comes_back_once_for_each_connection_that_is_lost(amqp_url: str) -> None:
    async with Wire(amqp_url) as wire, Consuming(wire.url) as run:
        for count, name in enumerate("abc", 1):
            await publish(amqp_url, name)
            await run.store.holds(count)
            wire.cut()
            await until(lambda: run.consumer.error is not None)
            await until(lambda: run.consumer.error is None)
        assert run.store.ids == ["a", "b", "c"]
        assert wire.connections == 4
        assert await consumers(amqp_url) == 1


async def test_what_was_not_acknowledged_comes_again_and_is_stored_once(amqp_url: str) -> None:
    async with Wire(amqp_url) as wire, Consuming(wire.url) as run:
        run.store.open.clear()
        await publish(amqp_url, "a", "b")
        await until(lambda: run.intake.waiting == 2)
        wire.cut()
        await until(lambda: run.intake.waiting == 4)
        run.store.open.set()
        await publish(amqp_url, "c")
        assert await run.store.holds(3) == ["a", "b", "c"]
        assert run.consumer.error is None
    assert await waiting(amqp_url) == 0


async def test_a_dead_letter_waits_for_its_queue(amqp_url: str) -> None:
    async with Consuming(amqp_url) as run:
        await send(amqp_url, b"one")
        await dead(amqp_url)
        before = dead_letters("malformed")
        async with channel(amqp_url) as opened:
            await opened.queue_delete(DEAD)
        await send(amqp_url, b"two")
        await publish(amqp_url, "a")
        assert await run.store.holds(1) == ["a"]
        await until(lambda: dead_letters("malformed") == before + 1)
        (letter,) = await dead(amqp_url)
    assert letter.body == b"two"


async def test_it_declares_and_consumes_a_deleted_queue_again(amqp_url: str) -> None:
    async with Consuming(amqp_url) as run:
        async with channel(amqp_url) as opened:
            await opened.queue_delete(QUEUE)
        await until(lambda: run.consumer.error is not None)
        assert "the broker cancelled the consumer" in str(run.consumer.error)
        await until(lambda: run.consumer.error is None)
        await publish(amqp_url, "a")
        assert await run.store.holds(1) == ["a"]
        assert await consumers(amqp_url) == 1


async def test_a_queue_with_other_arguments_stops_the_start(amqp_url: str) -> None:
    async with channel(amqp_url) as opened:
        await opened.declare_queue(QUEUE, durable=True)
    async with Consuming(amqp_url) as run:
        with pytest.raises(SettingsError) as stopped:
            await run.consuming
    for part in ("amqp.queue", QUEUE, "inequivalent arg 'x-", "delete it", "DISPATCHER_AMQP_QUEUE"):
        assert part in str(stopped.value)


async def test_a_password_that_the_broker_refuses_stops_the_start_and_is_not_shown(amqp_url: str) -> None:
    wrong = (
        urlsplit(amqp_url)
        ._replace(netloc=f"guest:hunter2@{urlsplit(amqp_url).netloc.partition('@')[2]}")
        .geturl()
    )
    async with Consuming(wrong) as run:
        with pytest.raises(
            SettingsError, match=r"amqp\.url: the broker at .* refuses the user guest"
        ) as stopped:
            await run.consuming
    assert "hunter2" not in str(stopped.value)


async def test_a_queue_that_gets_other_arguments_later_is_reported_and_tried_again(amqp_url: str) -> None:
    async with Consuming(amqp_url) as run:
        async with channel(amqp_url) as opened:
            await opened.queue_delete(QUEUE)
            await opened.declare_queue(QUEUE, durable=True)
        await until(lambda: "different arguments" in str(run.consumer.error))
        async with channel(amqp_url) as opened:
            await opened.queue_delete(QUEUE)
        await until(lambda: run.consumer.error is None)
        assert run.consumer.error is None


async def test_a_stop_ends_at_once_while_there_is_no_broker() -> None:
    async with asyncio.timeout(3):
        running = Running()
        topology = Topology(exchange=EXCHANGE, queue=QUEUE)
        consumer = Consumer("amqp://127.0.0.1:1/", topology, prefetch=1, intake=running.intake)
        consuming = asyncio.create_task(consumer.run())
        await until(lambda: "Connect call failed" in str(consumer.error))
        await consumer.stop(60)
        assert consuming.done()


async def test_a_fault_while_acknowledging_costs_the_connection_and_stops_nothing_for_good(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge = channel_session.ChannelSession._acknowledge
    faults: list[ZeroDivisionError] = []

    async def faulty(self: channel_session.ChannelSession, *, wait: bool) -> None:
        if not faults:
            faults.append(ZeroDivisionError("division by zero"))
            raise faults[0]
        await acknowledge(self, wait=wait)

    monkeypatch.setattr(channel_session.ChannelSession, "_acknowledge", faulty)
    async with Consuming(amqp_url) as run:
        await publish(amqp_url, "a")
        await until(lambda: bool(faults))
        await until(
            lambda: (
                run.consumer._channel_session is not None and run.consumer._channel_session._acknowledged == 1
            )
        )
    assert await waiting(amqp_url) == 0
