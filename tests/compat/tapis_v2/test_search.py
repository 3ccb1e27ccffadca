"""The search terms of Tapis v2, as conditions."""

from __future__ import annotations

import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compat.tapis_v2.search import terms_in

TEXT = st.text("ab", max_size=8)


@given(TEXT, st.text("ab*", max_size=8).filter(lambda pattern: "*" in pattern))
def test_a_pattern_means_what_it_means_to_a_shell(text: str, pattern: str) -> None:
    [term] = terms_in({"name.like": pattern}, {"name": "text"})

    assert term.holds(text) is fnmatch.fnmatchcase(text, pattern)


def test_a_pattern_with_many_wildcards_is_decided_at_once() -> None:
    [term] = terms_in({"name.like": "*a" * 2000 + "b"}, {"name": "text"})

    assert not term.holds("a" * 4000)


def test_a_missing_value_only_differs() -> None:
    held = {
        operator: terms_in({f"name.{operator}": "x"}, {"name": "text"})[0].holds(None)
        for operator in ("eq", "neq", "in", "nin", "like", "nlike", "lt", "gte")
    }

    assert {operator for operator, holds in held.items() if holds} == {"neq", "nin", "nlike"}
