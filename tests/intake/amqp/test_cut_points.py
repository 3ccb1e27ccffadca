"""The connection to the broker is cut after the n-th frame, whichever it is: nothing accepted is lost, nothing ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aio_pika
import pytest

from dispatcher.intake.amqp import consumer as consumer_module
from dispatcher.intake.amqp import dead_letters as dead_letters_module
from tests.intake.consuming import DEAD, EXCHANGE, Consuming, channel, publish, until, waiting
from tests.intake.wire import Wire

FRAMES = 90
"""More than there are from the first connection to a dead letter and a stop."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (consumer_module, dead_letters_module):
        for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "_FIRST_PAUSE", "_LONGEST_PAUSE"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, 0.02)


class CuttingWire(Wire):
    """A wire that drops every connection after so many frames of AMQP in both directions together, once."""

    def __init__(self, target: str, after: int) -> None:
        super().__init__(target)
        self.left: int = after

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(7)
                if head.startswith(b"AMQP"):
                    frame = head + await reader.readexactly(1)
                else:
                    frame = head + await reader.readexactly(int.from_bytes(head[3:]) + 1)
                self.left -= 1
                if self.left == 0:
                    self.cut()
                    break
                writer.write(frame)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


async def survives_a_cut(url: str, after: int) -> bool:
    """Whether it was cut at all, in a run from the first connection to a stop with a dead letter in between."""
    async with CuttingWire(url, after) as wire:
        async with Consuming(wire.url) as run:
            assert not run.consuming.done()
            await until(lambda: run.consumer.error is None)
            await publish(url, f"a-{after}", f"b-{after}")
            async with channel(url) as opened:
                exchange = await opened.get_exchange(EXCHANGE)
                await exchange.publish(aio_pika.Message(f"poison {after}".encode()), "any")
            await publish(url, f"c-{after}")
            await until(lambda: {f"{name}-{after}" for name in "abc"} <= set(run.store.ids))
            await until_dead(url, f"poison {after}".encode())
        assert run.consuming.done()
        if not run.consuming.cancelled():  # a stop ends it so while it rests
            run.consuming.result()
    # What was acknowledged in vain comes again, and is a duplicate.
    async with Consuming(url) as run:
        await until(lambda: run.consumer.error is None)
    assert await waiting(url) == 0
    return wire.left <= 0


async def until_dead(url: str, body: bytes) -> None:
    """Wait for the dead letter; a cut may leave two of it."""
    async with asyncio.timeout(20), channel(url) as opened:
        queue = await opened.get_queue(DEAD)
        while True:
            letter = await queue.get(fail=False, no_ack=True)
            if letter is not None and letter.body == body:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("after", [3, 12, 20, 28, 34])
async def test_a_cut_at_some_frames_loses_nothing(amqp_url: str, after: int) -> None:
    assert await survives_a_cut(amqp_url, after)


@pytest.mark.long
async def test_a_cut_at_any_frame_loses_nothing(amqp_url: str) -> None:
    for after in range(1, FRAMES):
        if not await survives_a_cut(amqp_url, after):
            assert after > 30
            return
    raise AssertionError("there are more frames than that")
