"""What filters must fulfil when a subscription is made or changed, beyond being understood.

A stored subscription is not looked at again: what was accepted once goes on working.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import known_as, selected_names
from dispatcher.domain.filter_conditions import Condition, Group, SqlTest, ValueTest
from dispatcher.domain.filter_contradictions import check_possible
from dispatcher.domain.filter_names import check_names, doubtful, leaves
from dispatcher.domain.filter_sql import check_expression
from dispatcher.domain.filters import parse_filters
from dispatcher.domain.selections import Selection
from dispatcher.domain.subscriptions import EVERY_OWNER

# RFC 3339, section 5.6.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def doubtful_names(filters: Collection[object]) -> set[str]:
    """The attributes that look like slips: whether they are depends on which ones events have. Raises InvalidInput."""
    condition = parse_filters(list(filters))
    return set() if condition is None else doubtful(condition)


def check_attributes(filters: Collection[object], seen: Collection[str] = ()) -> None:
    """Raise InvalidInput for names and values that no event has. `seen` are names that events had."""
    condition = parse_filters(list(filters))
    if condition is None:
        return
    check_names(condition, seen)
    for one in leaves(condition):
        if isinstance(one, SqlTest):
            check_expression(one)
        elif not one.path and one.operator == "eq":
            _check_value(one)


def check_selection(selection: Selection) -> None:
    """Raise InvalidInput when no event can be of what a subscription means and pass its filters too."""
    if selection.condition is not None:
        check_possible([*_fixed(selection), selection.condition])


def _fixed(selection: Selection) -> Iterator[Condition]:
    """What is true of every event that reaches its filters."""
    yield ValueTest("tenant", "tenant", (), "eq", selection.tenant)
    if selection.job_id is not None:
        yield ValueTest("job_id", "job_id", (), "eq", selection.job_id)
    elif selection.owner != EVERY_OWNER:
        # Events of a job may be of somebody else who granted it.
        yield ValueTest("owner", "owner", (), "eq", selection.owner)
    if "*" not in selection.events:
        names, prefixes = selected_names(selection.events)
        tests: list[Condition] = [ValueTest("events", "event", (), "prefix", prefix) for prefix in prefixes]
        if names:
            tests.append(ValueTest("events", "event", (), "in", tuple(sorted(names))))
        yield Group("events", "any", tuple(tests))


def _check_value(test: ValueTest) -> None:
    if test.name == "event" and known_as(test.wanted) != test.wanted:
        raise InvalidInput(test.field, f"no event has this name; did you mean {known_as(test.wanted)}?")
    if test.name == "specversion" and test.wanted != "1.0":
        raise InvalidInput(test.field, 'no event has this value: specversion is always "1.0"')
    if test.name == "time" and not _TIME.fullmatch(test.wanted):
        raise InvalidInput(
            test.field, "no event has this value: expected a time such as 2026-05-04T12:00:00Z"
        )
