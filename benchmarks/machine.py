"""The servers of one run, and how much is to be measured on them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from msgspec import Struct

from tests.servers import Nginx, PostgreSQL, RabbitMQ

WAL_SEGMENTS = 20


class Amount(Struct, frozen=True):
    """How much is measured: how often, which share of the usual numbers, and with how many processes."""

    rounds: int
    scale: float
    workers: int

    def count(self, usual: int, least: int = 50) -> int:
        """How many of something, where `usual` is its number at scale 1."""
        return max(least, int(usual * self.scale))

    def seconds(self, usual: float, least: float = 2.0) -> float:
        """How long, where `usual` is the duration at scale 1."""
        return max(least, usual * self.scale)


class Machine:
    """RabbitMQ, PostgreSQL (fsync on) and nginx, running.

    `done` is called after each step; `templates` are databases with so many subscriptions, to be copied.
    """

    def __init__(
        self,
        amount: Amount,
        rabbitmq: RabbitMQ,
        postgresql: PostgreSQL,
        nginx: Nginx,
    ) -> None:
        self.amount = amount
        self.rabbitmq = rabbitmq
        self.postgresql = postgresql
        self.nginx = nginx
        self.sink = f"{nginx.url}/hook"
        self.templates: dict[int, str] = {}
        self.done: Callable[[], None] = lambda: None

    @property
    def pids(self) -> dict[str, int]:
        """The servers' process ids."""
        return {
            "RabbitMQ": self.rabbitmq.pid,
            "PostgreSQL": self.postgresql.pid,
            "nginx": self.nginx.pid,
        }


@contextmanager
def machine(amount: Amount) -> Iterator[Machine]:
    """Start the servers, and end them."""
    with RabbitMQ() as rabbitmq, PostgreSQL() as postgresql, Nginx() as nginx:
        asyncio.run(_fill_wal(postgresql.url))
        yield Machine(amount, rabbitmq, postgresql, nginx)


async def _fill_wal(url: str) -> None:
    """Leave segments of the write-ahead log to be used again, as a server has them that has run for a while.

    A new server makes each segment of 16 MiB while a commit waits for it, for some 13 ms.
    """
    connection = await asyncpg.connect(url)
    try:
        for _ in range(WAL_SEGMENTS):
            await connection.execute("select pg_logical_emit_message(false, '', '')")
            await connection.execute("select pg_switch_wal()")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


@asynccontextmanager
async def program(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the benchmarks in a separate process, with pipes; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{module}", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def processes(count: int) -> str:
    """How many, in words."""
    return "one process" if count == 1 else f"{count} processes"
