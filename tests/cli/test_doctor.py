from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika import ExchangeType
from aio_pika.exceptions import ChannelNotFoundEntity
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from dispatcher.intake.amqp.topology import Topology, prepare
from tests.cli.conftest import Result, Run
from tests.servers import free_port

KEY = "0123456789abcdef0123456789abcdef"


def row(result: Result, what: str) -> str:
    """The line of one check."""
    (found,) = [line for line in result.out.splitlines() if line.startswith(what)]
    return " ".join(found.removeprefix(what).split())


async def doctor(run: Run, **settings: str) -> Result:
    return await asyncio.to_thread(run, "doctor", **{f"DISPATCHER_{k}": v for k, v in settings.items()})


def test_a_new_place_is_well_and_stays_empty(run: Run, tmp_path: Path) -> None:
    result = run("doctor", DISPATCHER_AUTH_ADMIN_KEY=KEY)
    assert result.code == 0
    assert row(result, "settings") == "ok defaults and the environment"
    assert row(result, "admin key") == "ok set"
    assert row(result, "secrets key").startswith("ok none yet")
    assert row(result, "database").startswith("ok sqlite:///var/dispatcher.db: empty")
    assert row(result, "broker").startswith("ok none")
    assert row(result, "mail relay").startswith("ok none")
    assert list(tmp_path.iterdir()) == []


async def test_a_wrong_setting_is_the_only_thing_that_is_reported(run: Run) -> None:
    result = await doctor(run, HTTP_PORT="many")
    assert result.code == 1
    assert "fail http.port (environment DISPATCHER_HTTP_PORT): expected" in row(result, "settings")
    assert "database" not in result.out


async def test_keys_of_tapis_that_cannot_be_read_are_reported(run: Run, tmp_path: Path) -> None:
    keys = tmp_path / "tapis.jwks"
    result = await doctor(run, TAPIS_KEYS=str(keys))
    assert result.code == 1
    assert row(result, "tapis keys").startswith("fail tapis.keys:")
    result = await doctor(run)
    assert row(result, "tapis keys") == "ok none: only API keys are accepted"


async def test_a_missing_admin_key_is_a_warning(run: Run) -> None:
    result = await doctor(run)
    assert result.code == 0
    assert row(result, "admin key").startswith("warn none in the settings set DISPATCHER_AUTH_ADMIN_KEY")


@pytest.mark.parametrize(
    "setting",
    [
        f'[auth]\nadmin_key = "{KEY}"\n',
        f'[secrets]\nkey = "{KEY}"\n',
        f'[network]\nproxy = "http://a-user:{KEY}@127.0.0.1:1"\n',
        f'[smtp]\nurl = "smtp://a-user:{KEY}@127.0.0.1:1"\n',
    ],
)
async def test_secrets_that_others_can_read_are_a_warning(run: Run, tmp_path: Path, setting: str) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "dispatcher.toml"
    file.write_text(setting)
    file.chmod(0o644)
    result = await doctor(run)
    assert "warn config/dispatcher.toml holds secrets that others can read chmod 600" in row(
        result, "settings"
    )
    assert KEY not in result.out
    file.chmod(0o600)
    assert row(await doctor(run), "settings") == "ok config/dispatcher.toml"


async def test_a_setting_by_its_old_name_is_a_warning(run: Run) -> None:
    result = await doctor(run, AUTH_ADMIN_KEY=KEY, TETHYS_OPEN_TO="loopback")
    assert result.code == 0
    assert "this setting is called tethys.allow now" in " ".join(result.out.split())


async def test_a_file_without_secrets_may_be_read_by_all(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "dispatcher.toml"
    file.write_text("[http]\nport = 8081\n")
    file.chmod(0o644)
    assert row(await doctor(run, CONFIG=str(file)), "settings") == f"ok {file}"


async def test_a_kept_key_that_others_can_read_is_a_warning(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "x.db.key"
    key.write_text(KEY)
    key.chmod(0o644)
    url = f"sqlite:///{tmp_path}/x.db"
    assert row(await doctor(run, DATABASE_URL=url), "secrets key").startswith("warn others can read")
    key.chmod(0o600)
    assert row(await doctor(run, DATABASE_URL=url), "secrets key").startswith(f"ok in {key}")


async def test_the_schema_of_an_sqlite_database_is_compared(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    await asyncio.to_thread(run, "migrate", DISPATCHER_DATABASE_URL=url)
    assert row(await doctor(run, DATABASE_URL=url), "database").startswith(f"ok {url}: schema ")
    for revision in ("0001", "9999"):
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("update alembic_version set version_num = ?", (revision,))
        connection.close()
        found = row(await doctor(run, DATABASE_URL=url), "database")
        if revision == "0001":
            assert found.startswith(f"warn {url}: schema 0001, this program wants ")
            assert "dispatcher migrate" in found
        else:
            assert found.startswith(f"fail {url}: schema 9999 is newer than this program knows")


async def test_a_file_that_is_no_database_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, although it is as long as one might be" * 20)
    result = await doctor(run, DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert result.code == 1
    assert "file is not a database" in row(result, "database")


async def test_postgresql_is_asked_for_its_schema(run: Run, database_url: str) -> None:
    result = await doctor(run, DATABASE_URL=database_url, SECRETS_KEY=KEY)
    assert result.code == 0
    assert "empty, the next start makes the schema" in row(result, "database")
    migrated = await asyncio.to_thread(run, "migrate", DISPATCHER_DATABASE_URL=database_url)
    assert "applied 0001" in migrated.err
    assert ": schema " in row(await doctor(run, DATABASE_URL=database_url, SECRETS_KEY=KEY), "database")
    again = await asyncio.to_thread(run, "migrate", DISPATCHER_DATABASE_URL=database_url)
    assert "was up to date" in again.err


async def test_a_database_that_does_not_answer_fails_without_its_password(run: Run) -> None:
    result = await doctor(run, DATABASE_URL="postgresql://u:hunter22@127.0.0.1:1/x", SECRETS_KEY=KEY)
    assert result.code == 1
    assert row(result, "database").startswith("fail postgresql://u:***@127.0.0.1:1/x: ")
    assert "hunter22" not in result.out + result.err


async def test_postgresql_without_a_secrets_key_fails(run: Run, database_url: str) -> None:
    result = await doctor(run, DATABASE_URL=database_url)
    assert result.code == 1
    assert "openssl rand -base64 48" in row(result, "secrets key")


async def test_a_broker_without_queues_is_well(run: Run, amqp_url: str) -> None:
    result = await doctor(run, AMQP_URL=amqp_url)
    assert result.code == 0
    assert "no queue dispatcher.intake yet" in row(result, "broker")


async def test_dead_letters_are_a_warning(run: Run, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await prepare(connection, Topology(exchange="dispatcher.events", queue="in"))
        await channel.default_exchange.publish(aio_pika.Message(b"x"), "in")
        assert "ok" in row(await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in"), "broker").split()
        await channel.default_exchange.publish(aio_pika.Message(b"x"), "in.dead")
    result = await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in")
    assert result.code == 0
    assert "1 messages in in, 1 in in.dead" in row(result, "broker")
    assert row(result, "broker").startswith("warn")


async def test_a_queue_with_other_arguments_fails(run: Run, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("in", durable=True)
    result = await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in")
    assert result.code == 1
    assert "the queue in already exists with different arguments" in row(result, "broker")


@pytest.mark.parametrize("queue", [True, False])
async def test_bindings_that_the_exchange_cannot_have_fail(run: Run, amqp_url: str, queue: bool) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        if queue:
            await prepare(connection, Topology(exchange="dispatcher.events", queue="in"))
            await channel.exchange_delete("dispatcher.events")
        await channel.declare_exchange("dispatcher.events", ExchangeType.DIRECT, durable=True)
    result = await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in")
    assert result.code == 1
    assert "amqp.bindings: the exchange dispatcher.events is of the type direct" in row(result, "broker")


async def test_an_exchange_that_others_declared_is_well(run: Run, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await prepare(connection, Topology(exchange="amq.direct", queue="in", bindings=["done"]))
        await channel.declare_exchange("dispatcher.events", ExchangeType.FANOUT)
    result = await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in")
    assert result.code == 0
    assert "used as others declared it: PRECONDITION_FAILED - inequivalent arg 'type'" in row(
        result, "broker"
    )


async def test_a_missing_queue_for_dead_letters_is_well(run: Run, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await prepare(connection, Topology(exchange="dispatcher.events", queue="in"))
        await channel.queue_delete("in.dead")
        result = await doctor(run, AMQP_URL=amqp_url, AMQP_QUEUE="in")
        assert result.code == 0
        assert "no queue in.dead yet" in row(result, "broker")
        with pytest.raises(ChannelNotFoundEntity):
            await channel.declare_queue("in.dead", passive=True)


async def test_a_user_whom_the_broker_refuses_fails(run: Run, amqp_url: str) -> None:
    result = await doctor(run, AMQP_URL=amqp_url.replace("guest:guest", "guest:hunter22"))
    assert result.code == 1
    assert "refuses the user guest" in row(result, "broker")
    assert "hunter22" not in result.out + result.err


async def test_a_broker_that_does_not_answer_fails_without_its_password(run: Run) -> None:
    result = await doctor(run, AMQP_URL="amqp://u:hunter22@127.0.0.1:1/")
    assert result.code == 1
    assert row(result, "broker").startswith("fail amqp://u:***@127.0.0.1:1/: ")
    assert "hunter22" not in result.out + result.err
    assert result.err == ""


class Relay:
    """Knows one user."""

    def __call__(
        self, server: object, session: object, envelope: object, mechanism: str, data: object
    ) -> AuthResult:
        return AuthResult(success=getattr(data, "password", b"") == b"pass word", handled=False)


@pytest.fixture
async def relay() -> AsyncIterator[str]:
    """The host and port of a mail relay that wants a user."""
    port = free_port()
    controller = Controller(
        object(),
        hostname="127.0.0.1",
        port=port,
        authenticator=Relay(),
        auth_require_tls=False,
    )
    await asyncio.to_thread(controller.start)
    yield f"127.0.0.1:{port}"
    await asyncio.to_thread(controller.stop)


async def test_a_mail_relay_is_asked_with_its_user(run: Run, relay: str) -> None:
    url = f"smtp://me:pass%20word@{relay}"
    result = await doctor(run, SMTP_URL=url, SMTP_SENDER="jobs@example.org")
    assert result.code == 0
    assert row(result, "mail relay") == f"ok smtp://me:***@{relay} answers"


async def test_a_sender_of_nowhere_is_a_warning(run: Run, relay: str) -> None:
    result = await doctor(run, SMTP_URL=f"smtp://me:pass%20word@{relay}")
    assert row(result, "mail relay").startswith("warn")
    assert "set DISPATCHER_SMTP_SENDER" in row(result, "mail relay")


async def test_mails_without_links_are_a_warning(run: Run, relay: str) -> None:
    found = row(await doctor(run, SMTP_URL=f"smtp://me:secret@{relay}"), "mails")
    assert found.startswith("warn they have no links")
    assert found.endswith("set DISPATCHER_HTTP_PUBLIC_URL")
    linked = {"SMTP_URL": f"smtp://me:secret@{relay}", "HTTP_PUBLIC_URL": "https://jobs.example.org"}
    assert row(await doctor(run, **linked), "mails") == "ok their links begin with https://jobs.example.org"


async def test_a_mail_template_that_fails_is_a_warning(run: Run, relay: str, tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "default.txt.j2").write_text("{{ job_nam }}")
    settings = {"SMTP_URL": f"smtp://me:secret@{relay}", "SMTP_TEMPLATES": "mails"}
    assert "the template default.txt.j2 fails: 'job_nam' is undefined" in row(
        await doctor(run, **settings), "mails"
    )
    missing = row(await doctor(run, SMTP_URL=f"smtp://me:secret@{relay}", SMTP_TEMPLATES="missing"), "mails")
    assert missing.startswith("fail smtp.templates: missing is no folder")


async def test_a_mail_relay_that_refuses_the_user_fails(run: Run, relay: str) -> None:
    result = await doctor(run, SMTP_URL=f"smtp://me:hunter22@{relay}")
    assert result.code == 1
    assert row(result, "mail relay").startswith("fail")
    assert "hunter22" not in result.out + result.err


async def test_a_mail_relay_without_the_tls_that_the_url_wants_fails(run: Run, relay: str) -> None:
    result = await doctor(run, SMTP_URL=f"smtp+starttls://{relay}")
    assert result.code == 1
    assert "STARTTLS" in row(result, "mail relay")
