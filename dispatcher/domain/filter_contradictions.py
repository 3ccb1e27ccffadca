"""Filters that no event can pass, found before they are stored.

Conditions that must hold together are compared value by value: what one of them accepts, another refuses. Not every
impossible filter is found so, but nothing that is possible is taken for impossible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.filter_conditions import ORDERED, Condition, Not, SqlTest, ValueTest
from dispatcher.domain.filter_sql import implied

_OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
_LOWER = frozenset({"gt", "ge"})
_STRICT = frozenset({"gt", "lt"})


class _Clause(NamedTuple):
    """A test that must pass, or with `negated` must not."""

    test: ValueTest
    negated: bool

    def accepts(self, value: object) -> bool:
        return self.test.accepts(value) is not self.negated

    @property
    def expected(self) -> str:
        return f"not {self.test.expected}" if self.negated else self.test.expected


class _Conflict(NamedTuple):
    field: str
    problem: str


_Part = tuple[Condition, bool]
_Key = tuple[str, tuple[str, ...]]
_Clauses: TypeAlias = Mapping[_Key, Sequence[_Clause]]


def check_possible(conditions: Iterable[Condition]) -> None:
    """Raise InvalidInput when no event can pass all of these conditions, with the reason."""
    conflict = _conflict([(one, False) for one in conditions], {})
    if conflict is not None:
        raise InvalidInput(conflict.field, f"no event can pass: {conflict.problem}")


def _conflict(parts: Sequence[_Part], outer: _Clauses) -> _Conflict | None:
    """What is impossible in parts that must hold together with what is known already."""
    clauses: list[_Clause] = []
    choices: list[tuple[str, list[_Part]]] = []
    for part in parts:
        _flatten(part, clauses, choices)
    together: defaultdict[_Key, list[_Clause]] = defaultdict(
        list, {key: [*its] for key, its in outer.items()}
    )
    for clause in clauses:
        together[clause.test.name, clause.test.path].append(clause)
    for key in dict.fromkeys((clause.test.name, clause.test.path) for clause in clauses):
        if (found := _of_value(together[key])) is not None:
            return found
    for field, alternatives in choices:
        problems = [_conflict([one], together) for one in alternatives]
        if all(problem is not None for problem in problems):
            first = next(problem for problem in problems if problem is not None)
            return (
                first if len(problems) == 1 else _Conflict(field, f"none of its filters can; {first.problem}")
            )
    return None


def _flatten(part: _Part, clauses: list[_Clause], choices: list[tuple[str, list[_Part]]]) -> None:
    condition, negated = part
    if isinstance(condition, ValueTest):
        clauses.append(_Clause(condition, negated))
    elif isinstance(condition, Not):
        _flatten((condition.part, not negated), clauses, choices)
    elif isinstance(condition, SqlTest):
        for one in () if negated else implied(condition):
            _flatten((one, False), clauses, choices)
    elif (condition.which == "all") is not negated:
        for one in condition.parts:
            _flatten((one, negated), clauses, choices)
    else:
        choices.append((condition.field, [(one, negated) for one in condition.parts]))


def _of_value(clauses: Sequence[_Clause]) -> _Conflict | None:
    """What is impossible in what is said of one value."""
    finite = [one for one in clauses if not one.negated and one.test.operator in ("eq", "in")]
    if finite:
        return _of_few(min(finite, key=_count), clauses)
    return _of_presence(clauses) or _of_kinds(clauses) or _of_ends(clauses) or _of_order(clauses)


def _count(clause: _Clause) -> int:
    return len(clause.test.wanted) if clause.test.operator == "in" else 1


def _of_few(few: _Clause, clauses: Sequence[_Clause]) -> _Conflict | None:
    """When only some values are possible, each is tried."""
    wanted = few.test.wanted
    values = wanted if few.test.operator == "in" else (wanted,)
    for value in values:
        if all(one.accepts(value) for one in clauses):
            return None
    other = next(one for one in clauses if not one.accepts(values[0]))
    return _both(few, other)


def _of_presence(clauses: Sequence[_Clause]) -> _Conflict | None:
    absent = [one for one in clauses if one.test.operator == "exists" and one.test.wanted is one.negated]
    present = [
        one for one in clauses if one not in absent and not (one.negated and one.test.operator != "exists")
    ]
    return _both(absent[0], present[0]) if absent and present else None


def _of_kinds(clauses: Sequence[_Clause]) -> _Conflict | None:
    """What compares numbers and what looks at texts."""
    numbers = [one for one in clauses if not one.negated and one.test.operator in ORDERED]
    texts = [one for one in clauses if not one.negated and one.test.operator in ("prefix", "suffix")]
    return _both(numbers[0], texts[0]) if numbers and texts else None


def _of_ends(clauses: Sequence[_Clause]) -> _Conflict | None:
    """Of several beginnings, the longest begins with all others; so do endings."""
    for operator in ("prefix", "suffix"):
        ends = [one for one in clauses if one.test.operator == operator]
        longest = max(
            (one for one in ends if not one.negated), key=lambda one: len(one.test.wanted), default=None
        )
        if longest is None:
            continue
        for one in ends:
            if not one.accepts(longest.test.wanted):
                return _both(longest, one)
    return None


def _of_order(clauses: Sequence[_Clause]) -> _Conflict | None:
    """The highest lower bound and the lowest upper one. Without a comparison that holds, it need be no number."""
    ordered = [one for one in clauses if one.test.operator in ORDERED]
    if all(one.negated for one in ordered):
        return None
    lower = [one for one in ordered if _operator(one) in _LOWER]
    upper = [one for one in ordered if _operator(one) not in _LOWER]
    if not lower or not upper:
        return None
    low = max(lower, key=lambda one: (one.test.wanted, _operator(one) in _STRICT))
    high = min(upper, key=lambda one: (one.test.wanted, _operator(one) not in _STRICT))
    strict = _operator(low) in _STRICT or _operator(high) in _STRICT
    if low.test.wanted > high.test.wanted or (strict and low.test.wanted == high.test.wanted):
        return _both(low, high)
    return None


def _operator(clause: _Clause) -> str:
    """The comparison of a clause; what must not pass is its opposite, for what is a number all the same."""
    return _OPPOSITE[clause.test.operator] if clause.negated else clause.test.operator


def _both(one: _Clause, other: _Clause) -> _Conflict:
    """The conflict of two clauses, at the filter that comes later."""
    first, second = sorted((one, other), key=lambda clause: clause.test.field)
    if second.test.field.startswith("filters") < first.test.field.startswith("filters"):
        first, second = second, first
    name = first.test.name
    if first.test.field.startswith("filters"):
        return _Conflict(
            second.test.field, f"{name} cannot be {first.expected} and {second.expected} at once"
        )
    return _Conflict(
        second.test.field,
        f"{name} cannot be {second.expected}: {first.test.field} of the subscription allows {first.expected} only",
    )
