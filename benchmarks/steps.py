"""What the steps of sending one webhook cost this process, in µs of CPU: `python -m benchmarks.steps`.

Each step runs many times in a row, on the service's event loop (uvloop); the least of several rounds counts, because
whatever else the machine does only adds. Exchanges are with a server in a separate process that answers 204. `floor`
writes the same bytes and reads the answer's on a bare asyncio protocol, one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from multiprocessing.connection import Connection
from typing import NamedTuple, cast

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table
from yarl import URL

from dispatcher.delivery.attempt_log import count, log_outcome
from dispatcher.domain.deliveries import Attempt, OpenDelivery, Outcome, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.variable_values import EventValues
from dispatcher.http import Headers, Origin, Request, Response
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.response_check import evaluate_response
from dispatcher.targets.signing import Signer
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from dispatcher.targets.webhook.request import RequestTemplate
from dispatcher.telemetry import logs
from tests.factories import SECRET, make_claimed, make_event, make_subscription

_ANSWER = b"HTTP/1.1 204 No Content\r\nServer: sink\r\nDate: Mon, 04 May 2026 12:00:00 GMT\r\n\r\n"
_PATH = "/jobs/$<JOB_ID>?status=${EVENT}"


class Step(NamedTuple):
    """One step and what it costs (µs)."""

    name: str
    cost: float


class _Sink(asyncio.Protocol):
    """Answers each piece that comes: requests here are small, and come one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER)


def _serve(port: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


class _Floor(asyncio.Protocol):
    """Writes, and resolves a future with whatever comes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self._waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        self._waiter.set_result(data)

    def close(self) -> None:
        self._transport.close()


class Bench:
    """Measures steps; `count` runs of one make a round."""

    def __init__(self, count: int, rounds: int) -> None:
        self._count = count
        self._rounds = rounds

    def call(self, name: str, function: Callable[[], object]) -> Step:
        """A step that waits for nothing."""
        costs = []
        for _ in range(self._rounds):
            began = time.process_time()
            for _ in range(self._count):
                function()
            costs.append(time.process_time() - began)
        return Step(name, min(costs) / self._count * 1e6)

    async def wait(self, name: str, function: Callable[[], Awaitable[object]]) -> Step:
        """A step that is awaited."""
        costs = []
        for _ in range(self._rounds):
            began = time.process_time()
            for _ in range(self._count):
                await function()
            costs.append(time.process_time() - began)
        return Step(name, min(costs) / self._count * 1e6)


@contextlib.asynccontextmanager
async def _egress() -> AsyncIterator[Egress]:
    egress = Egress(Guard([ip_network("127.0.0.0/8")]))
    try:
        yield egress
    finally:
        await egress.close()


async def measure(bench: Bench, port: int) -> list[Step]:
    """All steps, with a server on this port."""
    url = f"http://127.0.0.1:{port}"
    claimed = make_claimed(
        subscription=make_subscription(
            target={"kind": "webhook", "url": url + _PATH}, destination=f"http://127.0.0.1:{port}"
        ),
        event=make_event(
            data={"event": "FINISHED", "status": "FINISHED", "message": "done", "job": {}, "data": {}}
        ),
    )
    return [
        *_made(bench, claimed, url),
        *await _exchanged(bench, claimed, url),
        *_reporting(bench, claimed),
        *await _whole(bench, claimed, url),
    ]


def _made(bench: Bench, claimed: OpenDelivery, url: str) -> list[Step]:
    event = claimed.event
    template = RequestTemplate(WebhookTarget(url + _PATH), {})
    signer = Signer([SECRET])
    response = Response(204, Headers(), b"", True)
    return [
        bench.call(
            "render: URL with two variables, request line", lambda: template.render(EventValues(event))
        ),
        bench.call("sign", lambda: signer.lines(claimed.id, 1_700_000_000, event.document)),
        bench.call(
            "look at the answer", lambda: evaluate_response(response, "POST https://example.org/", None, ())
        ),
    ]


async def _exchanged(bench: Bench, claimed: OpenDelivery, url: str) -> list[Step]:
    loop = asyncio.get_running_loop()
    origin = Origin.parse(url)
    body = claimed.event.document
    headers = {
        "webhook-id": claimed.id,
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + "A" * 44,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = (
        f"POST /jobs HTTP/1.1\r\nHost: {origin.place}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )

    _, floor = await loop.create_connection(_Floor, "127.0.0.1", origin.port)
    steps = [await bench.wait("exchange: floor (write, read)", lambda: floor.ask(request))]
    floor.close()
    prepared = Request.build("POST", URL(url + "/jobs"), headers, body)
    async with _egress() as egress:
        steps.append(await bench.wait("exchange: ours", lambda: egress.exchange.send(prepared)))
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            async with session.post(url + "/jobs", data=body, headers=headers) as answer:
                await answer.read()

        return [*steps, await bench.wait("exchange: aiohttp, for comparison", ask)]


def _reporting(bench: Bench, claimed: OpenDelivery) -> list[Step]:
    now = utc_now()
    attempt = Attempt(
        number=1, started_at=now, duration=0.01, request="POST …", status=204, error=None, answer=None
    )
    outcome = Outcome(
        delivery_id=claimed.id,
        state=State.DELIVERED,
        attempts=1,
        due_at=None,
        ended_at=now,
        reason=None,
        attempt=attempt,
    )
    return [
        bench.call("metrics", lambda: count(claimed, outcome)),
        bench.call("log line, with its share of a write", lambda: log_outcome(claimed, outcome)),
    ]


async def _whole(bench: Bench, claimed: OpenDelivery, url: str) -> list[Step]:
    async with _egress() as egress:
        sender = WebhookKind(egress).sender(claimed.subscription)
        delivery_id = new_id("dlv")
        return [await bench.wait("sender, whole", lambda: sender.send(claimed.event, delivery_id, 1, None))]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.steps", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--count", type=int, default=3000, help="runs of a step in a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    chosen = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    with tempfile.TemporaryFile() as log:
        flush = logs.configure("info", "json", log)
        try:
            steps = uvloop.run(measure(Bench(chosen.count, chosen.rounds), ours.recv()))
        finally:
            server.terminate()
            flush()
    table = Table("step", "µs")
    for step in steps:
        table.add_row(step.name, f"{step.cost:.1f}")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
