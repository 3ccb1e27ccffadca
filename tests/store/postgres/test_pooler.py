"""PgBouncer before PostgreSQL: in session mode all works, in the other modes the start says why not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import pytest

from dispatcher.config.loading import load
from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import SettingsError
from dispatcher.domain.retention import DEFAULT
from dispatcher.store.factory import open_store
from dispatcher.store.postgres.pooler import refuse_shared_sessions
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_event
from tests.servers import PgBouncer
from tests.store.conftest import SEALER
from tests.store.helpers import PAST, attempt, outcome, state_of, stored, subscribed

# What an operator may have set, as the documentation of PgBouncer's clients advises.
IGNORED = "ignore_startup_parameters = extra_float_digits"


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[Callable[..., str]]:
    """Yield what starts a pooler in a mode and returns the address of a database behind it."""
    started: list[PgBouncer] = []

    def start(mode: str, more: str = "") -> str:
        pooler = PgBouncer(postgres_url, mode, more=more)
        started.append(pooler)
        pooler.start()
        return pooler.url

    yield start
    for pooler in started:
        pooler.close()


@pytest.fixture
async def store(pooled: Callable[..., str]) -> AsyncIterator[Store]:
    """Yield a store behind a pooler in session mode."""
    opened = open_store(pooled("session"), SEALER)
    await opened.open()
    yield opened
    await opened.close()


async def test_everything_works_in_session_mode(store: Store) -> None:
    process = await store.leases.register("a-host", 1, lease=60)
    await store.check_write(process)
    subscription = await subscribed(store)
    (fresh,) = await stored(store, process, subscription)
    (due,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    await store.queue.finish(process, [outcome(fresh.id, State.DELIVERED, attempt=attempt())])
    assert await state_of(store, fresh) is State.DELIVERED
    assert [one.id for one in await claim(store, process, 10)] == [due.id]
    kept = await store.retain(DEFAULT)
    assert kept.ahead
    assert await store.leases.release(process) == 1


async def test_a_session_has_the_settings_that_it_has_without_a_pooler(
    store: Store, postgres_url: str
) -> None:
    direct = open_store(postgres_url, SEALER)
    await direct.open()
    names = ["statement_timeout", "plan_cache_mode", "enable_seqscan", "application_name"]
    found = []
    for one in (store, direct):
        async with one.session.hot() as connection:  # type: ignore[attr-defined]  # of PostgreSQL's
            found.append([await connection.fetchval("select current_setting($1)", name) for name in names])
    await direct.close()
    assert found[0] == found[1] == ["30s", "force_generic_plan", "off", "dispatcher"]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("more", ["", IGNORED, "server_round_robin = 1"])
async def test_the_other_modes_are_refused_in_one_sentence(
    pooled: Callable[..., str], mode: str, more: str
) -> None:
    url = pooled(mode, more)
    for _ in range(2):  # with an idle server connection in the pool, and without one
        with pytest.raises(SettingsError, match=f"PgBouncer in {mode} mode cannot be used: ") as caught:
            await open_store(url, SEALER).open()
        assert "\n" not in str(caught.value)


async def test_transaction_mode_is_found_with_many_idle_connections_in_the_pool(
    pooled: Callable[..., str],
) -> None:
    url = pooled("transaction", "server_round_robin = 1")
    others = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(8)]
    for other in others:
        await other.execute("begin")
    for other in others:
        await other.execute("commit")
    with pytest.raises(SettingsError, match="transaction mode"):
        await refuse_shared_sessions(url)
    for other in others:
        await other.close()


async def test_a_server_connection_that_others_use_stays_as_it_was(pooled: Callable[..., str]) -> None:
    url = pooled("transaction")
    other = await asyncpg.connect(url, statement_cache_size=0)
    with pytest.raises(SettingsError):
        await open_store(url, SEALER).open()
    await other.execute("begin")
    assert await other.fetchval("select current_setting('statement_timeout')") == "0"
    assert await other.fetchval("select current_setting('enable_seqscan')") == "on"
    assert await other.fetchval("select count(*) from pg_prepared_statements where name <> ''") == 0
    await other.execute("commit")
    await other.close()


@pytest.mark.parametrize(
    ("mode", "found"),
    [("session", "schema"), ("transaction", "PgBouncer in transaction mode cannot be used")],
)
async def test_doctor_says_the_same(pooled: Callable[..., str], mode: str, found: str) -> None:
    from dispatcher.cli import checks  # noqa: PLC0415 - the store's tests need nothing of the command line

    settings = load({"DISPATCHER_DATABASE_URL": pooled(mode)})
    finding = await checks.database(settings)
    assert finding.state is (checks.State.OK if mode == "session" else checks.State.FAIL)
    assert found in finding.found


async def test_events_are_accepted_through_it_again_after_its_restart(postgres_url: str) -> None:
    pooler = PgBouncer(postgres_url, "session")
    with pooler:
        store = open_store(pooler.url, SEALER)
        await store.open()
        process = await store.leases.register("a-host", 1, lease=60)
        await store.events.accept(process, [make_event()], [])
        pooler.kill()
        await pooler.start_async()
        assert await store.events.accept(process, [make_event()], []) == {}
        await store.close()
