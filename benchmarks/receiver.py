"""A receiver that tells how long events took and what came twice.

Run as `python -m benchmarks.receiver PORT HANGING SECONDS HOST…`.

It listens on one port of several loopback addresses, answers 204 after so many seconds, and accepts without ever
answering on the last HANGING of them, and to paths that end in `/hangs`; those that end in `/fails` get 500, and those
that end in `/flaps` every other FLAP_SECONDS, or no answer at all at addresses with an odd number.
An event's data may say when it was due (`due`, Unix seconds): the latency is
counted from then, so that a source that is late does not flatter the service.

Commands come as lines of standard input; `take` is answered with a JSON `Taken` of what arrived since the last one,
`ids` with `Ids` of everything so far.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.machine import program
from tests.servers import free_port

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
FLAP_SECONDS = 10

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)
_DUE = re.compile(rb'"due": ?([0-9.]+)')
_NUMBER = re.compile(rb'"number": ?(\d+)')


class Arrival(Struct, frozen=True, array_like=True):
    """One request: the number of the address it came to, when, and seconds since it was due (0 if it does not say)."""

    host: int
    at: float
    latency: float


class Taken(Struct, frozen=True):
    """What arrived since the last time."""

    arrivals: Sequence[Arrival]


class Ids(Struct, frozen=True):
    """How many deliveries arrived, which came again and how often, and of each event that arrived how many had it."""

    distinct: int
    repeats: Mapping[str, int]
    deliveries: Sequence[int]


class Noted:
    """What arrived."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.ids: Counter[bytes] = Counter()
        self.events: Counter[int] = Counter()

    def note(self, host: int, head: bytes, body: bytes) -> None:
        """Note one request."""
        now = time.time()
        due, number, delivery = _DUE.search(body), _NUMBER.search(body), _ID.search(head)
        self.arrivals.append(Arrival(host, now, now - float(due[1]) if due else 0.0))
        if number and delivery:
            self.events[int(number[1])] += delivery[1] not in self.ids
            self.ids[delivery[1]] += 1

    def answer(self, command: bytes) -> Struct:
        """What a command asks for."""
        if command == b"take":
            arrivals, self.arrivals = self.arrivals, []
            return Taken(arrivals)
        self.arrivals = []
        repeats = {key.decode(): count - 1 for key, count in self.ids.items() if count > 1}
        return Ids(len(self.ids), repeats, list(self.events.values()))


class _Connection(asyncio.Protocol):
    """As much of HTTP/1.1 as our own clients speak: a head, and a body with its length."""

    def __init__(self, noted: Noted, host: int, delay: float, *, hangs: bool) -> None:
        self._noted = noted
        self._host = host
        self._delay = delay
        self._hangs = hangs
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._hangs:
            return
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, length = self._buffer[:end], _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            path = head.split(b" ", 2)[1]
            if path.endswith(b"/hangs"):
                continue
            down = path.endswith(b"/flaps") and (time.time() // FLAP_SECONDS + self._host // 2) % 2 == 0
            if down and self._host % 2:
                self._transport.abort()
                return
            fails = down or path.endswith(b"/fails")
            if not fails:
                self._noted.note(self._host, head, body)
            answer = _FAILURE if fails else _ANSWER
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._answer, answer)
            else:
                self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _receive(port: int, hanging: int, delay: float, hosts: Sequence[str]) -> None:
    noted, loop = Noted(), asyncio.get_running_loop()
    for number, host in enumerate(hosts):
        hangs = number >= len(hosts) - hanging

        def connection(number: int = number, hangs: bool = hangs) -> _Connection:
            return _Connection(noted, number, delay, hangs=hangs)

        await loop.create_server(connection, host, port, backlog=1024)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    async for line in commands:
        print(msgspec.json.encode(noted.answer(line.strip())).decode(), flush=True)


class Receiver:
    """The receiver's process, as its user sees it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, hosts: Sequence[str]) -> None:
        self._process = process
        self.urls = [f"http://{host}:{port}/hook" for host in hosts]

    async def take(self) -> Sequence[Arrival]:
        """What arrived since the last time."""
        return msgspec.json.decode(await self._ask(b"take\n"), type=Taken).arrivals

    async def arrived(self, wanted: int, of: int | None = None, seconds: float = 120) -> list[Arrival]:
        """What arrives from the last time on, once it is so much; `of`: at so many first addresses.

        TimeoutError says how much there was.
        """
        found: list[Arrival] = []
        deadline = time.monotonic() + seconds
        while len(found) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {wanted} deliveries arrived in {seconds:g} s")
            await asyncio.sleep(0.1)
            found += [arrival for arrival in await self.take() if of is None or arrival.host < of]
        return found

    async def ids(self) -> Ids:
        """Which deliveries arrived from the beginning on, and which of them again."""
        return msgspec.json.decode(await self._ask(b"ids\n"), type=Ids)

    async def _ask(self, command: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command)
        return await self._process.stdout.readline()


@asynccontextmanager
async def receiver(
    hosts: Sequence[str] = ("127.0.0.1",), *, hanging: int = 0, delay: float = 0.0
) -> AsyncIterator[Receiver]:
    """A receiver in a separate process, which answers after `delay` seconds.

    The last `hanging` of the addresses never answer.
    """
    port = free_port()
    async with program("receiver", str(port), str(hanging), str(delay), *hosts) as process:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the receiver did not start on port {port} of {len(hosts)} addresses")
        yield Receiver(process, port, hosts)


if __name__ == "__main__":
    uvloop.run(_receive(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
