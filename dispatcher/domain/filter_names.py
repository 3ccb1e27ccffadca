"""Names of attributes in filters: those that no event can have, and those that look like slips of the pen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from dispatcher.domain.cesql.nodes import Attribute, Binary, Exists, In, Like, Unary, walk
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.filter_conditions import Condition, Group, Not, SqlTest, ValueTest
from dispatcher.domain.hops import EXTENSION

OWN = ("event", "job_id", "owner", "tenant")
CORE = ("id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema")
KNOWN = (*CORE, *OWN, "traceparent", "tracestate", EXTENSION)

_NAME = re.compile(r"[a-z0-9]+")
_NO_ATTRIBUTES = ("data", "database64")
_JOB_FIELDS = frozenset({"name", "appid", "status", "exitcode", "executionsystem", "jobname"})
_SLIP = 0.84
"""How near a name must be to a known one to be taken for a slip."""


MAX_EXPRESSIONS = 10
"""Expressions of CESQL in the filters of one subscription: each costs some microseconds for each event."""


def check_names(condition: Condition, seen: Collection[str] = ()) -> None:
    """Raise InvalidInput for a name that no event has, or that is nearly a known one's and not among the `seen`."""
    for field, name in names(condition):
        if name in KNOWN:
            continue
        if name in _NO_ATTRIBUTES or not _NAME.fullmatch(name):
            raise InvalidInput(field, f"no event has an attribute {name[:80]!r}; {_advice(name)}")
        if name not in seen and (known := _slip(name)):
            raise InvalidInput(
                field,
                f"{name} is no known attribute; did you mean {known}? "
                "(An extension of this name is taken once an event has it.)",
            )
    expressions = list(_sql_tests(condition))
    if len(expressions) > MAX_EXPRESSIONS:
        raise InvalidInput(
            "filters", f"expected at most {MAX_EXPRESSIONS} expressions of CESQL, got {len(expressions)}"
        )
    for test in expressions:
        _check_not(test)


def doubtful(condition: Condition) -> set[str]:
    """The names that look like slips: it depends on the events whether they are."""
    return {
        name for _, name in names(condition) if name not in KNOWN and _NAME.fullmatch(name) and _slip(name)
    }


def names(condition: Condition) -> Iterator[tuple[str, str]]:
    """All attributes that a condition names, each with its field."""
    for one in leaves(condition):
        if isinstance(one, SqlTest):
            yield from (
                (one.field, node.name) for node in walk(one.node) if isinstance(node, (Attribute, Exists))
            )
        elif not one.path:
            yield one.field, one.name


def leaves(condition: Condition) -> Iterator[ValueTest | SqlTest]:
    """The tests that a condition consists of."""
    if isinstance(condition, Group):
        for part in condition.parts:
            yield from leaves(part)
    elif isinstance(condition, Not):
        yield from leaves(condition.part)
    else:
        yield condition


def _sql_tests(condition: Condition) -> Iterator[SqlTest]:
    return (one for one in leaves(condition) if isinstance(one, SqlTest))


def _slip(name: str) -> str | None:
    """The known name that was meant; None when it is a name in its own right, such as a known one with more behind."""
    if any(name.startswith(known) and len(name) > len(known) + 1 for known in KNOWN):
        return None
    close = difflib.get_close_matches(name[:80], KNOWN, n=1, cutoff=_SLIP)
    return close[0] if close else None


def _advice(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())[:80]
    if name.startswith("data") or plain in _JOB_FIELDS:
        return 'a filter {"data": …} sees what is in the data'
    close = difflib.get_close_matches(plain, KNOWN, n=1)
    return f"did you mean {close[0]}?" if close else "names have small letters and digits only"


def _check_not(test: SqlTest) -> None:
    """Refuse NOT before a comparison that was meant as a whole: it binds to the attribute alone."""
    for node in walk(test.node):
        if isinstance(node, (Like, In)):
            negated = node.operand
        elif isinstance(node, Binary) and node.operator not in ("AND", "OR", "XOR"):
            negated = node.left
        else:
            continue
        if (
            isinstance(negated, Unary)
            and isinstance(negated.operand, Attribute)
            and negated.operator == "NOT"
        ):
            name, rest = negated.operand.name, test.text[negated.operand.start : node.end]
            raise InvalidInput(test.field, f"NOT takes {name} alone here; did you mean NOT ({rest})?")
