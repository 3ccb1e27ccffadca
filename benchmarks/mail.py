"""E-mail: messages a second through the target kind and its pool, against one bare aiosmtplib connection.

Run as `python -m benchmarks.mail` it is the relay: it takes every message, and prints its port when it listens.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import cast

import aiosmtplib
import uvloop

from benchmarks.machine import Machine, program
from benchmarks.results import Check, Outcome
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.targets.email.consent import ConsentService, MailPolicy
from dispatcher.targets.email.kind import EmailKind
from dispatcher.targets.email.links import Links
from dispatcher.targets.email.mailer import Mailer
from dispatcher.targets.email.message import sender_of
from dispatcher.targets.email.smtp import Timeouts, relay_at
from dispatcher.targets.email.smtp_pool import Pool
from dispatcher.targets.email.templates import Templates
from tests.factories import make_event, make_subscription

MAILS = 1000
CONNECTIONS = 8
AT_ONCE = 32
TO = "ann@example.org"
KEY = "a key of thirty-two characters or more"


async def over_a_pool(machine: Machine) -> Outcome:
    """Everything that a mail takes but matching: made, counted for its address, sent."""
    count = machine.amount.count(MAILS)
    pooled: list[float] = []
    bare: list[float] = []
    async with program("mail") as relay:
        assert relay.stdout is not None
        port = int(await relay.stdout.readline())
        for _ in range(machine.amount.rounds):
            bare.append(await _bare(port, count))
            pooled.append(await _pooled(port, count))
            machine.done()
    return Outcome(
        [
            Check(
                bar="mail",
                what=f"mails over a pool of {CONNECTIONS} against one bare connection",
                unit="mails/s",
                measured=statistics.median(pooled),
                floor=statistics.median(bare),
            )
        ]
    )


async def _bare(port: int, count: int) -> float:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        text = b"Subject: FINISHED job-1\r\n\r\n" + b"x" * 70 + b"\r\n"
        message = text + (b"y" * 76 + b"\r\n") * 150  # as long as one of ours
        began = time.perf_counter()
        for _ in range(count):
            await client.sendmail("bench@example.org", [TO], message)
        return count / (time.perf_counter() - began)


async def _pooled(port: int, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'bench.db'}", Sealer([KEY]))
        await store.open()
        mailer = Mailer(
            pool=Pool(relay_at(f"smtp://127.0.0.1:{port}", Timeouts(), CONNECTIONS)),
            sender=sender_of("bench@example.org"),
            templates=Templates(),
            links=Links("https://dispatcher.example.org", [KEY]),
        )
        trusted = frozenset({"example.org"})
        rules = MailPolicy(trusted_domains=trusted, max_per_hour=10**6, max_per_domain=10**6)
        kind = EmailKind(ConsentService(mailer, store.recipients, rules))
        try:
            return await _send(kind, make_subscription(target={"kind": "email", "to": [TO]}), count)
        finally:
            await kind.close()
            await store.close()


async def _send(kind: EmailKind, subscription: Subscription, count: int) -> float:
    sender, numbers = kind.sender(subscription), iter(range(count))

    async def work() -> None:
        for _ in numbers:
            answer = await sender.send(make_event(), new_id("dlv"), 1)
            assert answer.error is None, answer.error

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


class _Session(asyncio.Protocol):
    """Takes every message."""

    def __init__(self) -> None:
        self._buffer = b""
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._in_message else b"\r\n"
            line, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            self._in_message = not self._in_message and line[:4].upper() == b"DATA"
            self._transport.write(b"354 go on\r\n" if self._in_message else b"250 OK\r\n")


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
