"""What an expression of CESQL says for certain, so that an impossible one is refused when it is made."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.domain.cesql.compiler import named, result_type
from dispatcher.domain.cesql.expression import predicate, why_not
from dispatcher.domain.cesql.like import literal_ends
from dispatcher.domain.cesql.nodes import (
    Attribute,
    Binary,
    Constant,
    Exists,
    In,
    Like,
    Node,
    Unary,
    conjuncts,
    walk,
)
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.filter_conditions import Condition, Not, SqlTest, ValueTest


class _NoEvent:
    """Stands for every event where an expression looks at none."""

    def attribute(self, _: str, /) -> None:
        return None


def check_expression(test: SqlTest) -> None:
    """Raise InvalidInput when its value is no boolean, or a part of it that no event changes is not true."""
    kind = result_type(test.node)
    if kind not in (None, bool):
        raise InvalidInput(
            test.field, f"its value is {_article(named(kind))}; a filter must be true or false"
        )
    for part in conjuncts(test.node):
        if _is_constant(part) and not predicate(part)(_NoEvent()):
            [problem] = why_not(part, test.text, _NoEvent())
            raise InvalidInput(test.field, f"no event can pass: {problem}")


def implied(test: SqlTest) -> Iterator[Condition]:
    """The conditions that every event fulfils for which the expression is true; not all of them."""
    for part in conjuncts(test.node):
        if (found := _condition(part, test.field)) is not None:
            yield found


def _condition(node: Node, field: str) -> Condition | None:
    if isinstance(node, Exists):
        return ValueTest(field, node.name, (), "exists", True)
    if isinstance(node, Unary) and node.operator == "NOT" and isinstance(node.operand, Exists):
        return ValueTest(field, node.operand.name, (), "exists", False)
    if isinstance(node, Binary) and node.operator == "=":
        return _equal(node.left, node.right, field) or _equal(node.right, node.left, field)
    if isinstance(node, Like) and isinstance(node.operand, Attribute) and not node.negated:
        return _like(node.operand.name, node.pattern, field)
    if isinstance(node, In) and isinstance(node.operand, Attribute):
        texts = [
            item.value for item in node.items if isinstance(item, Constant) and isinstance(item.value, str)
        ]
        if len(texts) == len(node.items):
            found = ValueTest(field, node.operand.name, (), "in", tuple(texts))
            return Not(field, found) if node.negated else found
    return None


def _equal(attribute: Node, value: Node, field: str) -> ValueTest | None:
    if isinstance(attribute, Attribute) and isinstance(value, Constant) and isinstance(value.value, str):
        return ValueTest(field, attribute.name, (), "eq", value.value)
    return None


def _like(name: str, pattern: str, field: str) -> ValueTest | None:
    begins, ends, whole = literal_ends(pattern)
    if whole:
        return ValueTest(field, name, (), "eq", begins)
    if begins:
        return ValueTest(field, name, (), "prefix", begins)
    return ValueTest(field, name, (), "suffix", ends) if ends else None


def _is_constant(node: Node) -> bool:
    return not any(isinstance(one, (Attribute, Exists)) for one in walk(node))


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
