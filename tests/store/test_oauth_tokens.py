"""Access tokens: one for all processes, encrypted, and one process at a time asks for the next one."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

from dispatcher.domain.events import utc_now
from dispatcher.store.encryption import Sealer
from dispatcher.store.store import Store
from tests.store.conftest import SEALER, OpenAnother
from tests.stores import prepared_store

CREDENTIALS, OTHERS = b"client and its secret", b"another client"
SOON, PAST = timedelta(hours=1), timedelta(seconds=-1)


async def test_a_token_is_found_by_its_credentials(store: Store) -> None:
    await store.oauth_tokens.finish(CREDENTIALS, b"a token", utc_now() + SOON)
    await store.oauth_tokens.finish(CREDENTIALS, b"a newer token", utc_now() + SOON)

    assert await store.oauth_tokens.read(CREDENTIALS) == b"a newer token"
    assert await store.oauth_tokens.read(OTHERS) is None


async def test_of_several_processes_one_asks_and_all_have_its_token(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(4)]
    turns = await asyncio.gather(*(one.oauth_tokens.begin(CREDENTIALS, 30) for one in stores))
    assert sorted(turns) == [False, False, False, True]

    await stores[turns.index(True)].oauth_tokens.finish(CREDENTIALS, b"a token", utc_now() + SOON)
    assert [await one.oauth_tokens.read(CREDENTIALS) for one in stores] == [b"a token"] * 4


async def test_another_one_may_ask_after_a_failure_and_when_the_first_is_late(store: Store) -> None:
    tokens = store.oauth_tokens
    assert await tokens.begin(CREDENTIALS, 30)
    assert not await tokens.begin(CREDENTIALS, 30)
    assert await tokens.begin(OTHERS, 0)  # its time is over at once

    await tokens.finish(CREDENTIALS, None, utc_now())
    assert await tokens.begin(CREDENTIALS, 30)
    assert await tokens.begin(OTHERS, 30)


async def test_a_failure_leaves_the_token_that_is_there(store: Store) -> None:
    await store.oauth_tokens.finish(CREDENTIALS, b"a token", utc_now() + SOON)
    await store.oauth_tokens.finish(CREDENTIALS, None, utc_now())

    assert await store.oauth_tokens.read(CREDENTIALS) == b"a token"


async def test_what_is_of_no_use_any_more_is_purged(store: Store) -> None:
    tokens = store.oauth_tokens
    await tokens.finish(CREDENTIALS, b"a token", utc_now() + PAST)
    await tokens.finish(OTHERS, b"another token", utc_now() + SOON)
    await store.purge_orphans()

    assert await tokens.read(CREDENTIALS) is None
    assert await tokens.read(OTHERS) == b"another token"


async def test_the_file_holds_neither_token_nor_credentials(sqlite_url: str) -> None:
    async with prepared_store(sqlite_url, SEALER) as store:
        await store.oauth_tokens.finish(CREDENTIALS, b"a token", utc_now() + SOON)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        [row] = connection.execute("select * from oauth_tokens").fetchall()
    connection.close()
    stored = b" ".join(part for part in row if isinstance(part, bytes))
    assert b"a token" not in stored
    assert b"secret" not in stored


async def test_with_another_first_key_a_token_is_not_found(sqlite_url: str) -> None:
    async with prepared_store(sqlite_url, SEALER) as store:
        await store.oauth_tokens.finish(CREDENTIALS, b"a token", utc_now() + SOON)
    async with prepared_store(sqlite_url, Sealer(["another key, which is long enough too"])) as store:
        assert await store.oauth_tokens.read(CREDENTIALS) is None
        assert await store.oauth_tokens.begin(CREDENTIALS, 30)
