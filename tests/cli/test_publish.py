from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractQueue

from dispatcher.client.outgoing import BATCH
from tests.cli.conftest import Result, Run

EXCHANGE = "dispatcher.events"


@pytest.fixture
async def queue(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """A queue that is bound to the exchange."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("intake", durable=True)
        await queue.bind(exchange, "#")
        yield queue


async def publish_to(run: Run, url: str, *arguments: str, stdin: bytes = b"") -> Result:
    return await asyncio.to_thread(run, "publish", *arguments, stdin=stdin, DISPATCHER_AMQP_URL=url)


async def test_one_event_goes_from_its_options_to_the_broker(
    run: Run, amqp_url: str, queue: AbstractQueue
) -> None:
    options = ["--event", "FINISHED", "--job-id", "job-1", "--owner", "alice", "--data", '{"x": 1}']
    result = await publish_to(run, amqp_url, *options)
    assert (result.code, result.err) == (0, "Events published: 1.\n")
    message = await queue.get()
    document = json.loads(message.body)
    assert document.pop("id")
    assert document == {
        "event": "FINISHED",
        "job_id": "job-1",
        "owner": "alice",
        "data": {"x": 1},
    }
    assert message.content_type == "application/json"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.routing_key == "job.FINISHED"
    assert message.message_id


async def test_a_job_document_says_what_the_options_do_not(
    run: Run, amqp_url: str, queue: AbstractQueue, tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text('{"id": "job-1", "status": "FAILED", "owner": "alice"}')
    assert (await publish_to(run, amqp_url, "--job", "job.json", "--message", "oh")).code == 0
    document = json.loads((await queue.get()).body)
    assert document.pop("id")
    assert document == {"message": "oh", "job": {"id": "job-1", "status": "FAILED", "owner": "alice"}}


async def test_a_file_goes_in_its_order_whatever_its_batches(
    run: Run, amqp_url: str, queue: AbstractQueue, tmp_path: Path
) -> None:
    count = 2 * BATCH + 1
    lines = [f'{{"event": "RUNNING", "job_id": "job-{number}"}}\n' for number in range(count)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    result = await publish_to(run, amqp_url, "events.jsonl")
    assert (result.code, result.err) == (0, f"Events published: {count}.\n")
    bodies = [(await queue.get(no_ack=True)).body for _ in range(count)]
    assert [json.loads(body)["job_id"] for body in bodies] == [f"job-{number}" for number in range(count)]


async def test_events_come_from_stdin(run: Run, amqp_url: str, queue: AbstractQueue) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/x", "type": "org.x.FINISHED", "subject": "job-1"}
    assert (await publish_to(run, amqp_url, "-", stdin=json.dumps(event).encode())).code == 0
    assert json.loads((await queue.get()).body) == event


async def test_lines_that_are_not_quite_json_go_as_the_service_would_read_them(
    run: Run, amqp_url: str, queue: AbstractQueue
) -> None:
    lines = [
        b'\xef\xbb\xbf{"event":"A","job_id":"j","message":"marked"}',
        rb'{"event":"A","job_id":"j","message":"\udcff.txt"}',
        b'{"event":"A","job_id":"j","message":"gr\xfc\xdfe"}',
    ]
    result = await publish_to(run, amqp_url, "-", stdin=b"\r\n".join(lines))
    assert (result.code, result.err) == (0, "Events published: 3.\n")
    messages = [json.loads((await queue.get()).body)["message"] for _ in lines]
    assert messages == ["marked", "\ufffd.txt", "gr\ufffd\ufffde"]


async def test_a_bad_line_stops_it_there_and_is_named(run: Run, amqp_url: str, queue: AbstractQueue) -> None:
    lines = (
        b'{"event": "RUNNING", "job_id": "1"}\n\n{"evnt": "RUNNING"}\n{"event": "RUNNING", "job_id": "2"}\n'
    )
    result = await publish_to(run, amqp_url, "-", stdin=lines)
    assert result.code == 1
    assert result.err == (
        "dispatcher: line 3: evnt: unknown field; did you mean event?; published, all before it: 1\n"
    )
    assert json.loads((await queue.get(no_ack=True)).body)["job_id"] == "1"
    assert await queue.get(fail=False) is None


async def test_an_event_that_no_queue_takes_is_not_published(run: Run, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    result = await publish_to(run, amqp_url, "--event", "FINISHED", "--job-id", "1")
    assert result.code == 1
    assert f"the exchange {EXCHANGE} has no queue for the event; published for certain: 0" in result.err


async def test_a_broker_without_the_exchange_is_reported(run: Run, amqp_url: str) -> None:
    result = await publish_to(run, amqp_url, "--event", "FINISHED", "--job-id", "1")
    assert result.code == 1
    assert f"the broker has no exchange {EXCHANGE}: `dispatcher serve` makes it" in result.err


def test_a_broker_that_does_not_answer_is_named_without_its_password(run: Run) -> None:
    url = "amqp://guest:hunter22@127.0.0.1:1/"
    result = run("publish", "--event", "FINISHED", "--job-id", "1", DISPATCHER_AMQP_URL=url)
    assert result.code == 1
    assert "amqp://guest:***@127.0.0.1:1/: the broker cannot be reached: " in result.err
    assert "hunter22" not in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either a FILE or an event's options"),
        (["-", "--event", "FINISHED"], "expected either a FILE or an event's options"),
        (["missing.jsonl"], "missing.jsonl cannot be read"),
        (["--job", "missing.json"], "Invalid value for --job: missing.json cannot be read"),
        (["--event", "FINISHED", "--job-id", "1", "--data", "{"], "expected JSON: "),
    ],
)
def test_a_wrong_publish_command_is_explained(run: Run, arguments: list[str], message: str) -> None:
    result = run("publish", *arguments)
    assert result.code == 2
    assert message in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--event", "FINISHED"], "dispatcher: job_id: expected the id of the job"),
        (["--event", "?", "--job-id", "1"], "dispatcher: event: expected an event name"),
        (["--event", "FINISHED", "--job-id", "1", "--data", "[1]"], "dispatcher: data: expected an object"),
    ],
)
def test_an_event_that_the_service_would_refuse_is_not_sent(
    run: Run, arguments: list[str], message: str
) -> None:
    result = run("publish", *arguments, DISPATCHER_AMQP_URL="amqp://127.0.0.1:1/")
    assert result.code == 1
    assert result.err.startswith(message)
