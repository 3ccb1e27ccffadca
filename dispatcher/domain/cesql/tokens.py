"""The words, signs and literals that an expression consists of.

Source: CloudEvents SQL Expression Language 1.0, section 2.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from dispatcher.domain.cesql.values import CesqlError

MAX_LENGTH = 4096
"""Characters that an expression may have."""
MAX_TOKENS = 512

KEYWORDS = frozenset({"AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"})

Kind = Literal["text", "number", "word", "keyword", "sign", "end"]

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")"""
    r"|(?P<number>[0-9]+(?![A-Za-z0-9_]))"
    r"|(?P<word>[A-Za-z0-9][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|<>|!=|[-+*/%=<>(),])"
    r"|(?P<space>[ \t\r\n]+)",
    re.DOTALL,
)


class Token(Struct, frozen=True):
    """One of them: keywords in capitals, texts without their quotes; `start` and `end` are its place."""

    kind: Kind
    value: str
    start: int
    end: int


def tokens(expression: str) -> list[Token]:
    """All of an expression, then one of the kind `end`. Raises CesqlError."""
    if len(expression) > MAX_LENGTH:
        raise CesqlError("parse", f"expected at most {MAX_LENGTH} characters, got {len(expression)}")
    found: list[Token] = []
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise CesqlError("parse", _unreadable(expression, place))
        if match.lastgroup != "space":
            found.append(_token(match))
        place = match.end()
    if len(found) > MAX_TOKENS:
        raise CesqlError("parse", f"expected at most {MAX_TOKENS} words and signs, got {len(found)}")
    return [*found, Token("end", "", place, place)]


def _token(match: re.Match[str]) -> Token:
    value, start, end = match[0], match.start(), match.end()
    if match["text"] is not None:
        return Token("text", _unquoted(value), start, end)
    if match["number"] is not None:
        return Token("number", value, start, end)
    if match["sign"] is not None:
        return Token("sign", value, start, end)
    keyword = value.upper()
    return Token("keyword", keyword, start, end) if keyword in KEYWORDS else Token("word", value, start, end)


def _unquoted(literal: str) -> str:
    """The text of a literal. A backslash escapes the quote only: every other one is LIKE's business."""
    quote = literal[0]
    return re.sub(rf"\\{quote}|{quote}{quote}", quote, literal[1:-1])


def _unreadable(expression: str, place: int) -> str:
    sign = expression[place]
    if sign in "'\"":
        return f"the text that begins at character {place + 1} has no closing {sign}"
    return f"unexpected {sign!r} at character {place + 1}"
