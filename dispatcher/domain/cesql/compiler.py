"""From an expression's tree to a function that evaluates it for an event.

Source: CloudEvents SQL Expression Language 1.0, sections 3.2 to 3.6.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import singledispatch

from dispatcher.domain.cesql.functions import find
from dispatcher.domain.cesql.like import like
from dispatcher.domain.cesql.nodes import Attribute, Binary, Call, Constant, Exists, In, Like, Node, Unary
from dispatcher.domain.cesql.values import (
    MISSING,
    TYPE_NAMES,
    ZERO,
    Evaluation,
    Expression,
    Operand,
    Value,
    cast,
    in_range,
)

_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@singledispatch
def compiled(node: Node) -> Expression:
    """The function that evaluates a node."""
    raise TypeError(type(node))


@compiled.register
def _constant(node: Constant) -> Expression:
    return lambda run: node.value


@compiled.register
def _attribute(node: Attribute) -> Expression:
    name = node.name

    def value(run: Evaluation) -> Operand:
        found = run.event.attribute(name)
        if found is None:
            run.fail("missingAttribute", f"the event has no {name}")
            return MISSING
        return found

    return value


@compiled.register
def _exists(node: Exists) -> Expression:
    return lambda run: run.event.attribute(node.name) is not None


@compiled.register
def _unary(node: Unary) -> Expression:
    operand = compiled(node.operand)

    def negative(run: Evaluation) -> Operand:
        value = operand(run)
        return 0 if value is MISSING else in_range(-cast(value, int, run), run)  # type: ignore[operator]

    def opposite(run: Evaluation) -> Operand:
        value = operand(run)
        if value is MISSING:
            return False
        if type(value) is int:
            # The conformance vectors have it so, though an integer can be cast to a boolean elsewhere.
            run.fail("cast", f"NOT takes a boolean, got {value}")
            return True
        return not cast(value, bool, run)

    return opposite if node.operator == "NOT" else negative


@compiled.register
def _binary(node: Binary) -> Expression:
    left, right = compiled(node.left), compiled(node.right)
    if node.operator in ("AND", "OR"):
        return _short_circuit(left, right, stops_at=node.operator == "OR")
    if node.operator in _ORDER:
        return _pairwise(left, right, int, bool, _compare(_ORDER[node.operator]))
    if node.operator == "XOR":
        return _pairwise(left, right, bool, bool, lambda run, x, y: x is not y)
    if node.operator in ("=", "!=", "<>"):
        return _equality(left, right, equal=node.operator == "=")
    return _pairwise(left, right, int, int, _ARITHMETIC[node.operator])


@compiled.register
def _like(node: Like) -> Expression:
    operand, matches, wanted = compiled(node.operand), like(node.pattern), not node.negated

    def test(run: Evaluation) -> Operand:
        value = operand(run)
        if value is MISSING:
            return False
        return matches(value if isinstance(value, str) else str(cast(value, str, run)), run) is wanted

    return test


@compiled.register
def _in(node: In) -> Expression:
    operand, items, wanted = compiled(node.operand), [compiled(item) for item in node.items], not node.negated

    def test(run: Evaluation) -> Operand:
        value = operand(run)
        found = [item(run) for item in items]
        if value is MISSING or MISSING in found:
            return False
        kind = type(value)
        return any(cast(one, kind, run) == value for one in found if one is not MISSING) is wanted

    return test


@compiled.register
def _call(node: Call) -> Expression:
    function = find(node.name, len(node.arguments))
    if function is None:
        problem = f"there is no function {node.name} of {len(node.arguments)} arguments"

        def missing(run: Evaluation) -> Operand:
            run.fail("missingFunction", problem)
            return False

        return missing
    arguments = [compiled(one) for one in node.arguments]
    further = function.further or str
    kinds: list[type] = [*function.parameters, *[further] * (len(arguments) - len(function.parameters))]
    call, zero = function.call, ZERO[function.result]

    def result(run: Evaluation) -> Operand:
        values: list[Value] = []
        for argument, kind in zip(arguments, kinds, strict=True):
            value = argument(run)
            if value is MISSING:
                return zero
            values.append(cast(value, kind, run))
        return call(run, *values)

    return result


def result_type(node: Node) -> type | None:
    """The type of a node's values; None when it is that of an attribute."""
    if isinstance(node, Constant):
        return type(node.value)
    if isinstance(node, Attribute):
        return None
    if isinstance(node, Call):
        function = find(node.name, len(node.arguments))
        return bool if function is None else function.result
    if isinstance(node, Unary):
        return bool if node.operator == "NOT" else int
    return int if isinstance(node, Binary) and node.operator in _ARITHMETIC else bool


def named(kind: type) -> str:
    """A type as people call it here."""
    return TYPE_NAMES[kind]


def _short_circuit(left: Expression, right: Expression, *, stops_at: bool) -> Expression:
    def test(run: Evaluation) -> Operand:
        value = left(run)
        if value is MISSING:
            return False
        if value is stops_at or cast(value, bool, run) is stops_at:
            return stops_at
        other = right(run)
        return False if other is MISSING else cast(other, bool, run)

    return test


def _pairwise(
    left: Expression,
    right: Expression,
    wanted: type,
    result: type,
    work: Callable[[Evaluation, int, int], Value],
) -> Expression:
    zero = ZERO[result]

    def evaluate(run: Evaluation) -> Operand:
        x, y = left(run), right(run)
        if x is MISSING or y is MISSING:
            return zero
        return work(run, cast(x, wanted, run), cast(y, wanted, run))  # type: ignore[arg-type]

    return evaluate


def _equality(left: Expression, right: Expression, *, equal: bool) -> Expression:
    """The right operand's type says which of the operators of this name is meant. What has an error equals nothing."""

    def test(run: Evaluation) -> Operand:
        failed = len(run.errors)
        x, y = left(run), right(run)
        if x is MISSING or y is MISSING:
            return False
        same = (x if type(x) is type(y) else cast(x, type(y), run)) == y
        return False if len(run.errors) > failed else same is equal

    return test


def _compare(order: Callable[[int, int], bool]) -> Callable[[Evaluation, int, int], bool]:
    return lambda run, x, y: order(x, y)


def _divided(run: Evaluation, x: int, y: int) -> int:
    if y == 0:
        run.fail("math", f"{x} / 0")
        return 0
    quotient = abs(x) // abs(y)
    return in_range(quotient if (x < 0) == (y < 0) else -quotient, run)


def _remainder(run: Evaluation, x: int, y: int) -> int:
    if y == 0:
        run.fail("math", f"{x} % 0")
        return 0
    rest = abs(x) % abs(y)
    return -rest if x < 0 else rest


_ARITHMETIC: dict[str, Callable[[Evaluation, int, int], int]] = {
    "+": lambda run, x, y: in_range(x + y, run),
    "-": lambda run, x, y: in_range(x - y, run),
    "*": lambda run, x, y: in_range(x * y, run),
    "/": _divided,
    "%": _remainder,
}
