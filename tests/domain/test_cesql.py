"""CESQL 1.0: values and errors of expressions, section by section, and what bounds their cost."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.cesql.expression import evaluate, predicate
from dispatcher.domain.cesql.like import like
from dispatcher.domain.cesql.parser import MAX_NESTING, MAX_OPERATORS, parse
from dispatcher.domain.cesql.tokens import MAX_LENGTH
from dispatcher.domain.cesql.values import MAX_COST, CesqlError, Evaluation

Case = tuple[str, Any, tuple[str, ...]]


class _Event:
    """An event that has these attributes."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._attributes = attributes

    def attribute(self, name: str, /) -> Any:
        return self._attributes.get(name)


EVENT = _Event(
    {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/cluster/a",
        "type": "org.example.done",
        "subject": "j-7",
        "hop": 3,
        "limit": "12",
        "open": True,
        "word": "Ümläut",
        "empty": "",
    }
)

LITERALS: list[Case] = [
    ("17", 17, ()),
    ("+17", 17, ()),
    ("-17", -17, ()),
    ("2147483647", 2147483647, ()),
    ("-2147483648", -2147483648, ()),
    ("2147483648", False, ("parse",)),
    ("tRUE", True, ()),
    ("'it''s'", "it's", ()),
    (r"'it\'s'", "it's", ()),
    (r'"say \"x\""', 'say "x"', ()),
    (r"'a\tb'", r"a\tb", ()),
    ("'open", False, ("parse",)),
    ("", False, ("parse",)),
    ("1 2", False, ("parse",)),
    ("(1", False, ("parse",)),
    ("1)", False, ("parse",)),
    ("1 IN ()", False, ("parse",)),
    ("EXISTS 'id'", False, ("parse",)),
    ("id = ;", False, ("parse",)),
    ("hop_count = 1", False, ("parse",)),
    ("ABS 1", False, ("parse",)),
]
ATTRIBUTES: list[Case] = [
    ("subject", "j-7", ()),
    ("SUBJECT", "j-7", ()),
    ("hop", 3, ()),
    ("open", True, ()),
    ("absent", False, ("missingAttribute",)),
    ("EXISTS empty", True, ()),
    ("EXISTS absent", False, ()),
    ("NOT EXISTS absent", True, ()),
    ("absent < 3", False, ("missingAttribute",)),
    ("3 - absent", 0, ("missingAttribute",)),
    ("CONCAT('a', absent)", "", ("missingAttribute",)),
    ("LENGTH(absent)", 0, ("missingAttribute",)),
    ("absent IN ('a')", False, ("missingAttribute",)),
    ("absent NOT LIKE 'a'", False, ("missingAttribute",)),
    ("absent OR true", False, ("missingAttribute",)),
    ("true OR absent", True, ()),
]
OPERATORS: list[Case] = [
    ("1 + 2 * 3", 7, ()),
    ("(1 + 2) * 3", 9, ()),
    ("7 - 2 - 1", 4, ()),
    ("7-2", 5, ()),
    ("-7 / 2", -3, ()),
    ("7 / -2", -3, ()),
    ("-7 % 3", -1, ()),
    ("7 % -3", 1, ()),
    ("1 / 0", 0, ("math",)),
    ("1 % 0", 0, ("math",)),
    ("2147483647 + 1", 0, ("math",)),
    ("-2147483648 / -1", 0, ("math",)),
    ("- -2147483648", 0, ("math",)),
    ("hop * '4'", 12, ()),
    ("hop + 'x'", 3, ("cast",)),
    ("hop < limit", True, ()),
    ("limit >= 12", True, ()),
    ("limit = 12", True, ()),
    ("12 = limit", True, ()),
    ("hop <> 3", False, ()),
    ("'TRUE' = true", True, ()),
    ("true = 'TRUE'", False, ()),
    ("subject = 7", False, ("cast",)),
    ("subject != 7", False, ("cast",)),
    ("true XOR true", False, ()),
    ("true XOR false", True, ()),
    ("NOT NOT true", True, ()),
    ("NOT 'maybe'", True, ("cast",)),
    ("1 < 2 AND 2 < 3", True, ()),
    ("true OR true AND false", False, ()),
    ("false AND 1 / 0 = 1", False, ()),
    ("true OR 1 / 0 = 1", True, ()),
    ("1 / 0 = 0", False, ("math",)),
    ("3 IN ('1', '3')", True, ()),
    ("3 NOT IN (1, 2)", True, ()),
    ("subject IN ('x', CONCAT('j', '-7'))", True, ()),
    ("1 IN ('x')", False, ("cast",)),
]
LIKES: list[Case] = [
    ("subject LIKE 'j%'", True, ()),
    ("subject NOT LIKE 'j%'", False, ()),
    ("subject LIKE 'J%'", False, ()),
    ("subject LIKE '%-_'", True, ()),
    ("subject LIKE '___'", True, ()),
    ("subject LIKE '__'", False, ()),
    ("subject LIKE '%%'", True, ()),
    ("empty LIKE '%'", True, ()),
    ("empty LIKE ''", True, ()),
    ("empty LIKE '_'", False, ()),
    ("'aba' LIKE 'ab%ba'", False, ()),
    ("'abba' LIKE 'ab%ba'", True, ()),
    (r"'50%' LIKE '%\%'", True, ()),
    (r"'a_b' LIKE 'a\_b'", True, ()),
    (r"'axb' LIKE 'a\_b'", False, ()),
    (r"'a\b' LIKE 'a\b'", True, ()),
    ("'a.b' LIKE 'a.b'", True, ()),
    ("'axb' LIKE 'a.b'", False, ()),
    ("hop LIKE '3'", True, ()),
    ("open LIKE 'tr__'", True, ()),
    ("subject LIKE hop", False, ("parse",)),
    ("subject LIKE 3", False, ("parse",)),
]
FUNCTIONS: list[Case] = [
    ("LENGTH(word)", 6, ()),
    ("length(hop)", 1, ()),
    ("UPPER(word)", "ÜMLÄUT", ()),
    ("LOWER('ABC')", "abc", ()),
    ("CONCAT(hop, open)", "3true", ()),
    ("CONCAT_WS('-')", "", ()),
    ("CONCAT_WS('-', 1, 2, 3)", "1-2-3", ()),
    ("CONCAT_WS()", False, ("missingFunction",)),
    ("TRIM(' \u00a0x\u2003')", "x", ()),
    ("TRIM('\x1fx\x1f')", "\x1fx\x1f", ()),
    ("LEFT('abc', 2)", "ab", ()),
    ("LEFT('abc', -1)", "abc", ("functionEvaluation",)),
    ("RIGHT('abc', 2)", "bc", ()),
    ("RIGHT('abc', 0)", "", ()),
    ("RIGHT('abc', -1)", "abc", ("functionEvaluation",)),
    ("SUBSTRING('abcdef', 3)", "cdef", ()),
    ("SUBSTRING('abcdef', -2)", "ef", ()),
    ("SUBSTRING('abcdef', -3, 2)", "de", ()),
    ("SUBSTRING('abcdef', 5, 9)", "ef", ()),
    ("SUBSTRING('abcdef', 2, 0)", "", ()),
    ("SUBSTRING('abcdef', 0, -1)", "", ()),
    ("SUBSTRING('abcdef', 2, -1)", "", ("functionEvaluation",)),
    ("SUBSTRING('abcdef', 7)", "", ("functionEvaluation",)),
    ("SUBSTRING('abcdef', -7, 2)", "", ("functionEvaluation",)),
    ("ABS('-4')", 4, ()),
    ("ABS(-2147483648)", 2147483647, ("math",)),
    ("INT('+007')", 7, ()),
    ("INT('2147483648')", 0, ("cast",)),
    ("INT('\u0661')", 0, ("cast",)),
    ("INT(' 1')", 0, ("cast",)),
    ("INT(true)", 1, ()),
    ("BOOL(7)", True, ()),
    ("BOOL('False')", False, ()),
    ("BOOL('no')", False, ("cast",)),
    ("STRING(-3)", "-3", ()),
    ("NOSUCH(1)", False, ("missingFunction",)),
    ("ABS()", False, ("missingFunction",)),
]


@pytest.mark.parametrize(
    ("expression", "value", "errors"), [*LITERALS, *ATTRIBUTES, *OPERATORS, *LIKES, *FUNCTIONS]
)
def test_an_expression_has_the_value_and_the_errors_of_the_specification(
    expression: str, value: object, errors: tuple[str, ...]
) -> None:
    outcome = evaluate(expression, EVENT)
    assert (type(outcome.value), outcome.value) == (type(value), value)
    assert tuple(error.kind for error in outcome.errors) == errors


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("hop = 3", True),
        ("hop = 4", False),
        ("hop", False),
        ("subject", False),
        ("open", True),
        ("absent != 'x'", False),
        ("absent = 'x' OR true", False),
        ("hop + 'x' = 3", False),
    ],
)
def test_a_filter_passes_what_is_true_without_any_error(expression: str, passes: bool) -> None:
    assert predicate(parse(expression))(EVENT) is passes


def _published() -> list[Any]:
    """The conformance tests of the CloudEvents project, where the environment names a directory that has them."""
    files = sorted(Path(os.environ["CESQL_TCK"]).glob("*.yaml")) if "CESQL_TCK" in os.environ else []
    return [
        pytest.param(test, id=f"{file.stem}: {test['name']}")
        for file in files
        for test in yaml.safe_load(file.read_text())["tests"]
    ]


def _as_json(value: Any) -> Any:
    """A value as JSON has it: to YAML a time without quotes is no text."""
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


# Without them there is nothing to run, and a test without cases would be skipped.
if PUBLISHED := _published():

    @pytest.mark.parametrize("test", PUBLISHED)
    def test_the_published_conformance_tests_pass(test: dict[str, Any]) -> None:
        test = _as_json(test)
        whole = {"specversion": "1.0", "id": "id", "source": "/source", "type": "type"}
        # A literal without quotes is a value of YAML.
        expression = test["expression"] if isinstance(test["expression"], str) else str(test["expression"])
        outcome = evaluate(expression, _Event(test.get("event", whole | test.get("eventOverrides", {}))))
        assert [error.kind for error in outcome.errors] == [test[name] for name in ("error",) if name in test]
        if "result" in test:
            assert (type(outcome.value), outcome.value) == (type(test["result"]), test["result"])


@pytest.mark.parametrize(
    "expression",
    [
        "'" + "x" * MAX_LENGTH + "'",
        "(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1),
        "NOT " * (MAX_NESTING + 1) + "true",
        "-" * (MAX_OPERATORS + 1) + "hop",
        " OR ".join(["true"] * (MAX_OPERATORS + 2)),
        "hop IN (" + ",".join(["1"] * 600) + ")",
        "ABS(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1),
    ],
)
def test_an_expression_that_is_too_long_or_too_deep_is_refused(expression: str) -> None:
    with pytest.raises(CesqlError, match="expected at most"):
        parse(expression)


def test_the_deepest_expression_is_evaluated() -> None:
    deep = "(" * (MAX_NESTING - 4) + " OR ".join(["hop = 9"] * 50) + ")" * (MAX_NESTING - 4)
    assert evaluate(deep, EVENT).errors == ()


@pytest.mark.parametrize("pattern", ["%a" * 60 + "b", "%" + "_a" * 20 + "b%", "%aab" * 40 + "%", "_%" * 60])
def test_a_pattern_never_goes_back_over_a_text(pattern: str) -> None:
    matches = like(pattern)
    began = time.process_time()
    matches("a" * 300, Evaluation(EVENT, fail_fast=True))
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    "expression",
    [
        "long LIKE '%" + "_x" * 20 + "%'",
        " AND ".join(["LENGTH(CONCAT(long, long)) > 0"] * 20),
        "UPPER(long) = 'x'",
    ],
)
def test_an_evaluation_that_looks_at_too_much_ends_with_an_error(expression: str) -> None:
    event = _Event({"long": "x" * MAX_COST + "y"})
    began = time.process_time()
    [error] = evaluate(expression, event).errors
    assert error.kind == "generic"
    assert time.process_time() - began < 0.1
    assert not predicate(parse(expression))(event)


@given(st.text("ab%_\\", max_size=8), st.text("ab%_\\", max_size=10))
def test_like_agrees_with_a_plain_definition(pattern: str, text: str) -> None:
    assert like(pattern)(text, Evaluation(EVENT, fail_fast=True)) is _plainly_like(pattern, text)


def _plainly_like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(_plainly_like(pattern[1:], text[start:]) for start in range(len(text) + 1))
    escaped = pattern[0] == "\\" and pattern[1:2] in ("%", "_")
    rest = pattern[2:] if escaped else pattern[1:]
    fits = pattern[1] if escaped else pattern[0]
    return bool(text) and (text[0] == fits or (fits == "_" and not escaped)) and _plainly_like(rest, text[1:])


@given(st.text("ab1 ()'\",=<>+-*/%_\\ANDORNOTLIKEIN", max_size=40))
def test_any_text_is_an_expression_or_a_parse_error(text: str) -> None:
    outcome = evaluate(text, EVENT)
    assert type(outcome.value) in (bool, int, str)
