"""Expressions as they are used: evaluated with all their errors, or as a filter that fails at the first one."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from dispatcher.domain.cesql.compiler import compiled
from dispatcher.domain.cesql.nodes import Node, conjuncts
from dispatcher.domain.cesql.parser import parse
from dispatcher.domain.cesql.values import MISSING, Attributes, CesqlError, Evaluation, Value


class Outcome(Struct, frozen=True):
    """What an evaluation gives: a value always, and the errors on the way."""

    value: Value
    errors: tuple[CesqlError, ...]


def evaluate(expression: str, event: Attributes) -> Outcome:
    """The value of an expression with all errors. One that cannot be parsed has `false` and that error."""
    run = Evaluation(event, fail_fast=False)
    try:
        value = compiled(parse(expression))(run)
    except CesqlError as error:
        return Outcome(False, (*run.errors, error))
    return Outcome(False if value is MISSING else value, tuple(run.errors))


def predicate(node: Node) -> Callable[[Attributes], bool]:
    """A filter: what is not `true`, or has an error, does not pass (section 1.2)."""
    expression = compiled(node)

    def passes(event: Attributes) -> bool:
        try:
            return expression(Evaluation(event, fail_fast=True)) is True
        except CesqlError:
            return False

    return passes


def why_not(node: Node, text: str, event: Attributes) -> list[str]:
    """Which parts of an expression keep an event from passing, in words."""
    return [problem for part in conjuncts(node) if (problem := _problem(part, text, event)) is not None]


def _problem(part: Node, text: str, event: Attributes) -> str | None:
    shown = text[part.start : part.end]
    try:
        value = compiled(part)(Evaluation(event, fail_fast=True))
    except CesqlError as error:
        return f"{shown}: {error}"
    if value is True:
        return None
    return f"{shown} is {'false' if value is False else f'{value!r}, expected true or false'}"
