"""What PostgreSQL gets of a column is what stands in it, whatever that is."""

from __future__ import annotations

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.store.column_arrays import parameters

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
SPECIAL = st.sampled_from(["", "NULL", "null", '"', "\\", "a,b", "{}", " x ", '","', "\n", '\\"', "é", None])
KINDS = {"a": "text", "b": "int"}
QUERY = "select a, b from unnest($1::text::text[], $2::int[]) with ordinality as t (a, b, n) order by n"


@given(st.lists(SPECIAL | TEXTS, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_texts_arrive_as_they_are(migrated_database: str, texts: list[str | None]) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        rows = await connection.fetch(QUERY, *parameters(KINDS, [texts, list(range(len(texts)))]))
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [(text, number) for number, text in enumerate(texts)]


async def test_columns_without_values_are_filled_with_null(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    sent = parameters(KINDS, [["x", "y"], [None, None]])
    assert sent == ['{"x","y"}', ()]
    assert [tuple(row) for row in await connection.fetch(QUERY, *sent)] == [("x", None), ("y", None)]
    sent = parameters(KINDS, [[None, None], [1, 2]])
    assert [tuple(row) for row in await connection.fetch(QUERY, *sent)] == [(None, 1), (None, 2)]
    await connection.close()
