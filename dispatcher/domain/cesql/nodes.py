"""The tree of a parsed expression. `start` and `end` say which part of its text a node is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, Union

from msgspec import Struct

from dispatcher.domain.cesql.values import Value


class Constant(Struct, frozen=True):
    """A literal."""

    value: Value
    start: int
    end: int


class Attribute(Struct, frozen=True):
    """The value of an attribute."""

    name: str
    start: int
    end: int


class Exists(Struct, frozen=True):
    """Whether the event has an attribute."""

    name: str
    start: int
    end: int


class Unary(Struct, frozen=True):
    """`NOT` or `-`."""

    operator: str
    operand: Node
    start: int
    end: int


class Binary(Struct, frozen=True):
    """Two operands and an operator between them."""

    operator: str
    left: Node
    right: Node
    start: int
    end: int


class Like(Struct, frozen=True):
    """`LIKE`, or with `negated` `NOT LIKE`."""

    operand: Node
    pattern: str
    negated: bool
    start: int
    end: int


class In(Struct, frozen=True):
    """`IN`, or with `negated` `NOT IN`."""

    operand: Node
    items: tuple[Node, ...]
    negated: bool
    start: int
    end: int


class Call(Struct, frozen=True):
    """A function's invocation; the name is in capitals."""

    name: str
    arguments: tuple[Node, ...]
    start: int
    end: int


Node: TypeAlias = Union[Constant, Attribute, Exists, Unary, Binary, Like, In, Call]  # noqa: UP007 - named before they are


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children(one)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below one."""
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, (Unary, Like)):
        return (node.operand,)
    if isinstance(node, In):
        return (node.operand, *node.items)
    return node.arguments if isinstance(node, Call) else ()


def conjuncts(node: Node) -> list[Node]:
    """The parts all of which must be true: those between the `AND`s of the outermost level."""
    if isinstance(node, Binary) and node.operator == "AND":
        return [*conjuncts(node.left), *conjuncts(node.right)]
    return [node]
