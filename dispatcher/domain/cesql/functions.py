"""The built-in functions of expressions.

Source: CloudEvents SQL Expression Language 1.0, section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from dispatcher.domain.cesql.values import HIGHEST, LOWEST, Evaluation, Value

_WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's property White_Space. What Python strips by itself has control characters too."""


class Function(Struct, frozen=True):
    """A function: its parameters' types, `further` for those after them if it takes more, and its result's type.

    `call` gets the evaluation, for errors, and the arguments, cast.
    """

    parameters: tuple[type, ...]
    result: type
    call: Callable[..., Value]
    further: type | None = None


def find(name: str, count: int) -> Function | None:
    """The function of this name, in capitals, that takes so many arguments."""
    for function in FUNCTIONS.get(name, ()):
        fixed = len(function.parameters)
        if count == fixed or (function.further is not None and count > fixed):
            return function
    return None


def _concat(run: Evaluation, *texts: str) -> str:
    run.spend(sum(map(len, texts)))
    return "".join(texts)


def _concat_ws(run: Evaluation, delimiter: str, *texts: str) -> str:
    run.spend(sum(map(len, texts)) + len(delimiter) * len(texts))
    return delimiter.join(texts)


def _of_text(change: Callable[[str], Value]) -> Callable[[Evaluation, str], Value]:
    def call(run: Evaluation, text: str) -> Value:
        run.spend(len(text))
        return change(text)

    return call


def _left(run: Evaluation, text: str, count: int) -> str:
    if count < 0:
        run.fail("functionEvaluation", f"LEFT: {count} is negative")
        return text
    return text[:count]


def _right(run: Evaluation, text: str, count: int) -> str:
    if count < 0:
        run.fail("functionEvaluation", f"RIGHT: {count} is negative")
        return text
    return text[max(len(text) - count, 0) :]


def _substring(run: Evaluation, text: str, position: int, length: int = HIGHEST) -> str:
    if position == 0:
        return ""
    if abs(position) > len(text) or length < 0:
        wrong = f"{position} is outside of the text" if length >= 0 else f"{length} is negative"
        run.fail("functionEvaluation", f"SUBSTRING: {wrong}")
        return ""
    start = position - 1 if position > 0 else len(text) + position
    return text[start : start + length]


def _abs(run: Evaluation, number: int) -> int:
    if number == LOWEST:
        run.fail("math", f"ABS: 32 bits do not hold {-number}")
        return HIGHEST
    return abs(number)


def _same(_: Evaluation, value: Any) -> Value:
    found: Value = value
    return found


FUNCTIONS: dict[str, tuple[Function, ...]] = {
    "LENGTH": (Function((str,), int, _of_text(len)),),
    "CONCAT": (Function((), str, _concat, str),),
    "CONCAT_WS": (Function((str,), str, _concat_ws, str),),
    "LOWER": (Function((str,), str, _of_text(str.lower)),),
    "UPPER": (Function((str,), str, _of_text(str.upper)),),
    "TRIM": (Function((str,), str, _of_text(lambda text: text.strip(_WHITE_SPACE))),),
    "LEFT": (Function((str, int), str, _left),),
    "RIGHT": (Function((str, int), str, _right),),
    "SUBSTRING": (Function((str, int), str, _substring), Function((str, int, int), str, _substring)),
    "ABS": (Function((int,), int, _abs),),
    "INT": (Function((int,), int, _same),),
    "BOOL": (Function((bool,), bool, _same),),
    "STRING": (Function((str,), str, _same),),
}
