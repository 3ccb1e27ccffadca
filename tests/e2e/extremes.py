"""The extremes of every field of a model: what stands at its bounds, just beyond them, and what no bound thought of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from msgspec import NODEFAULT, inspect

TEXTS = (
    "",
    "a",
    "\0",
    "a\nb",
    "a\r\nX: y",
    "\u202eabc",
    "\u200b",
    "\u2028",
    "é" * 200,
    "${EVENT}",
    "${",
    "$<",
    "*",
    "%00",
    "../x",
)
MOMENTS = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59", "2030-01-01T00:00:00Z", "1e3", 0)
FLOATS = (0.0, -0.0, 5e-324, 1e-300, 1e-9, 0.5, 1.0, 1e9, 1e15, 1e300, -1.0)
INTS = (0, -1, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**40)


def documents(model: type, base: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The base document with each field of a model set to each of its extremes, with the path of that field."""
    yield from _structs(inspect.type_info(model), base, "")


def _structs(info: inspect.Type, base: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        path = f"{where}{field.encode_name}"
        for value in _values(field.type):
            yield path, {**base, field.encode_name: value}
        for inner in _inner_structs(field.type):
            within = base.get(field.encode_name)
            start = dict(within) if isinstance(within, dict) else _required(inner)
            if inner.tag is not None and start.get("kind") not in (None, inner.tag):
                continue
            for deeper, value in _structs(inner, start, f"{path}."):
                yield deeper, {**base, field.encode_name: value}


def _inner_structs(info: inspect.Type) -> Iterator[inspect.StructType]:
    for one in _members(info):
        if isinstance(one, inspect.StructType):
            yield one


def _members(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        yield from _members(info.type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _members(one)
    else:
        yield info


def _required(info: inspect.StructType) -> dict[str, Any]:
    """The least document of a model."""
    found: dict[str, Any] = {} if info.tag_field is None else {info.tag_field: info.tag}
    for field in info.fields:
        if field.default is NODEFAULT and field.default_factory is NODEFAULT:
            found[field.encode_name] = next(iter(_values(field.type)), None)
    return found


def _values(info: inspect.Type) -> Iterator[Any]:
    for one in _members(info):
        yield from _of(one)


def _of(one: inspect.Type) -> Iterator[Any]:
    if isinstance(one, inspect.IntType | inspect.FloatType):
        yield from _numbers(one)
    elif isinstance(one, inspect.StrType):
        yield from _texts(one)
    elif isinstance(one, inspect.DateTimeType):
        yield from MOMENTS
    elif isinstance(one, inspect.BoolType):
        yield from (True, False)
    elif isinstance(one, inspect.LiteralType | inspect.EnumType):
        yield from _choices(one)
    elif isinstance(one, inspect.NoneType):
        yield None
    elif isinstance(one, inspect.VarTupleType | inspect.ListType | inspect.SetType):
        yield from _arrays(one)
    elif isinstance(one, inspect.DictType | inspect.AnyType):
        yield from _objects()


def _numbers(one: inspect.IntType | inspect.FloatType) -> Iterator[Any]:
    for bound in _bounds(one):
        yield bound
        if isinstance(one, inspect.IntType):
            yield from (bound - 1, bound + 1)
        else:
            yield from (math.nextafter(bound, math.inf), math.nextafter(bound, -math.inf))
    yield from INTS if isinstance(one, inspect.IntType) else FLOATS


def _texts(one: inspect.StrType) -> Iterator[Any]:
    if one.max_length is not None:
        yield from ("a" * one.max_length, "a" * (one.max_length + 1), "\U0001f600" * one.max_length)
    yield from TEXTS


def _bounds(one: inspect.IntType | inspect.FloatType) -> Iterator[Any]:
    yield from (bound for bound in (one.ge, one.gt, one.le, one.lt) if bound is not None)


def _choices(one: inspect.LiteralType | inspect.EnumType) -> Iterator[Any]:
    if isinstance(one, inspect.LiteralType):
        yield from one.values
    else:
        yield from (member.value for member in one.cls)
    yield "neither"


def _arrays(one: inspect.VarTupleType | inspect.ListType | inspect.SetType) -> Iterator[Any]:
    items = list(_values(one.item_type))
    yield []
    for item in items:
        yield [item]
    if items:
        most = one.max_length or 200
        fitting = items[1 % len(items)]
        yield from ([fitting] * most, [fitting] * (most + 1), items[:most])


def _objects() -> Iterator[Any]:
    yield from (
        {},
        {"a": 1},
        {"a" * 1000: "b" * 5000},
        {"exact": {"event": "FINISHED"}},
        {"\0": "\0"},
        {"": None},
    )
    nested: Any = {"exact": {"event": "FINISHED"}}
    for _ in range(40):
        nested = {"not": nested}
    yield nested
    yield {f"k{number}": number for number in range(500)}
