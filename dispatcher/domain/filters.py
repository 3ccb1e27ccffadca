"""Filters: the dialects of the CloudEvents Subscriptions API that a subscription can name.

`exact`, `prefix` and `suffix` map attributes to text, all of which must fit; `all`, `any` and `not` combine filters.
Source: CloudEvents Subscriptions API 1.0, section 3.2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dispatcher.domain.errors import InvalidInput

Attributes = Mapping[str, str]
Predicate = Callable[[Attributes], bool]

MAX_DEPTH = 8
MAX_FILTERS = 64

_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


def compile_filters(filters: Sequence[object], field: str = "filters") -> Predicate | None:
    """A test of an event's attributes that all filters must pass; None when there are none.

    Raises InvalidInput naming the filter that is not understood.
    """
    if not filters:
        return None
    return _all([_compile(f, f"{field}[{i}]", 1) for i, f in enumerate(_list(filters, field))])


def _compile(document: object, field: str, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise InvalidInput(field, f"filters are nested deeper than {MAX_DEPTH}")
    if not isinstance(document, Mapping) or len(document) != 1:
        raise InvalidInput(field, f"expected an object with one dialect of {_dialects()}")
    ((dialect, argument),) = document.items()
    where = f"{field}.{dialect}"
    if dialect in _TEXT_TESTS:
        return _text_test(_TEXT_TESTS[dialect], argument, where)
    if dialect == "not":
        negated = _compile(argument, where, depth + 1)
        return lambda attributes: not negated(attributes)
    if dialect not in ("all", "any"):
        raise InvalidInput(field, f"unknown dialect {dialect!r}; known are {_dialects()}")
    parts = [_compile(f, f"{where}[{i}]", depth + 1) for i, f in enumerate(_list(argument, where))]
    return _all(parts) if dialect == "all" else _any(parts)


def _text_test(test: Callable[[str, str], bool], argument: object, field: str) -> Predicate:
    if not isinstance(argument, Mapping) or not argument:
        raise InvalidInput(field, "expected an object of attribute names and texts")
    wanted: list[tuple[str, str]] = []
    for name, text in argument.items():
        if not isinstance(text, str) or not text:
            raise InvalidInput(f"{field}.{name}", "expected a text that is not empty")
        wanted.append((name, text))
    return lambda attributes: all(
        name in attributes and test(attributes[name], text) for name, text in wanted
    )


def _list(argument: object, field: str) -> Sequence[object]:
    if not isinstance(argument, (list, tuple)) or not argument:
        raise InvalidInput(field, "expected an array with at least one filter")
    if len(argument) > MAX_FILTERS:
        raise InvalidInput(field, f"expected at most {MAX_FILTERS} filters, got {len(argument)}")
    return argument


def _all(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda attributes: all(part(attributes) for part in parts)


def _any(parts: list[Predicate]) -> Predicate:
    return lambda attributes: any(part(attributes) for part in parts)


def _dialects() -> str:
    return ", ".join((*_TEXT_TESTS, "all", "any", "not"))
