"""Conditions: what filters consist of. Each can test an event, and say what keeps one from passing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from dispatcher.domain.cesql.expression import predicate, why_not
from dispatcher.domain.cesql.nodes import Node


class Filtered(Protocol):
    """An event, as filters see it."""

    @property
    def attributes(self) -> Mapping[str, str]: ...

    def attribute(self, name: str, /) -> str | int | bool | None: ...

    def data_at(self, path: str, steps: Sequence[str]) -> object: ...


Predicate: TypeAlias = Callable[[Filtered], bool]
Scalar: TypeAlias = str | int | float | bool

MAX_SHOWN = 80
"""Characters of a value that a problem shows."""
MAX_LISTED = 10
"""Values of a list that it shows."""


class Failure(Struct, frozen=True):
    """What keeps an event from passing: a field of the subscription, and what is wrong there."""

    field: str
    problem: str


class _Absent(Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""What stands where an event has nothing."""

Found: TypeAlias = object
"""A value of an event, or ABSENT."""


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(value: object, wanted: Any) -> bool:
    # To Python true is 1.
    return value == wanted and isinstance(value, bool) is isinstance(wanted, bool)


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda value, wanted: not _equal(value, wanted),
    "lt": lambda value, wanted: _number(value) and value < wanted,
    "le": lambda value, wanted: _number(value) and value <= wanted,
    "gt": lambda value, wanted: _number(value) and value > wanted,
    "ge": lambda value, wanted: _number(value) and value >= wanted,
    "in": lambda value, wanted: any(_equal(value, one) for one in wanted),
    "prefix": lambda value, wanted: isinstance(value, str) and value.startswith(wanted),
    "suffix": lambda value, wanted: isinstance(value, str) and value.endswith(wanted),
}
"""Tests of a value that is there; `exists` is the one that can also pass where nothing is."""

ORDERED = frozenset({"lt", "le", "gt", "ge"})
_WORDS = {
    "eq": "",
    "ne": "another value than ",
    "lt": "less than ",
    "le": "at most ",
    "gt": "more than ",
    "ge": "at least ",
    "in": "one of ",
    "prefix": "a text that begins with ",
    "suffix": "a text that ends with ",
}


def shown(value: object) -> str:
    """A value as a problem shows it."""
    if value is ABSENT:
        return "absent"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, tuple):
        some = ", ".join(map(shown, value[:MAX_LISTED]))
        return f"[{some}, …]" if len(value) > MAX_LISTED else f"[{some}]"
    text = json.dumps(value[: MAX_SHOWN + 1] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class ValueTest(Struct, frozen=True):
    """A test of one value of an event: of the attribute `name`, or of what stands at `path` in its data."""

    field: str
    name: str
    path: tuple[str, ...]
    operator: str
    wanted: Any

    def accepts(self, value: Found) -> bool:
        """Whether a value, or ABSENT, passes."""
        if self.operator == "exists":
            return (value is not ABSENT) is self.wanted
        return value is not ABSENT and OPERATORS[self.operator](value, self.wanted)

    def find(self, event: Filtered) -> Found:
        """The value of an event, or ABSENT."""
        if self.path:
            found = event.data_at(self.name, self.path)
            return ABSENT if found is None else found
        return event.attributes.get(self.name, ABSENT)

    @property
    def expected(self) -> str:
        """What passes, in words."""
        if self.operator == "exists":
            return "something there" if self.wanted else "nothing there"
        return _WORDS[self.operator] + shown(self.wanted)

    def predicate(self) -> Predicate:
        """A test of events."""
        name, path, wanted = self.name, self.path, self.wanted
        if path and self.operator == "exists":
            return lambda event: (event.data_at(name, path) is not None) is wanted
        if path:
            test = OPERATORS[self.operator]
            return lambda event: (value := event.data_at(name, path)) is not None and test(value, wanted)
        if self.operator == "eq":
            return lambda event: event.attributes.get(name) == wanted
        test = OPERATORS[self.operator]
        return lambda event: (value := event.attributes.get(name)) is not None and test(value, wanted)

    def failures(self, event: Filtered) -> list[Failure]:
        """What keeps an event from passing; empty when it passes."""
        value = self.find(event)
        if self.accepts(value):
            return []
        return [Failure(self.field, f"{self.name} is {shown(value)}, expected {self.expected}")]

    def passing(self, event: Filtered) -> str:
        """Why it passes, in words."""
        return f"{self.name} is {shown(self.find(event))}"


class SqlTest(Struct, frozen=True):
    """An expression of CESQL, parsed."""

    field: str
    text: str
    node: Node

    def predicate(self) -> Predicate:
        """A test of events."""
        return predicate(self.node)

    def failures(self, event: Filtered) -> list[Failure]:
        """What keeps an event from passing; empty when it passes."""
        return [Failure(self.field, problem) for problem in why_not(self.node, self.text, event)]

    def passing(self, event: Filtered) -> str:
        """Why it passes, in words."""
        return f"{self.text} is true"


class Group(Struct, frozen=True):
    """Several conditions of which all, or any, must pass."""

    field: str
    which: Literal["all", "any"]
    parts: tuple[Condition, ...]

    def predicate(self) -> Predicate:
        """A test of events."""
        tests = [part.predicate() for part in self.parts]
        if len(tests) == 1:
            return tests[0]
        return _all(tests) if self.which == "all" else _any(tests)

    def failures(self, event: Filtered) -> list[Failure]:
        """What keeps an event from passing; empty when it passes."""
        found = [part.failures(event) for part in self.parts]
        if self.which == "any" and not all(found):
            return []
        return [failure for some in found for failure in some]

    def passing(self, event: Filtered) -> str:
        """Why it passes, in words."""
        if self.which == "all":
            return " and ".join(part.passing(event) for part in self.parts)
        return next(part.passing(event) for part in self.parts if not part.failures(event))


class Not(Struct, frozen=True):
    """The opposite of a condition."""

    field: str
    part: Condition

    def predicate(self) -> Predicate:
        """A test of events."""
        negated = self.part.predicate()
        return lambda event: not negated(event)

    def failures(self, event: Filtered) -> list[Failure]:
        """What keeps an event from passing; empty when it passes."""
        if self.part.failures(event):
            return []
        return [Failure(self.field, f"expected the opposite: {self.part.passing(event)}")]

    def passing(self, event: Filtered) -> str:
        """Why it passes, in words."""
        return ", and ".join(failure.problem for failure in self.part.failures(event))


Condition: TypeAlias = ValueTest | SqlTest | Group | Not


def _all(tests: list[Predicate]) -> Predicate:
    def passes(event: Filtered) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs as much as a test
            if not test(event):
                return False
        return True

    return passes


def _any(tests: list[Predicate]) -> Predicate:
    def passes(event: Filtered) -> bool:
        for test in tests:  # noqa: SIM110 - the same
            if test(event):
                return True
        return False

    return passes
