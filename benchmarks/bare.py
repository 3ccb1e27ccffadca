"""The floor: a plain aiohttp client loop that posts one body over 64 connections, in one process.

Run as `python -m benchmarks.bare URL COUNT`, with the body on standard input; prints requests a second
and µs of CPU that one cost.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import uvloop

CONNECTIONS = 64


async def measure(url: str, body: bytes, count: int) -> tuple[float, float]:
    """Requests a second, and µs of CPU for each, over `count` requests."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        left = iter(range(count))

        async def loop() -> None:
            for _ in left:
                async with session.post(url, data=body) as answer:
                    await answer.read()

        began, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(loop() for _ in range(CONNECTIONS)))
        return count / (time.perf_counter() - began), 1e6 * (time.process_time() - spent) / count


if __name__ == "__main__":
    print(*uvloop.run(measure(sys.argv[1], sys.stdin.buffer.read(), int(sys.argv[2]))))
