"""Taking messages off the stream: whatever the pieces in which it comes, and whatever comes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from dispatcher.intake.amqp import frame_reader
from dispatcher.intake.amqp.frame_reader import FrameReader
from dispatcher.intake.amqp.message import AmqpMessage

HEARTBEAT = marshal(Heartbeat(), 0)
CHANNEL = 1

names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
maybe = st.none() | names
moments = st.builds(datetime.fromtimestamp, st.integers(1, (1 << 32) - 1), st.just(UTC))
properties = st.builds(
    Basic.Properties,
    content_type=maybe,
    content_encoding=maybe,
    headers=st.none() | st.dictionaries(names.filter(bool), names | st.integers(0, 1000), max_size=3),
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=maybe,
    reply_to=maybe,
    expiration=maybe,
    message_id=maybe,
    timestamp=st.none() | moments,
    app_id=maybe,
)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


def frames_of(header: Basic.Properties, parts: list[bytes], channel: int = CHANNEL) -> list[bytes]:
    """A message as a broker sends it."""
    deliver = Basic.Deliver("ctag", 7, False, "an.exchange", "a.key")
    head = ContentHeader(properties=header, body_size=sum(map(len, parts)))
    content = [marshal(ContentBody(part), channel) for part in parts]
    return [marshal(deliver, channel), marshal(head, channel), *content]


class Stream:
    """A diverted stream, and what came out of it on both sides."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.messages: list[AmqpMessage] = []
        self.frames = FrameReader(loop)
        self.frames.intercept(CHANNEL, self.messages.extend)

    def passed(self) -> bytes:
        """What the library gets."""
        self.frames.feed_eof()
        return self._loop.run_until_complete(self.frames.read())


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield a loop for all streams."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@given(sent=st.lists(st.tuples(properties, bodies), max_size=4), data=st.data())
def test_messages_are_taken_and_everything_else_is_left(
    loop: asyncio.AbstractEventLoop, sent: list[tuple[Basic.Properties, list[bytes]]], data: st.DataObject
) -> None:
    stream, others, wire = Stream(loop), b"", b""
    for header, parts in sent:
        for frame in frames_of(header, parts):
            if data.draw(st.booleans()):
                other = data.draw(
                    st.sampled_from([HEARTBEAT, b"".join(frames_of(Basic.Properties(), [b"x"], channel=2))])
                )
                others, wire = others + other, wire + other
            wire += frame
    while wire:
        cut = data.draw(st.integers(1, len(wire)))
        stream.frames.feed_data(wire[:cut])
        wire = wire[cut:]
    assert stream.passed() == others
    assert [message.body for message in stream.messages] == [b"".join(parts) for _, parts in sent]


@given(sent=properties)
def test_the_properties_are_those_that_were_sent(
    loop: asyncio.AbstractEventLoop, sent: Basic.Properties
) -> None:
    stream = Stream(loop)
    stream.frames.feed_data(b"".join(frames_of(sent, [b"{}"])))
    (message,) = stream.messages
    for name in ("content_type", "content_encoding", "message_id", "timestamp"):
        assert getattr(message, name) == getattr(message.properties, name), name
    assert message.properties.headers == sent.headers or not sent.headers
    assert message.route == ("an.exchange", "a.key")


def test_the_headers_of_a_cloudevent_are_read_and_others_are_not(loop: asyncio.AbstractEventLoop) -> None:
    stream = Stream(loop)
    sent = [{"CE-Id": "1"}, {"cloudEvents:id": "1"}, {"specversion": "1.0"}, {"ce_specversion": "1.0"}]
    for headers in (*sent, {"x-death": "1", "trace_id": "1"}):
        stream.frames.feed_data(b"".join(frames_of(Basic.Properties(headers={**headers}), [b"{}"])))
    found = [message.headers for message in stream.messages]
    assert found == [*sent, {}]


@pytest.mark.parametrize(
    ("changed", "name", "value"),
    [
        ((b"text/plain", b"text/\xffplai"), "content_type", "text/ÿplai"),
        ((b"some-id", b"some-\xff\xff"), "message_id", "some-ÿÿ"),
        ((b"ce-id", b"ce-\xff\xff"), "headers", {"ce-ÿÿ": "1"}),
    ],
)
def test_what_is_no_utf_8_is_read_as_latin_1(
    loop: asyncio.AbstractEventLoop, changed: tuple[bytes, bytes], name: str, value: object
) -> None:
    sent = Basic.Properties(content_type="text/plain", headers={"ce-id": "1"}, message_id="some-id")
    stream = Stream(loop)
    wire = b"".join(frames_of(sent, [b"{}"]))
    assert wire.count(changed[0]) == 1
    stream.frames.feed_data(wire.replace(*changed))
    assert getattr(stream.messages[0], name) == value


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000_000, 1_700_000_000),
        (1_772_000_000_000_000, 1_772_000_000),
        (1_772_000_000_000_000_000, 1_772_000_000),
        (2**64 - 1_000_000, None),
        (2**63, None),
        (0, None),
    ],
)
def test_a_timestamp_is_read_by_its_size_or_left_out(
    loop: asyncio.AbstractEventLoop, written: int, seconds: int | None
) -> None:
    moment = datetime.fromtimestamp(0x01020304, UTC)
    stream = Stream(loop)
    wire = b"".join(frames_of(Basic.Properties(timestamp=moment), [b"{}"]))
    stream.frames.feed_data(wire.replace((0x01020304).to_bytes(8), written.to_bytes(8)))
    found = stream.messages[0].timestamp
    assert found == (None if seconds is None else datetime.fromtimestamp(seconds, UTC))


def test_a_message_that_ends_with_its_channel_is_forgotten(loop: asyncio.AbstractEventLoop) -> None:
    deliver, header, body = frames_of(Basic.Properties(), [b"{}"])
    closed = marshal(Channel.Close(404, "gone", 0, 0), CHANNEL)
    stream = Stream(loop)
    stream.frames.feed_data(deliver + header + closed + body)
    assert stream.passed() == closed + body
    assert not stream.messages


@pytest.mark.parametrize(
    "answer", [b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", HEARTBEAT[:-1] + b"?"]
)
def test_what_is_no_frame_goes_to_the_library(loop: asyncio.AbstractEventLoop, answer: bytes) -> None:
    stream = Stream(loop)
    stream.frames.feed_data(HEARTBEAT)
    for byte in answer:
        stream.frames.feed_data(bytes([byte]))
    assert stream.passed() == HEARTBEAT + answer


def test_the_library_hears_that_the_connection_lives_while_only_messages_come(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_reader, "_STILL_ALIVE", 0.0)
    stream = Stream(loop)
    for frame in frames_of(Basic.Properties(), [b"{}"]):
        stream.frames.feed_data(frame)
    assert stream.passed() == HEARTBEAT
    assert len(stream.messages) == 1
