"""The dialects of CloudEvents subscription filters."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.filters import MAX_DEPTH, compile_filters

ATTRIBUTES = {"type": "job.FINISHED", "source": "/cluster/a", "owner": "alice"}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([{"exact": {"type": "job.FINISHED"}}], True),
        ([{"exact": {"type": "job.FINISHED", "owner": "bob"}}], False),
        ([{"exact": {"absent": "x"}}], False),
        ([{"prefix": {"source": "/cluster"}}], True),
        ([{"prefix": {"source": "cluster"}}], False),
        ([{"suffix": {"type": ".FINISHED"}}], True),
        ([{"prefix": {"type": "job."}}, {"suffix": {"source": "/b"}}], False),
        ([{"all": [{"prefix": {"type": "job."}}, {"exact": {"owner": "alice"}}]}], True),
        ([{"any": [{"exact": {"owner": "bob"}}, {"exact": {"owner": "alice"}}]}], True),
        ([{"any": [{"exact": {"owner": "bob"}}]}], False),
        ([{"not": {"exact": {"owner": "bob"}}}], True),
        ([{"not": {"exact": {"absent": "x"}}}], True),
    ],
)
def test_filters_are_anded_and_each_dialect_keeps_its_rule(filters: list[Any], passes: bool) -> None:
    test = compile_filters(filters)
    assert test is not None
    assert test(ATTRIBUTES) is passes


def test_no_filters_means_no_test() -> None:
    assert compile_filters([]) is None


def _nested(depth: int) -> dict[str, Any]:
    return {"exact": {"type": "x"}} if depth == 0 else {"not": _nested(depth - 1)}


@pytest.mark.parametrize(
    ("filters", "field", "problem"),
    [
        ([{"sql": "1 = 1"}], "filters[0]", "unknown dialect 'sql'"),
        ([{"exact": {}}], "filters[0].exact", "object of attribute names"),
        ([{"exact": {"type": ""}}], "filters[0].exact.type", "not empty"),
        ([{"exact": {"type": 1}}], "filters[0].exact.type", "not empty"),
        ([{"all": []}], "filters[0].all", "at least one"),
        ([{"any": [{"exact": {"a": "b"}}, 5]}], "filters[0].any[1]", "one dialect"),
        ([{"exact": {"a": "b"}, "not": {}}], "filters[0]", "one dialect"),
        ([_nested(MAX_DEPTH)], "filters[0]" + ".not" * MAX_DEPTH, "nested deeper"),
        ([{"exact": {"a": "b"}}] * 65, "filters", "at most 64"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused_with_its_place(
    filters: list[Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        compile_filters(filters)
    assert caught.value.field == field
