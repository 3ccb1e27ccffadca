"""Filters: the dialects that a subscription can name, and the tests of events that they become.

`exact`, `prefix` and `suffix` map attributes to texts, all of which must fit; `all`, `any` and `not` combine filters
(CloudEvents Subscriptions API 1.0, section 3.2.4). `sql` is an expression of CESQL 1.0. `data` is Dispatcher's: it maps
paths into the data to comparisons.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dispatcher.domain.cesql.functions import FUNCTIONS, find
from dispatcher.domain.cesql.nodes import Call, Node, walk
from dispatcher.domain.cesql.parser import parse
from dispatcher.domain.cesql.values import CesqlError
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.filter_conditions import (
    OPERATORS,
    ORDERED,
    Condition,
    Group,
    Not,
    Predicate,
    SqlTest,
    ValueTest,
    shown,
)

MAX_DEPTH = 8
MAX_FILTERS = 64
MAX_VALUES = 100
"""Values that `in` may list."""
MAX_STEPS = 16
MAX_PATH = 255

_OF_TEXT = {"exact": "eq", "prefix": "prefix", "suffix": "suffix"}
_DIALECTS = (*_OF_TEXT, "all", "any", "not", "sql", "data")
_OF_DATA = (*OPERATORS, "exists")


def compile_filters(filters: Sequence[object], field: str = "filters") -> Predicate | None:
    """A test of events that all filters must pass; None when there are none.

    Raises InvalidInput naming the filter that is not understood.
    """
    condition = parse_filters(filters, field)
    return None if condition is None else condition.predicate()


def parse_filters(filters: Sequence[object], field: str = "filters") -> Condition | None:
    """The condition that all filters make together; None when there are none. Raises InvalidInput."""
    return _group("all", filters, field, 1) if filters else None


def _parsed(document: object, field: str, depth: int) -> Condition:
    if depth > MAX_DEPTH:
        raise InvalidInput(field, f"filters are nested deeper than {MAX_DEPTH}")
    if not isinstance(document, Mapping) or len(document) != 1:
        raise InvalidInput(field, f"expected an object with one dialect of {', '.join(_DIALECTS)}")
    ((dialect, argument),) = document.items()
    where = f"{field}.{dialect}"
    if dialect in _OF_TEXT:
        return _attributes(_OF_TEXT[dialect], argument, where)
    if dialect == "not":
        return Not(where, _parsed(argument, where, depth + 1))
    if dialect in ("all", "any"):
        return _group(dialect, argument, where, depth + 1)
    if dialect == "sql":
        return _sql(argument, where)
    if dialect == "data":
        return _data(argument, where)
    raise InvalidInput(field, f"unknown dialect {dialect!r:.80}; {nearest(str(dialect), _DIALECTS)}")


def _group(which: Any, argument: object, field: str, depth: int) -> Group:
    if not isinstance(argument, (list, tuple)) or not argument:
        raise InvalidInput(field, "expected an array with at least one filter")
    if len(argument) > MAX_FILTERS:
        raise InvalidInput(field, f"expected at most {MAX_FILTERS} filters, got {len(argument)}")
    parts = tuple(_parsed(one, f"{field}[{index}]", depth) for index, one in enumerate(argument))
    return Group(field, which, parts)


def _attributes(operator: str, argument: object, field: str) -> Condition:
    tests: list[Condition] = []
    for name, text in _members(argument, field, "attribute names and texts"):
        where = f"{field}.{name}"
        if not isinstance(text, str) or not text:
            advice = f'; as a text it is "{text}"' if isinstance(text, int) and text is not True else ""
            raise InvalidInput(where, f"expected a text that is not empty{advice}")
        tests.append(ValueTest(where, name, (), operator, text))
    return _together(tests, field)


def _sql(argument: object, field: str) -> SqlTest:
    if not isinstance(argument, str) or not argument.strip():
        raise InvalidInput(field, "expected an expression of CESQL")
    try:
        node = parse(argument)
    except CesqlError as error:
        raise InvalidInput(field, str(error)) from None
    _check_functions(node, field)
    return SqlTest(field, argument, node)


def _check_functions(node: Node, field: str) -> None:
    for one in walk(node):
        if not isinstance(one, Call) or find(one.name, len(one.arguments)) is not None:
            continue
        if one.name in FUNCTIONS:
            raise InvalidInput(field, f"{one.name} does not take {len(one.arguments)} arguments")
        raise InvalidInput(field, f"there is no function {one.name[:40]}; {nearest(one.name, FUNCTIONS)}")


def _data(argument: object, field: str) -> Condition:
    tests: list[Condition] = []
    for path, comparisons in _members(argument, field, "paths into the data and comparisons"):
        where = f"{field}.{path}"
        steps = _steps(path, where)
        if not isinstance(comparisons, Mapping) or not comparisons:
            scalar = isinstance(comparisons, (str, int, float))
            example = f'{{"eq": {shown(comparisons)}}}' if scalar else '{"exists": true}'
            raise InvalidInput(where, f"expected an object of comparisons, such as {example}")
        for operator, wanted in comparisons.items():
            tests.append(_comparison(f"{where}.{operator}", path, steps, operator, wanted))
    return _together(tests, field)


def _steps(path: str, field: str) -> tuple[str, ...]:
    steps = tuple(path.split("."))
    if not all(steps) or len(steps) > MAX_STEPS or len(path) > MAX_PATH:
        raise InvalidInput(
            field, f"expected a path such as job.name, of at most {MAX_STEPS} steps and {MAX_PATH} characters"
        )
    return steps


def _comparison(field: str, path: str, steps: tuple[str, ...], operator: str, wanted: object) -> ValueTest:
    if operator not in _OF_DATA:
        raise InvalidInput(field, f"unknown comparison {operator!r:.80}; {nearest(operator, _OF_DATA)}")
    problem = _ARGUMENTS.get(operator, _one_value)(wanted)
    if problem is not None:
        raise InvalidInput(field, problem)
    return ValueTest(field, path, steps, operator, tuple(wanted) if isinstance(wanted, list) else wanted)


def _one_value(wanted: object) -> str | None:
    if isinstance(wanted, (str, bool)) or _is_number(wanted):
        return None
    advice = '; {"exists": false} passes where nothing, or null, stands' if wanted is None else ""
    return f"expected a text, a number, true or false{advice}"


def _several_values(wanted: object) -> str | None:
    if not isinstance(wanted, (list, tuple)) or not 0 < len(wanted) <= MAX_VALUES:
        return f"expected an array of 1 to {MAX_VALUES} values"
    return next((problem for one in wanted if (problem := _one_value(one)) is not None), None)


def _one_number(wanted: object) -> str | None:
    return None if _is_number(wanted) else "expected a number: other values have no order here"


def _one_text(wanted: object) -> str | None:
    return None if isinstance(wanted, str) and wanted else "expected a text that is not empty"


def _one_truth(wanted: object) -> str | None:
    return None if isinstance(wanted, bool) else "expected true or false"


_ARGUMENTS: Mapping[str, Callable[[object], str | None]] = {
    **dict.fromkeys(ORDERED, _one_number),
    "in": _several_values,
    "prefix": _one_text,
    "suffix": _one_text,
    "exists": _one_truth,
}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _members(argument: object, field: str, what: str) -> list[tuple[str, object]]:
    if not isinstance(argument, Mapping) or not argument:
        raise InvalidInput(field, f"expected an object of {what}")
    return list(argument.items())


def _together(tests: list[Condition], field: str) -> Condition:
    return tests[0] if len(tests) == 1 else Group(field, "all", tuple(tests))


def nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """What to say of an unknown name: the nearest known one, or all of them."""
    names = list(known)
    wanted = name[:MAX_PATH]
    close = difflib.get_close_matches(wanted, names, n=1) or [one for one in names if one == wanted.lower()]
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
