"""The servers that the other tests stand on do what these tests take for granted."""

import os
import select
import shutil
import subprocess
import sys

import aio_pika
import asyncpg
import pytest

from tests.servers import Broker, Databases, PostgreSQL, RabbitMQ, ServerError


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fetch_value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def publish(url: str, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue)


async def receive(url: str, queue: str) -> bytes:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        found = await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        async with found.iterator() as messages:
            async for message in messages:
                await message.ack()
                return message.body
    raise AssertionError("the queue ended")


async def test_each_database_is_empty_and_seen_by_one_test(postgresql: Databases, database_url: str) -> None:
    other = await postgresql.create_database()
    await execute(other, "CREATE TABLE only_there ()")
    assert await fetch_value(database_url, "SELECT to_regclass('only_there')") is None
    await postgresql.drop_database(other)


async def test_a_database_can_be_a_copy_of_a_prepared_one(postgresql: Databases, database_url: str) -> None:
    await execute(database_url, "CREATE TABLE prepared AS SELECT 42 AS answer")
    copy = await postgresql.create_database(template=database_url)
    await execute(copy, "UPDATE prepared SET answer = 43")
    assert await fetch_value(database_url, "SELECT answer FROM prepared") == 42
    await postgresql.drop_database(copy)


async def test_an_emptied_database_keeps_its_tables_and_has_no_connections(
    postgresql: Databases, database_url: str
) -> None:
    key = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    await execute(database_url, f"CREATE TABLE ends (id {key})")
    await execute(database_url, f"CREATE TABLE refers (id {key}, to_end bigint REFERENCES ends)")
    await execute(database_url, "CREATE TABLE parts (id int) PARTITION BY RANGE (id)")
    await execute(database_url, "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)")
    await execute(database_url, "CREATE TABLE alembic_version AS SELECT 'kept' AS version_num")
    await execute(database_url, "INSERT INTO ends DEFAULT VALUES")
    await execute(database_url, "INSERT INTO refers (to_end) VALUES (1)")
    await execute(database_url, "INSERT INTO parts VALUES (1)")
    other = await asyncpg.connect(database_url)
    await other.execute("BEGIN; LOCK TABLE ends")
    await postgresql.empty_database(database_url)
    assert other.is_closed()
    count = "(SELECT count(*) FROM ends) + (SELECT count(*) FROM refers) + (SELECT count(*) FROM parts)"
    assert await fetch_value(database_url, f"SELECT {count}") == 0
    assert await fetch_value(database_url, "INSERT INTO ends DEFAULT VALUES RETURNING id") == 1
    assert await fetch_value(database_url, "SELECT version_num FROM alembic_version") == "kept"


async def test_a_dropped_database_is_gone(postgresql: Databases) -> None:
    url = await postgresql.create_database()
    await postgresql.drop_database(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_a_virtual_host_does_not_see_the_queues_of_another(rabbitmq: Broker, amqp_url: str) -> None:
    other = await rabbitmq.create_vhost()
    await publish(other, "jobs", b"not for you")
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("jobs", passive=True)
    await rabbitmq.delete_vhost(other)


async def test_the_management_interface_says_what_it_refused(rabbitmq: Broker) -> None:
    with pytest.raises(ServerError, match="GET /vhosts/absent: 404"):
        await rabbitmq.api("GET", "/vhosts/absent")


@pytest.mark.long
@pytest.mark.long
async def test_a_killed_rabbitmq_keeps_its_messages(own_rabbitmq: RabbitMQ) -> None:
    url = await own_rabbitmq.create_vhost()
    await publish(url, "jobs", b"still here")
    await own_rabbitmq.remembers(url, "jobs")
    own_rabbitmq.kill()
    with pytest.raises(ConnectionError):
        await aio_pika.connect(url)
    await own_rabbitmq.start_async()
    assert await receive(url, "jobs") == b"still here"


async def test_a_killed_postgresql_keeps_what_was_committed(own_postgresql: PostgreSQL) -> None:
    url = await own_postgresql.create_database()
    await execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    own_postgresql.kill()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(url)
    await own_postgresql.start_async()
    assert await fetch_value(url, "SELECT answer FROM kept") == 42


async def test_a_restart_closes_the_connections(own_postgresql: PostgreSQL) -> None:
    connection = await asyncpg.connect(own_postgresql.url)
    own_postgresql.restart()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
        await connection.fetchval("SELECT 1")
    assert await fetch_value(own_postgresql.url, "SELECT 1") == 1


async def test_a_private_server_has_the_settings_that_it_was_given() -> None:
    with PostgreSQL(settings={"max_connections": "17"}) as server:
        assert await fetch_value(server.url, "SHOW max_connections") == "17"
        assert await fetch_value(server.url, "SHOW fsync") == "on"


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match="max_connections"):
        PostgreSQL(settings={"max_connections": "many"}).__enter__()


def test_nothing_is_left_of_a_closed_server() -> None:
    with PostgreSQL() as server:
        pid, directory = server.pid, server.directory
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


SESSION = """
import signal, sys
from tests import servers

server = getattr(servers, sys.argv[1])()
server.start()
print(server.pid, server.directory, flush=True)
signal.pause()
"""


@pytest.mark.long
@pytest.mark.parametrize("server", ["PostgreSQL", "RabbitMQ"])
def test_the_servers_of_a_killed_session_die_with_it(server: str) -> None:
    command = [sys.executable, "-c", SESSION, server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout
        pid, directory = session.stdout.readline().split()
        running = os.pidfd_open(int(pid))
        session.kill()
    ended, _, _ = select.select([running], [], [], 30)
    os.close(running)
    shutil.rmtree(directory)
    assert ended
