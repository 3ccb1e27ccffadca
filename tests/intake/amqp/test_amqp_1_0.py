"""Events of publishers that speak AMQP 1.0, as RabbitMQ passes them on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.intake.amqp.amqp_1_0 import MAX_VALUES, application_properties, body_of
from tests.intake.amqp.test_frame_reader import Stream, frames_of
from tests.intake.consuming import EXCHANGE, Consuming, dead, send
from tests.intake.messages import cloudevent, decoded, plain
from tests.servers import RabbitMQ

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "tests/compat/clients/qpid.py"

# Captured from RabbitMQ 3.10 with rabbitmq_amqp1_0 and Qpid Proton 0.40.
CLOUDEVENT = (
    b"\x00St\xd1\x00\x00\x00\xa6\x00\x00\x00\x0c\xa1\x17cloudEvents:specversion\xa1\x031.0\xa1\x0ecloudEvents:id\xa1\x03e-1"
    b"\xa1\x12cloudEvents:source\xa1\x02/c\xa1\x10cloudEvents:type\xa1\x0cjob.FINISHED\xa1\x13cloudEvents:subject\xa1\x05job-1"
    b"\xa1\x10cloudEvents:time\x83\x00\x00\x01\x9c\x93n8{"
)
ALL_TYPES = (
    b"\x00St\xd1\x00\x00\x00l\x00\x00\x00\x18\xa1\x01aU\x01\xa1\x01b\x81\x00\x00\x01\x00\x00\x00\x00\x00\xa1\x01c\x82?\xf8\x00\x00"
    b"\x00\x00\x00\x00\xa1\x01dA\xa1\x01e@\xa1\x01f\xa0\x03bin\xa1\x01g\x98\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\t\xa1\x01hs\x00\x00\x00x\xa1\x01i\xa3\x01s\xa1\x01jr?\xc0\x00\x00\xa1\x01kP\x03\xa1\x01l\x80\x80\x00\x00\x00\x00\x00\x00"
    b"\x00"
)
MAP = (
    b"\x00Sw\xd1\x00\x00\x00L\x00\x00\x00\x06\xa1\x05event\xa1\x08FINISHED\xa1\x06job_id\xa1\x02j1\xa1\x04data"
    b"\xd1\x00\x00\x00 \x00\x00\x00\x02\xa1\x01a"
    b"\xd0\x00\x00\x00\x14\x00\x00\x00\x05U\x01\x82@\x04\x00\x00\x00\x00\x00\x00A@\xa0\x01x"
)
TEXT = b'\x00Sw\xa1"{"event":"FINISHED","job_id":"j1"}'
SEQUENCE = b"\x00Sv\xd0\x00\x00\x00\t\x00\x00\x00\x02\xa1\x01aU\x01"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def arrived(loop: asyncio.AbstractEventLoop, body: bytes, **properties: Any) -> Event:
    """The one event of a message with these properties, read from its frames."""
    stream = Stream(loop)
    stream.frames.feed_data(b"".join(frames_of(Basic.Properties(**properties), [body])))
    (message,) = stream.messages
    (event,) = decoded(message.decodable())
    return event


def refusal(body: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        body_of(body)
    assert refused.value.field == "body"
    return refused.value.problem


def wide(code: int, count: int, members: bytes) -> bytes:
    """A list, map or array with sizes of four bytes."""
    return bytes([code]) + (len(members) + 4).to_bytes(4) + count.to_bytes(4) + members


# What RabbitMQ writes


def test_a_cloudevent_in_application_properties_is_read(loop: asyncio.AbstractEventLoop) -> None:
    event = arrived(
        loop,
        b'{"code":0}',
        content_type="application/json",
        message_type="binary",
        headers={"x-amqp-1.0-app-properties": bytearray(CLOUDEVENT), "x-amqp-1.0-properties": "x"},
    )
    assert event.decoded == cloudevent(
        source="/c",
        type="job.FINISHED",
        time="2026-02-25T06:13:20.123000Z",
        datacontenttype="application/json",
        data={"code": 0},
    )


def test_application_properties_of_every_type_are_read() -> None:
    assert application_properties(ALL_TYPES) == {
        "a": 1,
        "b": 1 << 40,
        "c": 1.5,
        "d": True,
        "e": None,
        "f": b"bin",
        "g": "00000000-0000-0000-0000-000000000009",
        "h": "x",
        "i": "s",
        "j": 1.5,
        "k": 3,
        "l": 1 << 63,
    }


def test_properties_beside_an_event_change_nothing(loop: asyncio.AbstractEventLoop) -> None:
    event = arrived(
        loop, msgspec.json.encode(plain()), headers={"x-amqp-1.0-app-properties": bytearray(ALL_TYPES)}
    )
    assert (event.event, event.job_id) == ("FINISHED", "job-1")


@pytest.mark.parametrize("body", [TEXT, MAP, b"\x00Sw\xa0" + TEXT[4:], TEXT.replace(b"Sw\xa1", b"Sw\xa3")])
def test_a_body_that_is_a_value_is_read(loop: asyncio.AbstractEventLoop, body: bytes) -> None:
    event = arrived(loop, body, message_type="amqp-1.0", content_type="application/json")
    assert (event.event, event.job_id) == ("FINISHED", "j1")


def test_a_map_keeps_its_values(loop: asyncio.AbstractEventLoop) -> None:
    event = arrived(loop, MAP, message_type="amqp-1.0")
    assert msgspec.json.decode(event.document)["data"]["data"] == {"a": [1, 2.5, True, None, "x"]}


def test_a_sequence_is_a_list_of_events() -> None:
    assert json.loads(body_of(SEQUENCE)) == ["a", 1]
    assert json.loads(body_of(SEQUENCE + SEQUENCE)) == ["a", 1, "a", 1]


def test_a_body_of_that_type_that_is_none_stays_as_it_came(loop: asyncio.AbstractEventLoop) -> None:
    assert arrived(loop, msgspec.json.encode(plain()), message_type="amqp-1.0").event == "FINISHED"


# What anybody may write


@pytest.mark.parametrize(
    ("value", "json_text"),
    [
        (b"\x40", b"null"),
        (b"\x45", b"[]"),
        (b"\x43", b"0"),
        (b"\x56\x01", b"true"),
        (b"\x54\xff", b"-1"),
        (b"\x83" + (1_772_000_000_123).to_bytes(8), b'"2026-02-25T06:13:20.123000+00:00"'),
        (b"\x83" + b"\x7f" + b"\xff" * 7, b"9223372036854775807"),
        (b"\x73\x00\x00\xd8\x00", "\ufffd".encode()),
        (b"\x74\x01\x02\x03\x04", b"0x01020304"),
        (b"\x00\xa3\x01x\xa1\x01y", b"y"),
        (b"\xf0\x00\x00\x00\x0d\x00\x00\x00\x02q\x00\x00\x00\x01\x00\x00\x00\x02", b"[1, 2]"),
        (b"\xe0\x02\x03\x41", b"[true, true, true]"),
        (wide(0xD1, 4, b"\x55\x07\x40\x42\x40"), b'{"7": null, "False": null}'),
        (b"\xa1\x02\xc3\xa9", "é".encode()),
        (b"\xa1\x01\xe9", "é".encode()),
    ],
)
def test_values_become_json(value: bytes, json_text: bytes) -> None:
    found = body_of(b"\x00Sw" + value)
    assert found == json_text or json.loads(found) == json.loads(json_text)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\x00Sw", "expected a value of AMQP 1.0"),
        (b"\x00Sw\xa1\x05abc", "a value is longer than the rest of the message"),
        (b"\x00Sw\xb1\xff\xff\xff\xffabc", "a value is longer than the rest of the message"),
        (b"\x00Sw\x3f", "expected a type of AMQP 1.0, got the code 0x3f"),
        (b"\x00Sw\xa2\x00", "expected a type of AMQP 1.0, got the code 0xa2"),
        (b"Sw\xa1\x01a", "expected a section of a message of AMQP 1.0, got the byte 0x53"),
        (
            b"\x00Sw" + wide(0xD1, 3, b"\xa1\x01a\x40\xa1\x01b"),
            "with a value for each key, and each key once",
        ),
        (
            b"\x00Sw" + wide(0xD1, 4, b"\xa1\x01a\x40\xa1\x01a\x40"),
            "with a value for each key, and each key once",
        ),
        (b"\x00Sw" + wide(0xD1, 2, b"\x45\x40"), "whose keys are texts or numbers"),
        (b"\x00Sw" + wide(0xF0, 0xFFFFFFFF, b"\x40"), f"at most {MAX_VALUES} values"),
        (b"\x00Sw" + wide(0xD0, MAX_VALUES + 1, b"\x40" * (MAX_VALUES + 1)), f"at most {MAX_VALUES} values"),
        (b"\x00" * 5000, "nested at most 20 deep"),
    ],
)
def test_what_is_no_value_is_refused_by_name(body: bytes, problem: str) -> None:
    assert problem in refusal(body)


@pytest.mark.parametrize("code", [0xD0, 0xD1, 0xF0])
def test_values_are_not_nested_without_end(code: int) -> None:
    body = b"\x40"
    for _ in range(25):
        body = wide(code, 1, body) if code != 0xD1 else wide(code, 2, b"\xa1\x01a" + body)
    assert "nested at most 20 deep" in refusal(b"\x00Sw" + body)


def test_values_do_not_reach_beyond_the_list_that_they_are_in() -> None:
    # Each of these small lists would be as large as the whole body.
    inner = b"\xc0\x06\x01\xb0" + (2_000).to_bytes(4)
    body = b"\x00Sw" + wide(0xD0, 50, 50 * inner) + bytes(2_000)
    assert "a value is longer than the list that it is in" in refusal(body)


def test_a_body_without_a_known_section_is_refused_and_one_in_parts_is_whole() -> None:
    assert "expected a section of AMQP 1.0" in refusal(b"\x00\xa3\x10amqp:data:binary\xa0\x02{}")
    assert body_of(b"\x00Su\xa0\x03ab{\x00Su\xa0\x01}") == b"ab{}"


@given(
    raw=st.binary(max_size=60),
    start=st.sampled_from([b"", b"\x00Sw", b"\x00Sw\xd1\x00\x00\x00", b"\x00Sw\xf0"]),
)
def test_anything_is_read_or_refused(raw: bytes, start: bytes) -> None:
    for read in (body_of, application_properties):
        with suppress(InvalidInput):
            read(start + raw)


async def test_what_cannot_be_read_is_set_aside_as_it_came(amqp_url: str) -> None:
    async with Consuming(amqp_url):
        await send(amqp_url, MAP[:-1], type="amqp-1.0")
        await send(amqp_url, b"{}", headers={"x-amqp-1.0-app-properties": bytearray(CLOUDEVENT[:-1])})
        await send(amqp_url, b"\x00SwA", type="amqp-1.0")
        letters = await dead(amqp_url, 3)
    by_field = {letter.headers["x-dispatcher-field"]: letter for letter in letters}
    assert by_field["body"].body == MAP[:-1]
    assert by_field["body"].type == "amqp-1.0"
    assert "expected a value of AMQP 1.0" in str(by_field["body"].headers["x-dispatcher-reason"])
    assert by_field["headers"].headers["x-amqp-1.0-app-properties"] == CLOUDEVENT[:-1]
    assert "application properties of AMQP 1.0" in str(by_field["headers"].headers["x-dispatcher-reason"])
    assert by_field[""].body == b"\x00SwA"


# Qpid Proton, through the plug-in


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the client's environment."""
    subprocess.run([ROOT / "scripts/client.sh", "qpid"], check=True, timeout=150)
    return ROOT / ".venv-qpid/bin/python"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ that takes AMQP 1.0."""
    log = tmp_path_factory.mktemp("rabbitmq-amqp-1.0") / "server.log"
    with RabbitMQ(log=log, plugins=["rabbitmq_amqp1_0"]) as server:
        yield server


CE = {f"cloudEvents:{name}": value for name, value in cloudevent(type="job.FINISHED").items()}
IN_TEXT = json.dumps(plain(id="text"))
SENT: list[dict[str, Any]] = [
    {
        "data": '{"code":0}',
        "content_type": "application/json",
        "properties": CE | {"cloudEvents:id": "colon"},
    },
    {
        "data": "grüße",
        "content_type": "text/plain",
        "properties": {name.replace(":", "_"): value for name, value in CE.items()}
        | {"cloudEvents_id": "underscore", "cloudEvents_time": {"$timestamp": 1_772_000_000_000}},
    },
    {
        "data": json.dumps(plain(id="data")),
        "properties": {"a": {"$uuid": "0" * 32}, "b": {"$bytes": "x"}, "c": 1.5},
    },
    {
        "data": json.dumps(cloudevent(id="structured")),
        "content_type": "application/cloudevents+json; charset=utf-8",
        "creation_time": 1_772_000_000,
    },
    {"value": IN_TEXT, "content_type": "application/json"},
    {"value": {"$symbol": json.dumps(plain(id="symbol"))}},
    {"value": {"$bytes": json.dumps(plain(id="bytes"))}},
    {"value": plain(id="map", data={"list": [1, 2.5, None, True]}), "creation_time": 1_772_000_000.5},
    {"value": cloudevent(id="map of a CloudEvent")},
    {"value": json.dumps(plain(message="x" * 100_000, id="long"))},
    {"sequence": [plain(id="first"), plain(id="second")]},
    {
        "data": "bad",
        "properties": {name: value for name, value in CE.items() if not name.endswith("subject")},
    },
    {"value": json.dumps(plain()), "id": "m-1", "creation_time": 1_772_000_000},
]
IDS = {
    *("colon", "underscore", "data", "structured", "text", "symbol", "bytes", "map", "map of a CloudEvent"),
    *("long", "first", "second"),
}


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_what_qpid_proton_sends_is_stored(broker: RabbitMQ, python: Path) -> None:
    url = broker.url
    async with Consuming(url) as run:
        client = await asyncio.create_subprocess_exec(
            *(str(python), str(CLIENT), urlsplit(url).netloc.rpartition("@")[2], EXCHANGE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        )
        out, _ = await client.communicate("".join(json.dumps(one) + "\n" for one in SENT).encode())
        assert out.split() == [b"sent"] * len(SENT)
        await run.store.holds(len(IDS) + 1)
        (letter,) = await dead(url)
        found = {event.id: event for event in run.store.events.values()}
    (generated,) = found.keys() - IDS
    assert generated.startswith("m-1-")
    assert b"cloudEvents:source" in bytes(letter.headers["x-amqp-1.0-app-properties"])  # type: ignore[arg-type]
    assert letter.headers["x-dispatcher-field"] == "subject"
    assert letter.body == b"bad"
    assert found[generated].time == datetime(2026, 2, 25, 6, 13, 20, tzinfo=UTC)
    assert found["map"].time == datetime(2026, 2, 25, 6, 13, 20, 500_000, tzinfo=UTC)
    assert found["colon"].data == {"code": 0}
    assert found["colon"].decoded["datacontenttype"] == "application/json"
    assert (found["underscore"].data, found["underscore"].time) == ("grüße", found[generated].time)
    assert msgspec.json.decode(found["map"].document)["data"]["data"] == {"list": [1, 2.5, None, True]}
