"""No statement of the store is left out of the tests of plans, unless it is named with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.store.factory import open_store
from tests.servers import Databases
from tests.store.conftest import SEALER
from tests.store.explained import Plans
from tests.store.questions import QUESTIONS
from tests.store.statements import COLD, RARE, Places, constants, is_of, places
from tests.store.uses import PARTS, Use, age, answer


async def use_all(url: str) -> None:
    """Everything that the tests of plans do, with an empty database."""
    store = open_store(url, SEALER)
    await store.open()
    try:
        use = Use(store, await store.leases.register("a-host", 1, lease=60), "cover")
        for part in (*PARTS.values(), age):
            await part(use)
        for question in QUESTIONS:
            await answer(use, question)
    finally:
        await store.close()


async def test_every_statement_is_asked_in_tests_of_plans_or_named_as_rare(
    sqlite_url: str, postgresql: Databases, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, plans = await postgresql.create_database(template=migrated_database), Plans()
    with monkeypatch.context() as patch, Places() as asked:
        await plans.collect(url, patch, "auto")
        await use_all(url)
        await use_all(sqlite_url)
    await postgresql.drop_database(url)
    texts = asked.texts | {plan.text for plan in plans.found}
    left_out = {
        name for name, constant in constants().items() if not any(is_of(constant, text) for text in texts)
    }
    left_out |= {f"{place.module}.{place.function}" for place in places() if not asked.asked(place)}
    assert left_out == set(COLD) & left_out
    assert not {name for name in COLD if name not in constants()} - {
        f"{place.module}.{place.function}" for place in places()
    }
    assert all((Path("dispatcher/store") / f"{module.replace('.', '/')}.py").exists() for module in RARE)
