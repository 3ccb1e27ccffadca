"""Searches: whatever somebody writes is understood or refused."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compat.tapis_v3.search import from_query, from_text
from dispatcher.compat.tapis_v3.search_sql import from_sql
from dispatcher.compat.tapis_v3.views import SEARCHED
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import utc_now

ATTRIBUTES: dict[str, object] = {
    "tenant": "dev",
    "name": "a-name",
    "description": None,
    "owner": "alice",
    "enabled": True,
    "typeFilter": "jobs.*.*",
    "subjectFilter": "*",
    "ttlMinutes": 5,
    "uuid": "01a1fe12-e356-7190-a02b-93e25e6e3566",
    "expiry": None,
    "created": utc_now(),
    "updated": utc_now(),
}

names = st.sampled_from(["name", "ttl_minutes", "enabled", "created", "description", "expiry", "other"])
values = st.one_of(
    st.text(max_size=20), st.integers().map(str), st.just("true"), st.just("2026-05-04T12:00:00Z")
)
operators = st.sampled_from(["eq", "neq", "lt", "gte", "in", "nin", "like", "nlike", "between", "x", ""])
# The grammar of a condition, word by word.
words = st.sampled_from(
    [
        "name",
        "ttl_minutes",
        "expiry",
        "enabled",
        "=",
        "<>",
        "<",
        "(",
        ")",
        ",",
        "'a%'",
        "5",
        "true",
        "AND",
        "OR",
        "NOT",
        "LIKE",
        "IN",
        "BETWEEN",
        "IS",
        "NULL",
    ]
)


@given(st.lists(st.tuples(names, operators, values), max_size=3))
def test_a_search_is_understood_or_refused(terms: list[tuple[str, str, str]]) -> None:
    with contextlib.suppress(InvalidInput):
        from_text("~".join(f"({'.'.join(term)})" for term in terms), SEARCHED)(ATTRIBUTES)
    with contextlib.suppress(InvalidInput):
        from_query({f"{name}.{operator}": value for name, operator, value in terms}, SEARCHED)(ATTRIBUTES)


@given(st.one_of(st.lists(words, max_size=12).map(" ".join), st.text(max_size=40)))
def test_a_condition_in_sql_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert from_sql(text, SEARCHED)(ATTRIBUTES) in (True, False)


def test_not_and_or_bind_as_in_sql() -> None:
    assert from_sql("name = 'x' OR owner = 'alice' AND enabled = true", SEARCHED)(ATTRIBUTES)
    assert not from_sql("(name = 'x' OR owner = 'alice') AND NOT enabled = true", SEARCHED)(ATTRIBUTES)
    assert from_sql("NOT name = 'x' AND NOT NOT owner = 'alice'", SEARCHED)(ATTRIBUTES)


def test_a_pattern_of_many_stars_is_tried_in_no_time() -> None:
    pattern = "*a" * 200 + "b"
    assert not from_text(f"name.like.{pattern}", SEARCHED)(ATTRIBUTES | {"name": "a" * 188})
