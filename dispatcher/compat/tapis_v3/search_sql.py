"""Searches of Tapis v3 as a condition in SQL: `name = 'x' AND (enabled = true OR owner LIKE 'a%')`.

A small grammar, read by descent: it makes tests of attributes and never reaches a database.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dispatcher.compat.tapis_v3.conditions import Attributes, Predicate, Searched
from dispatcher.compat.tapis_v3.search import check_number
from dispatcher.domain.errors import InvalidInput

MAX_LENGTH = 8192
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><>|!=|<=|>=|[=<>(),]))"
)
_SIGNS = {"=": "eq", "<>": "neq", "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_KEYWORDS = frozenset({"AND", "OR", "NOT", "LIKE", "IN", "BETWEEN", "IS", "NULL"})


def from_sql(text: str, searched: Searched) -> Predicate:
    """The test of a condition. Raises InvalidInput that says where it is not understood."""
    if len(text) > MAX_LENGTH:
        raise InvalidInput("search", f"expected at most {MAX_LENGTH} characters")
    reader = _Reader(_tokens(text), searched)
    found = reader.alternatives(0)
    reader.end()
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidInput("search", f"not understood: {text[position : position + 40]!r}")
        kind, value = match.lastgroup, match[match.lastgroup]
        if kind == "word" and value.upper() in _KEYWORDS:
            kind, value = "keyword", value.upper()
        tokens.append((kind, value))
        position = match.end()
    return tokens


class _Reader:
    """Takes the tokens one after the other."""

    def __init__(self, tokens: list[tuple[str, str]], searched: Searched) -> None:
        self._tokens = tokens
        self._searched = searched
        self._next = 0
        self._conditions = 0

    def alternatives(self, depth: int) -> Predicate:
        """Parts with OR between them."""
        if depth > MAX_DEPTH:
            raise InvalidInput("search", f"expected parentheses and NOT at most {MAX_DEPTH} deep")
        return self._joined("OR", any, lambda: self._joined("AND", all, lambda: self._negation(depth)))

    def end(self) -> None:
        """Raises InvalidInput when something is left."""
        if self._next < len(self._tokens):
            raise self._unexpected("AND, OR or the end")

    def _joined(
        self, keyword: str, how: Callable[[list[bool]], bool], read: Callable[[], Predicate]
    ) -> Predicate:
        parts = [read()]
        while self._take("keyword", keyword):
            parts.append(read())
        if len(parts) == 1:
            return parts[0]
        return lambda attributes: how([part(attributes) for part in parts])

    def _negation(self, depth: int) -> Predicate:
        if self._take("keyword", "NOT"):
            if depth >= MAX_DEPTH:
                raise InvalidInput("search", f"expected parentheses and NOT at most {MAX_DEPTH} deep")
            negated = self._negation(depth + 1)
            return lambda attributes: not negated(attributes)
        if self._take("sign", "("):
            inner = self.alternatives(depth + 1)
            self._expect("sign", ")")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        self._conditions += 1
        check_number(self._conditions)
        name = self._value("word", expected="the name of an attribute")
        kind, token = self._peek()
        if kind == "sign" and token in _SIGNS:
            self._next += 1
            return self._searched.condition(name, _SIGNS[token], [self._literal()])
        if self._take("keyword", "IS"):
            return self._is_null(name)
        negative = "n" if self._take("keyword", "NOT") else ""
        if self._take("keyword", "LIKE"):
            return self._searched.condition(name, f"{negative}like", [_as_tapis(self._literal())])
        if self._take("keyword", "BETWEEN"):
            low = self._literal()
            self._expect("keyword", "AND")
            return self._searched.condition(name, f"{negative}between", [low, self._literal()])
        if self._take("keyword", "IN"):
            return self._searched.condition(name, f"{negative}in", self._list())
        raise self._unexpected("a comparison: =, <>, <, <=, >, >=, LIKE, IN, BETWEEN or IS NULL")

    def _is_null(self, name: str) -> Predicate:
        negative = self._take("keyword", "NOT")
        self._expect("keyword", "NULL")
        found = self._searched.attribute(name)

        def holds(attributes: Attributes) -> bool:
            return (attributes[found] is None) != negative

        return holds

    def _list(self) -> list[str]:
        self._expect("sign", "(")
        values = [self._literal()]
        while self._take("sign", ","):
            values.append(self._literal())
        self._expect("sign", ")")
        return values

    def _literal(self) -> str:
        kind, token = self._peek()
        if kind == "text":
            self._next += 1
            return token[1:-1].replace("''", "'")
        if kind == "number" or (kind == "word" and token.lower() in ("true", "false")):
            self._next += 1
            return token
        raise self._unexpected("a text in single quotes, a number, true or false")

    def _value(self, kind: str, expected: str) -> str:
        found, token = self._peek()
        if found != kind:
            raise self._unexpected(expected)
        self._next += 1
        return token

    def _take(self, kind: str, token: str) -> bool:
        if self._peek() != (kind, token):
            return False
        self._next += 1
        return True

    def _expect(self, kind: str, token: str) -> None:
        if not self._take(kind, token):
            raise self._unexpected(token)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "the end")

    def _unexpected(self, expected: str) -> InvalidInput:
        return InvalidInput("search", f"expected {expected}, got {self._peek()[1][:40]!r}")


def _as_tapis(pattern: str) -> str:
    """SQL's wildcards as those that conditions know."""
    return pattern.replace("%", "*").replace("_", "!")
