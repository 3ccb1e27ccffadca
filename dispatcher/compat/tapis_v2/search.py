"""Search terms of Tapis v2 (Agave): query parameters such as `event=FINISHED`, `event.in=…`, `created.after=…`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.times import parse_time

Type = Literal["text", "number", "flag", "time"]

MAX_TERMS = 20
MAX_VALUES = 100
"""Values that `in` and `nin` may have."""

_ORDERED = ("lt", "lte", "gt", "gte", "between")
_OPERATORS: Mapping[Type, tuple[str, ...]] = {
    "text": ("eq", "neq", "in", "nin", "like", "nlike", *_ORDERED),
    "number": ("eq", "neq", "in", "nin", *_ORDERED),
    "flag": ("eq", "neq"),
    "time": ("eq", "neq", "before", "after", "on", *_ORDERED),
}
_WILDCARD = re.compile(r"[*%]+")

Value = str | int | bool | datetime


class Term(Struct, frozen=True):
    """One condition. `values` are what the field is compared with, in the field's own type."""

    field: str
    operator: str
    values: tuple[Value, ...]

    def holds(self, value: object) -> bool:
        """Whether it holds for a field's value. None, a field that is missing, only differs from everything."""
        if value is None:
            return self.operator in ("neq", "nin", "nlike")
        return _TESTS[self.operator](value, self.values)


def terms_in(query: Mapping[str, str], fields: Mapping[str, Type]) -> list[Term]:
    """The terms of a query. InvalidInput for what is none, with the nearest one that is.

    `fields` are what may be searched, in lower case; names and operators are in any case.
    """
    if len(query) > MAX_TERMS:
        raise InvalidInput("", f"expected at most {MAX_TERMS} search terms, got {len(query)}")
    return [_term(name, text, fields) for name, text in query.items()]


def _term(name: str, text: str, fields: Mapping[str, Type]) -> Term:
    lower = name.lower()
    field, operator = lower, "eq"
    if field not in fields:
        field, _, operator = lower.rpartition(".")
    if field not in fields:
        field = lower if operator not in _TESTS or not field else field
        raise InvalidInput(name[:80], f"Unknown search term. {_advice(field, list(fields))}")
    possible = _OPERATORS[fields[field]]
    if operator not in possible:
        raise InvalidInput(
            name[:80], f"Unknown operator for {field}. Valid values are: {', '.join(possible)}"
        )
    return Term(field, operator, _values(name, text, operator, fields[field]))


def _advice(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name[:80], known, n=1)
    return f"Did you mean {nearest[0]}?" if nearest else f"Valid values are: {', '.join(known)}"


def _values(name: str, text: str, operator: str, kind: Type) -> tuple[Value, ...]:
    several = operator in ("in", "nin", "between")
    parts = [part.strip() for part in text.split(",")] if several else [text.strip()]
    if operator == "between" and len(parts) != 2:
        raise InvalidInput(name[:80], f'expected two values with "," between them, got {text[:80]!r}')
    if len(parts) > MAX_VALUES:
        raise InvalidInput(name[:80], f"expected at most {MAX_VALUES} values, got {len(parts)}")
    return tuple(_typed(name[:80], part, kind) for part in parts)


def _typed(name: str, text: str, kind: Type) -> Value:
    if kind == "text":
        return text.lower()
    if kind == "time":
        return parse_time(name, f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
    if kind == "flag":
        if text.lower() not in ("true", "false", "1", "0"):
            raise InvalidInput(name, f"expected true or false, got {text[:80]!r}")
        return text.lower() in ("true", "1")
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise InvalidInput(name, f"expected a whole number, got {text[:80]!r}")
    return int(text)


def _like(value: str, pattern: str) -> bool:
    """Whether a text is like a pattern, in which `*` and `%` are any characters; else whether it holds it."""
    if not _WILDCARD.search(pattern):
        return pattern in value
    first, *middle, last = _WILDCARD.split(pattern)
    if not value.startswith(first) or not value.endswith(last):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, at, max(at, end))
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def _comparable(value: object) -> Value:
    if isinstance(value, (bool, int, datetime)):
        return value
    return str(value).lower()


def _test(compare: Callable[[Value, tuple[Value, ...]], bool]) -> Callable[[object, tuple[Value, ...]], bool]:
    return lambda value, values: compare(_comparable(value), values)


def _same_day(value: Value, day: Value) -> bool:
    return isinstance(value, datetime) and isinstance(day, datetime) and value.date() == day.date()


def _before(value: Value, other: Value) -> bool:
    # Both are of the field's type, which mypy cannot know.
    return value < other  # type: ignore[operator]


_TESTS: Mapping[str, Callable[[object, tuple[Value, ...]], bool]] = {
    "eq": _test(lambda value, values: value == values[0]),
    "neq": _test(lambda value, values: value != values[0]),
    "in": _test(lambda value, values: value in values),
    "nin": _test(lambda value, values: value not in values),
    "like": _test(lambda value, values: _like(str(value), str(values[0]))),
    "nlike": _test(lambda value, values: not _like(str(value), str(values[0]))),
    "lt": _test(lambda value, values: _before(value, values[0])),
    "lte": _test(lambda value, values: not _before(values[0], value)),
    "gt": _test(lambda value, values: _before(values[0], value)),
    "gte": _test(lambda value, values: not _before(value, values[0])),
    "between": _test(lambda value, values: not _before(value, values[0]) and not _before(values[1], value)),
    "before": _test(lambda value, values: _before(value, values[0])),
    "after": _test(lambda value, values: _before(values[0], value)),
    "on": _test(lambda value, values: _same_day(value, values[0])),
}
