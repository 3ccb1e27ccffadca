"""Values of expressions, how one type is cast to another, and what can go wrong.

Source: CloudEvents SQL Expression Language 1.0, sections 3.1, 3.3 and 3.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Literal, Protocol, TypeAlias

from dispatcher.domain.errors import DispatcherError

ErrorKind = Literal[
    "parse", "math", "cast", "missingAttribute", "missingFunction", "functionEvaluation", "generic"
]
"""The errors that section 3.3 names; `generic` is an evaluation that costs too much."""

LOWEST, HIGHEST = -(2**31), 2**31 - 1

MAX_INTEGER = 64
"""Characters of a text that may be an integer."""

MAX_COST = 20_000
"""Characters that one evaluation may look at: a hostile expression costs each event some tenth of a millisecond."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


class _Missing(Enum):
    MISSING = "missing"


MISSING = _Missing.MISSING
"""The value of an attribute that an event does not have. Every operation on it gives the zero value of its type."""

Value: TypeAlias = str | int | bool
Operand: TypeAlias = Value | Literal[_Missing.MISSING]

ZERO: dict[type, Value] = {bool: False, int: 0, str: ""}
TYPE_NAMES: dict[type, str] = {bool: "boolean", int: "integer", str: "string"}


class CesqlError(DispatcherError):
    """What is wrong with an expression, or went wrong in its evaluation."""

    def __init__(self, kind: ErrorKind, problem: str) -> None:
        super().__init__(problem)
        self.kind = kind


class Attributes(Protocol):
    """An event, as expressions see it."""

    def attribute(self, name: str, /) -> Value | None: ...


class Evaluation:
    """One evaluation of an expression for one event: what it has cost, and its errors.

    With `fail_fast` the first error is raised (section 4.1), else they are collected.
    """

    __slots__ = ("_left", "errors", "event", "fail_fast")

    def __init__(self, event: Attributes, *, fail_fast: bool) -> None:
        self.event = event
        self.fail_fast = fail_fast
        self.errors: list[CesqlError] = []
        self._left = MAX_COST

    def fail(self, kind: ErrorKind, problem: str) -> None:
        """Note an error."""
        error = CesqlError(kind, problem)
        if self.fail_fast:
            raise error
        self.errors.append(error)

    def spend(self, characters: int) -> None:
        """Count what is looked at. Raises CesqlError, whatever the mode, when it is too much."""
        self._left -= characters
        if self._left < 0:
            raise CesqlError("generic", f"its evaluation looks at more than {MAX_COST} characters")


Expression: TypeAlias = Callable[[Evaluation], Operand]
"""A compiled expression, or part of one."""


def cast(value: Value, wanted: type, run: Evaluation) -> Value:
    """The value as this type, or the type's zero value with an error."""
    if type(value) is wanted:
        return value
    if wanted is str:
        return ("true" if value else "false") if type(value) is bool else str(value)
    if wanted is int:
        return int(value) if type(value) is bool else _integer(str(value), run)
    return bool(value) if type(value) is int else _boolean(str(value), run)


def in_range(number: int, run: Evaluation) -> int:
    """The number itself, or 0 with an error when 32 bits do not hold it."""
    if LOWEST <= number <= HIGHEST:
        return number
    run.fail("math", f"{number} is no 32 bit integer")
    return 0


def _integer(text: str, run: Evaluation) -> int:
    # A longer text is no integer of 32 bits, unless it has more leading zeros than anyone writes.
    short = text if len(text) <= 11 else _LEADING_ZEROS.sub("", text[:MAX_INTEGER])
    if len(text) <= MAX_INTEGER and _INTEGER.fullmatch(short) and LOWEST <= int(short) <= HIGHEST:
        return int(short)
    run.fail("cast", f"{text[:60]!r} is no 32 bit integer")
    return 0


def _boolean(text: str, run: Evaluation) -> bool:
    lower = text[:6].lower()
    if lower not in ("true", "false"):
        run.fail("cast", f"{text[:60]!r} is neither true nor false")
    return lower == "true"
