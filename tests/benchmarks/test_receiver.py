"""The receiver of the measurements: it counts what really arrived, once and again."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from benchmarks.receiver import receiver


async def test_it_tells_latencies_from_when_events_were_due_and_what_came_again() -> None:
    async with receiver() as sink, aiohttp.ClientSession() as session:
        due = time.time() - 5
        for delivery, number in (("dlv_a", 1), ("dlv_b", 1), ("dlv_a", 1), ("dlv_c", 2)):
            body = {"data": {"data": {"number": number, "due": due}}}
            async with session.post(sink.urls[0], json=body, headers={"Webhook-Id": delivery}) as answer:
                assert answer.status == 204
        arrivals = await sink.arrived(4)
        ids = await sink.ids()
    assert len(arrivals) == 4
    assert min(arrival.latency for arrival in arrivals) >= 5
    assert ids.distinct == 3
    assert ids.repeats == {"dlv_a": 1}
    assert ids.deliveries == [2, 1]


async def test_a_request_in_pieces_is_one_and_two_at_once_are_two() -> None:
    async with receiver() as sink:
        host, port = sink.urls[0].removeprefix("http://").removesuffix("/hook").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"number":7,"due":1.5}'
        request = b"POST /hook HTTP/1.1\r\nwebhook-id: dlv_%d\r\nContent-Length: %d\r\n\r\n%b"
        whole = b"".join(request % (number, len(body), body) for number in range(3))
        for piece in (whole[:30], whole[30:120], whole[120:]):
            writer.write(piece)
            await writer.drain()
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
        ids = await sink.ids()
    assert ids.distinct == 3
    assert ids.deliveries == [3]


async def test_it_never_answers_on_the_last_addresses() -> None:
    async with receiver(["127.0.0.1", "127.0.0.2"], hanging=1) as sink, aiohttp.ClientSession() as session:
        hanging = asyncio.ensure_future(session.post(sink.urls[1], data=b"{}"))
        async with session.post(sink.urls[0], data=b"{}") as answer:
            assert answer.status == 204
        assert [arrival.host for arrival in await sink.arrived(1)] == [0]
        assert not hanging.done()
        hanging.cancel()


async def test_waiting_for_what_does_not_come_says_how_much_came() -> None:
    async with receiver() as sink:
        with pytest.raises(TimeoutError, match="0 of 1 deliveries"):
            await sink.arrived(1, seconds=0)
