"""One condition of a search of Tapis v3: an attribute, an operator and values, and whether it holds."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.times import parse_time

Attributes: TypeAlias = Mapping[str, object]
Predicate: TypeAlias = Callable[[Attributes], bool]

OPERATORS = ("eq", "neq", "lt", "lte", "gt", "gte", "in", "nin", "like", "nlike", "between", "nbetween")
MAX_VALUES = 100

Type = Literal["text", "time", "flag", "number"]

_FLAGS = {"true": True, "false": False}

# Any: values of one attribute have one type, and are compared with each other only.
_TESTS: Mapping[str, Callable[[Any, Sequence[Any]], bool]] = {
    "eq": lambda value, wanted: value == wanted[0],
    "neq": lambda value, wanted: value != wanted[0],
    "lt": lambda value, wanted: value < wanted[0],
    "lte": lambda value, wanted: value <= wanted[0],
    "gt": lambda value, wanted: value > wanted[0],
    "gte": lambda value, wanted: value >= wanted[0],
    "in": lambda value, wanted: value in wanted,
    "nin": lambda value, wanted: value not in wanted,
    "like": lambda value, wanted: fnmatchcase(value, wanted[0]),
    "nlike": lambda value, wanted: not fnmatchcase(value, wanted[0]),
    "between": lambda value, wanted: wanted[0] <= value <= wanted[1],
    "nbetween": lambda value, wanted: not wanted[0] <= value <= wanted[1],
}
_NEGATIVE = frozenset({"neq", "nin", "nlike", "nbetween"})


class Searched:
    """The attributes of one kind of thing that can be searched for and sorted by, with the types of their values."""

    def __init__(self, types: Mapping[str, Type]) -> None:
        self._types = types
        # Tapis knows them by the names of its columns too.
        self._names = {name.lower(): name for name in types}

    def attribute(self, name: str) -> str:
        """The attribute that a name means, also as `type_filter`. Raises InvalidInput."""
        found = self._names.get(name.replace("_", "").lower())
        if found is None:
            near = difflib.get_close_matches(name[:80], self._types, n=1)
            advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(self._types)}"
            raise InvalidInput("search", f"there is no attribute {name[:80]!r} to search for; {advice}")
        return found

    def condition(self, name: str, operator: str, values: Sequence[str]) -> Predicate:
        """A test of attributes. One that is missing only differs from everything. Raises InvalidInput."""
        found, operator = self.attribute(name), operator.lower()
        if operator not in OPERATORS:
            raise InvalidInput(
                "search", f"{operator[:40]!r} is no operator; known are {', '.join(OPERATORS)}"
            )
        _check_count(operator, values)
        if operator in ("like", "nlike"):
            if self._types[found] != "text":
                raise InvalidInput("search", f"{operator} compares texts, and {found} is none")
            wanted: list[object] = [_pattern(values[0])]
        else:
            wanted = [self.value_of(found, text) for text in values]
        test, missing = _TESTS[operator], operator in _NEGATIVE

        def holds(attributes: Attributes) -> bool:
            value = attributes[found]
            return missing if value is None else test(value, wanted)

        return holds

    def value_of(self, name: str, text: str) -> str | int | bool | datetime:
        """What a text means as a value of this attribute. Raises InvalidInput."""
        kind = self._types[name]
        if kind == "time":
            return parse_time("search", text)
        if kind == "flag":
            if text.lower() not in _FLAGS:
                raise InvalidInput("search", f"{name} is true or false, not {text[:40]!r}")
            return _FLAGS[text.lower()]
        if kind == "number":
            if not text.removeprefix("-").isdecimal() or len(text) > 12 or not text.isascii():
                raise InvalidInput("search", f"{name} is a whole number, not {text[:40]!r}")
            return int(text)
        return text


def _check_count(operator: str, values: Sequence[str]) -> None:
    if operator in ("between", "nbetween"):
        expected, right = "two values", len(values) == 2
    elif operator in ("in", "nin"):
        expected, right = f"1 to {MAX_VALUES} values", 1 <= len(values) <= MAX_VALUES
    else:
        expected, right = "one value", len(values) == 1
    if not right:
        raise InvalidInput("search", f"{operator} takes {expected}, got {len(values)}")


def _pattern(text: str) -> str:
    """`*` stands for any text and `!` for any character."""
    if len(text) > 512:
        raise InvalidInput("search", "expected at most 512 characters after like")
    return text.replace("[", "[[]").replace("?", "[?]").replace("!", "?")
