"""Which tenants there are, by name."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy import Connection, text

from dispatcher.store.factory import open_store
from tests.factories import make_subscription
from tests.servers import Databases
from tests.store.conftest import SEALER


@pytest.mark.parametrize("locale", ["C", "en-US"])
async def test_every_tenant_is_found_whatever_the_order_of_the_database_is(
    postgresql: Databases, locale: str
) -> None:
    url = await postgresql.create_database()
    name = url.rpartition("/")[2]
    admin = await asyncpg.connect(postgresql.url)
    await admin.execute(f"drop database {name}")
    provider = (
        "locale_provider libc locale 'C'" if locale == "C" else f"locale_provider icu icu_locale '{locale}'"
    )
    await admin.execute(f"create database {name} template template0 encoding 'UTF8' {provider}")
    await admin.close()
    store = open_store(url, SEALER)
    await store.open()
    names = ["alpha", "Beta", "a-b", "aa", "Zeta"]
    for tenant in names:
        await store.subscriptions.add(make_subscription(tenant=tenant))
    await store.session.write(_move_one_to_jobs)
    assert sorted(await store.tenants.names(10)) == sorted(names)
    await store.close()
    await postgresql.drop_database(url)


def _move_one_to_jobs(connection: Connection) -> None:
    """Tenants stand in several tables, and the first of each is compared with those of the others."""
    connection.execute(text("delete from subscriptions where tenant = 'alpha'"))
    connection.execute(
        text(
            "insert into jobs (tenant, id, first_event, last_event, updated_at, events) "
            "values ('alpha', 'j', gen_random_uuid(), gen_random_uuid(), now(), 1)"
        )
    )
