"""Searches of Tapis v3 as query parameters: `search=(name.like.My*)~(enabled.eq.true)`, or `name.like=My*`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dispatcher.compat.tapis_v3.conditions import Attributes, Predicate, Searched
from dispatcher.domain.errors import InvalidInput

MAX_CONDITIONS = 50

OPTIONS = frozenset(
    {
        *(
            "limit",
            "orderBy",
            "skip",
            "startAfter",
            "computeTotal",
            "select",
            "ownedBy",
            "anyOwner",
            "search",
        ),
        *("listType", "pretty"),
    }
)
_BETWEEN = re.compile(r"\)~\(")
_COMMA = re.compile(r"(?<!\\),")


def from_text(search: str, searched: Searched) -> Predicate:
    """The test of `search`: all of its conditions. Raises InvalidInput."""
    text = search.strip()
    if not text:
        return all_of([])
    whole = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    parts = _BETWEEN.split(whole)
    check_number(len(parts))
    return all_of([_condition(part, searched) for part in parts])


def from_query(query: Mapping[str, str], searched: Searched) -> Predicate:
    """The test of what stands in a query besides the options: `name=x` or `name.eq=x`. Raises InvalidInput."""
    terms = {name: text for name, text in query.items() if name not in OPTIONS}
    check_number(len(terms))
    found = []
    for name, text in terms.items():
        attribute, _, operator = name.partition(".")
        found.append(searched.condition(attribute, operator or "eq", _values(operator, text)))
    return all_of(found)


def all_of(tests: Iterable[Predicate]) -> Predicate:
    """The test that passes when all do."""
    every = tuple(tests)

    def holds(attributes: Attributes) -> bool:
        return all(test(attributes) for test in every)

    return holds


def _condition(text: str, searched: Searched) -> Predicate:
    parts = text.split(".", 2)
    if len(parts) != 3 or not all(parts):
        raise InvalidInput("search", f"expected <attribute>.<operator>.<value>, got {text[:80]!r}")
    return searched.condition(parts[0], parts[1], _values(parts[1], parts[2]))


def _values(operator: str, text: str) -> list[str]:
    several = operator.lower() in ("in", "nin", "between", "nbetween")
    return [part.replace("\\,", ",") for part in (_COMMA.split(text) if several else [text])]


def check_number(count: int) -> None:
    """Raises InvalidInput for more than MAX_CONDITIONS: all of them are tried on each subscription."""
    if count > MAX_CONDITIONS:
        raise InvalidInput("search", f"expected at most {MAX_CONDITIONS} conditions, got {count}")
