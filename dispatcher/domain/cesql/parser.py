"""The parser of expressions: recursive descent, with bounds on length and nesting.

Source: CloudEvents SQL Expression Language 1.0, sections 2 and 3.6. Unary operators bind tightest, then LIKE, EXISTS
and IN, then `* / %`, `+ -`, comparisons; AND, OR and XOR are of one level, from left to right.
"""

from __future__ import annotations

from typing import Final

from dispatcher.domain.cesql.nodes import Attribute, Binary, Call, Constant, Exists, In, Like, Node, Unary
from dispatcher.domain.cesql.tokens import Kind, Token, tokens
from dispatcher.domain.cesql.values import HIGHEST, LOWEST, CesqlError

MAX_NESTING: Final = 32
MAX_OPERATORS: Final = 100

_LEVELS = {
    **dict.fromkeys(("AND", "OR", "XOR"), 1),
    **dict.fromkeys(("=", "!=", "<>", ">=", "<=", "<", ">"), 2),
    **dict.fromkeys(("+", "-"), 3),
    **dict.fromkeys(("*", "/", "%"), 4),
}


def parse(expression: str) -> Node:
    """The tree of an expression. Raises CesqlError of the kind `parse`."""
    parser = _Parser(tokens(expression))
    found = parser.expression()
    parser.expect_end()
    return found


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._place = 0
        self._nesting = 0
        self._operators = 0

    def expression(self, lowest: int = 1) -> Node:
        """An expression whose operators bind as tightly as this level, or tighter."""
        self._enter()
        start = self._next.start
        left = self._operand()
        while (level := self._level()) >= lowest:
            operator = self._take().value
            self._count_operator()
            right = self.expression(level + 1)
            left = Binary(operator, left, right, start, self._end)
        self._nesting -= 1
        return left

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._unexpected("an operator or the end")

    def _operand(self) -> Node:
        """A prefix expression with the LIKEs and INs that follow it."""
        start = self._next.start
        found = self._prefix()
        while True:
            negated = self._is("NOT") and self._tokens[self._place + 1].value in ("LIKE", "IN")
            if negated:
                self._take()
            if self._is("LIKE"):
                self._take()
                pattern = self._take_kind("text", "a text in quotes").value
                found = Like(found, pattern, negated, start, self._end)
            elif self._is("IN"):
                self._take()
                items = self._list(start_with_one=True)
                found = In(found, items, negated, start, self._end)
            else:
                return found
            self._count_operator()

    def _prefix(self) -> Node:
        token = self._next
        if token.kind == "keyword" and token.value in ("NOT", "EXISTS"):
            return self._not() if token.value == "NOT" else self._exists()
        if token.kind == "sign" and token.value in "+-":
            return self._signed()
        self._take()
        if token.kind == "text":
            return Constant(token.value, token.start, token.end)
        if token.kind == "number":
            return self._integer(token.value, token.start)
        if token.kind == "keyword" and token.value in ("TRUE", "FALSE"):
            return Constant(token.value == "TRUE", token.start, token.end)
        if token.kind == "word":
            return self._call(token) if self._is("(") else self._attribute(token)
        if token.value == "(" and token.kind == "sign":
            found = self.expression()
            self._take_sign(")")
            return found
        self._place -= 1
        raise self._unexpected("an attribute, a literal, a function or (")

    def _not(self) -> Node:
        start = self._take().start
        self._count_operator()
        self._enter()
        operand = self._prefix()
        self._nesting -= 1
        return Unary("NOT", operand, start, self._end)

    def _exists(self) -> Node:
        start = self._take().start
        name = self._attribute(self._take_kind("word", "the name of an attribute")).name
        return Exists(name, start, self._end)

    def _signed(self) -> Node:
        sign = self._take()
        if self._next.kind == "number":
            return self._integer(sign.value + self._take().value, sign.start)
        if sign.value == "+":
            raise self._unexpected("a number")
        self._count_operator()
        self._enter()
        operand = self._prefix()
        self._nesting -= 1
        return Unary("-", operand, sign.start, self._end)

    def _integer(self, text: str, start: int) -> Node:
        number = int(text) if len(text.lstrip("+-0")) <= 10 else HIGHEST + 1
        if not LOWEST <= number <= HIGHEST:
            raise CesqlError("parse", f"{text[:40]} at character {start + 1} is no 32 bit integer")
        return Constant(number, start, self._end)

    def _attribute(self, token: Token) -> Attribute:
        # Names of attributes are in small letters, keywords are taken in any case.
        name = token.value.lower()
        if not name.isalnum():
            advice = "; the job's id is subject" if name == "job_id" else ""
            raise CesqlError("parse", f"{token.value} is no name of an attribute in CESQL{advice}")
        return Attribute(name, token.start, token.end)

    def _call(self, name: Token) -> Node:
        if not name.value.replace("_", "").isalpha():
            raise CesqlError("parse", f"{name.value} is no name of a function")
        return Call(name.value.upper(), self._list(start_with_one=False), name.start, self._end)

    def _list(self, *, start_with_one: bool) -> tuple[Node, ...]:
        """Expressions in parentheses, with commas."""
        self._take_sign("(")
        found: list[Node] = []
        if start_with_one or not self._is(")"):
            found.append(self.expression())
            while self._is(","):
                self._take()
                found.append(self.expression())
        self._take_sign(")")
        return tuple(found)

    def _level(self) -> int:
        return _LEVELS.get(self._next.value, 0) if self._next.kind in ("sign", "keyword") else 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    @property
    def _end(self) -> int:
        """Where the last token that was taken ends."""
        return self._tokens[self._place - 1].end

    def _is(self, value: str) -> bool:
        return self._next.value == value and self._next.kind in ("sign", "keyword")

    def _take(self) -> Token:
        found = self._next
        if found.kind == "end":
            raise self._unexpected("more")
        self._place += 1
        return found

    def _take_kind(self, kind: Kind, expected: str) -> Token:
        if self._next.kind != kind:
            raise self._unexpected(expected)
        return self._take()

    def _take_sign(self, sign: str) -> None:
        if not self._is(sign):
            raise self._unexpected(sign)
        self._take()

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise CesqlError("parse", f"expected at most {MAX_NESTING} levels")

    def _count_operator(self) -> None:
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            raise CesqlError("parse", f"expected at most {MAX_OPERATORS} operators")

    def _unexpected(self, expected: str) -> CesqlError:
        token = self._next
        found = "the end" if token.kind == "end" else f"{token.value[:40]!r} at character {token.start + 1}"
        return CesqlError("parse", f"expected {expected}, got {found}")
