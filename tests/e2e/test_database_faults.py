"""What a database does to its clients on a bad day ends no process and loses nothing: it is used again by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from dispatcher.client import Publisher
from tests.e2e.service import Service
from tests.receiver import Receiver
from tests.servers import Databases, PostgreSQL, Standby
from tests.store.proxy import Proxy

pytestmark = pytest.mark.timeout(180)

RATE = 150
"""Events that are published each second."""


class Server:
    """The database of the service and its role, seen by somebody who may do everything with them."""

    def __init__(self, admin: asyncpg.Connection, url: str, role: str) -> None:
        self.url = urlsplit(url)._replace(netloc=f"{role}@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
        self._superuser = url
        self._admin = admin
        self._name = urlsplit(url).path.lstrip("/")
        self._role = role

    async def terminate(self) -> int:
        """Close all connections of the service at once; how many that were."""
        closed = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1"
        return int(await self._admin.fetchval(closed, self._name))

    async def terminate_five_times(self) -> None:
        """Close all connections while they are busy."""
        for _ in range(5):
            while not await self.terminate():
                await self._admin.execute("select pg_sleep(0.01)")
            await self._admin.execute("select pg_sleep(0.3)")

    async def rename(self) -> None:
        """Rename the database for a moment."""
        await self._admin.execute(f'alter database "{self._name}" with allow_connections false')
        while await self.terminate():
            await self._admin.execute("select pg_sleep(0.01)")
        await self._admin.execute(f'alter database "{self._name}" rename to "{self._name}_away"')
        await self._admin.execute("select pg_sleep(2)")
        await self._admin.execute(f'alter database "{self._name}_away" rename to "{self._name}"')
        await self._admin.execute(f'alter database "{self._name}" with allow_connections true')

    async def revoke(self) -> None:
        """Take the role's rights away for a moment."""
        inside = await asyncpg.connect(self._superuser)
        await inside.execute(f"revoke all on all tables in schema public from {self._role}")
        await inside.execute("select pg_sleep(2)")
        await inside.execute(f"grant all on all tables in schema public to {self._role}")
        await inside.close()

    async def lock_out(self) -> None:
        """Let the role log in no more for a moment."""
        await self._admin.execute(f"alter role {self._role} nologin")
        await self.terminate()
        await self._admin.execute("select pg_sleep(2)")
        await self._admin.execute(f"alter role {self._role} login")

    async def make_read_only(self) -> None:
        """Refuse writes for a moment, as on a primary that became a standby."""
        await self._admin.execute(f'alter database "{self._name}" set default_transaction_read_only = on')
        await self.terminate()
        await self._admin.execute("select pg_sleep(2)")
        await self._admin.execute(f'alter database "{self._name}" reset default_transaction_read_only')
        await self.terminate()

    async def rename_tables(self) -> None:
        """Let the tables be elsewhere for a moment, as while a backup is restored."""
        inside = await asyncpg.connect(self._superuser)
        await inside.execute("alter schema public rename to elsewhere")
        await inside.execute("select pg_sleep(2)")
        await inside.execute("alter schema elsewhere rename to public")
        await inside.close()


@pytest.fixture
async def server(postgresql: Databases) -> AsyncIterator[Server]:
    """Yield a database with a separate owner."""
    url = await postgresql.create_database()
    role = f"role_{uuid.uuid4().hex}"
    name = urlsplit(url).path.lstrip("/")
    admin = await asyncpg.connect(postgresql.url)
    await admin.execute(f"create role {role} login")
    await admin.execute(f'alter database "{name}" owner to {role}')
    inside = await asyncpg.connect(url)
    await inside.execute(f"alter schema public owner to {role}")
    await inside.close()
    yield Server(admin, url, role)
    await postgresql.drop_database(url)
    await admin.execute(f"drop role {role}")
    await admin.close()


async def survive(
    directory: Path,
    amqp_url: str,
    postgres_url: str,
    *faults: Callable[[], Awaitable[object]],
    processes: int,
) -> None:
    """Let processes deliver 150 events/s while the faults happen; all live, and each event arrives."""
    published = 0
    enough = asyncio.Event()

    async def publish() -> None:
        nonlocal published
        async with Publisher.amqp(amqp_url) as publisher:
            while not enough.is_set():
                await publisher.publish_many(
                    {"event": "RUNNING", "job_id": f"job-{n}", "id": f"event-{n}", "source": "/tests"}
                    for n in range(published, published + RATE // 10)
                )
                published += RATE // 10
                await asyncio.sleep(0.1)

    async with Receiver() as receiver, AsyncExitStack() as stack:
        services = []
        for _ in range(processes):
            urls: dict[str, Any] = {"amqp_url": amqp_url, "database_url": postgres_url}
            one = Service(directory, delivery_lease=10, delivery_timeout=5, **urls)
            services.append(await stack.enter_async_context(one))
        await services[0].subscribe(f"{receiver.url}/hook")
        publishing = asyncio.create_task(publish())
        for fault in faults:
            seen = len(receiver.arrived)
            await receiver.count(seen + RATE, seconds=60)
            await fault()
        enough.set()
        await publishing
        wanted = {f"event-{n}" for n in range(published)}
        await receiver.until(lambda arrived: {a.event["id"] for a in arrived} == wanted, seconds=90)
        for service in services:
            assert service.process.returncode is None
            assert await service.terminate() == 0
            assert "internal error" not in {line["event"] for line in service.lines}


async def test_connections_that_are_closed_while_they_are_busy_end_nothing(
    tmp_path: Path, amqp_url: str, server: Server
) -> None:
    await survive(tmp_path, amqp_url, server.url, server.terminate_five_times, processes=1)


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        Server.terminate_five_times,
        Server.rename,
        Server.revoke,
        Server.lock_out,
        Server.make_read_only,
        Server.rename_tables,
    ],
)
async def test_whatever_is_done_to_the_database_for_a_moment_two_processes_lose_nothing(
    tmp_path: Path, amqp_url: str, server: Server, fault: Callable[[Server], Awaitable[None]]
) -> None:
    again = [lambda: fault(server)] * 3
    await survive(tmp_path, amqp_url, server.url, *again, processes=2)


@pytest.mark.long
async def test_a_standby_that_is_promoted_is_used_instead_of_a_primary_that_died(
    tmp_path: Path, amqp_url: str
) -> None:
    with PostgreSQL() as primary, Standby(primary) as standby:
        await primary.wait_for_standby()
        async with Proxy(await primary.create_database()) as proxy:

            async def fail_over() -> None:
                await asyncio.to_thread(primary.kill)
                await asyncio.to_thread(standby.promote)
                name = urlsplit(proxy.target).path
                proxy.target = urlsplit(standby.url)._replace(path=name).geturl()

            await survive(tmp_path, amqp_url, proxy.url, fail_over, processes=2)
