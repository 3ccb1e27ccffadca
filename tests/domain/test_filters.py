"""The dialects of filters: what passes, and what is refused as not understood."""

from __future__ import annotations

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.filters import MAX_DEPTH, compile_filters, parse_filters
from dispatcher.domain.variable_values import EventValues
from tests.factories import make_event

EVENT = make_event(source="/cluster/a")


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
    assert test(EVENT) is passes


def test_no_filters_means_no_test() -> None:
    assert compile_filters([]) is None


def _nested(depth: int) -> dict[str, Any]:
    return {"exact": {"type": "x"}} if depth == 0 else {"not": _nested(depth - 1)}


@pytest.mark.parametrize(
    ("filters", "field", "problem"),
    [
        ([{"exactly": {"type": "x"}}], "filters[0]", "did you mean exact"),
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


def _passes(comparisons: object, data: object) -> bool:
    test = compile_filters([{"data": comparisons}])
    assert test is not None
    return test(make_event(data=data))


PLAIN = {
    "event": "FINISHED",
    "status": None,
    "message": None,
    "job": {"name": "align-7"},
    "data": {"exit_code": 3},
}


@pytest.mark.parametrize(
    ("comparison", "passing", "failing"),
    [
        ({"eq": 3}, [3, 3.0], [4, "3", True, None, [3]]),
        ({"eq": True}, [True], [1, "true", False]),
        ({"eq": "a"}, ["a"], ["A", ["a"], 0]),
        ({"ne": 3}, [4, "3", True, [3], {}], [3, None]),
        ({"lt": 3}, [2, -1.5], [3, "2", True, None]),
        ({"le": 3}, [3, 2], [3.1, "3"]),
        ({"gt": 0}, [1, 0.1], [0, -1, True, "1", None, [1]]),
        ({"ge": 0}, [0, 1], [-1, False]),
        ({"in": [1, "b", False]}, [1, "b", False], [True, 0, "1", None]),
        ({"prefix": "al"}, ["align"], ["Align", "a", 3, None]),
        ({"suffix": "gn"}, ["align"], ["gna", 3, None]),
        ({"exists": True}, [0, "", False, [], {}], [None]),
        ({"exists": False}, [None], [0, "", False]),
        ({"gt": 1, "lt": 4}, [2, 3], [1, 4]),
    ],
)
def test_a_comparison_of_data_passes_values_of_its_type_only(
    comparison: dict[str, Any], passing: list[object], failing: list[object]
) -> None:
    assert [value for value in passing if not _passes({"x": comparison}, {"x": value})] == []
    assert [value for value in failing if _passes({"x": comparison}, {"x": value})] == []


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("exit_code", True),
        ("job.name", True),
        ("data.exit_code", True),
        ("name", False),
        ("job.name.first", False),
        ("absent", False),
    ],
)
def test_a_path_reaches_into_the_data_and_into_the_publishers_own(path: str, there: bool) -> None:
    assert _passes({path: {"exists": True}}, PLAIN) is there


@pytest.mark.parametrize("data", [None, 5, "text", [1, 2], {"x": {"1": "a"}}])
def test_data_of_any_form_is_looked_at_without_harm(data: object) -> None:
    assert not _passes({"y.0.z": {"exists": True}}, data)


def test_a_step_is_an_index_of_a_list() -> None:
    assert _passes({"parts.1.code": {"eq": 2}}, {"parts": [{"code": 1}, {"code": 2}]})
    assert not _passes({"parts.2.code": {"exists": True}}, {"parts": [1, 2]})


STEP = st.text(string.ascii_lowercase, min_size=1, max_size=2)
JSON = st.recursive(
    st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STEP, inner, max_size=3),
)


@given(
    st.dictionaries(STEP, JSON, min_size=1), st.lists(STEP | st.sampled_from("012"), min_size=1, max_size=3)
)
def test_a_filter_sees_what_a_variable_of_the_same_path_stands_for(data: object, path: list[str]) -> None:
    event = make_event(data=data)
    text = EventValues(event).get("data." + ".".join(path))
    test = compile_filters([{"data": {".".join(path): {"exists": True}}}])
    assert test is not None
    assert test(event) or text == ""
    if text:
        assert test(event)


@pytest.mark.parametrize(
    ("argument", "field", "problem"),
    [
        ({}, "", "object of paths"),
        ({"x": 5}, ".x", 'such as {"eq": 5}'),
        ({"x": {}}, ".x", "such as"),
        ({"x": {"equals": 5}}, ".x.equals", "unknown comparison"),
        ({"x": {"gte": 5}}, ".x.gte", "did you mean"),
        ({"x": {"gt": "5"}}, ".x.gt", "expected a number"),
        ({"x": {"gt": True}}, ".x.gt", "expected a number"),
        ({"x": {"eq": None}}, ".x.eq", "exists"),
        ({"x": {"eq": [1]}}, ".x.eq", "expected a text, a number"),
        ({"x": {"in": []}}, ".x.in", "array of 1 to 100"),
        ({"x": {"in": "abc"}}, ".x.in", "array of 1 to 100"),
        ({"x": {"in": [{}]}}, ".x.in", "expected a text, a number"),
        ({"x": {"prefix": ""}}, ".x.prefix", "not empty"),
        ({"x": {"exists": "yes"}}, ".x.exists", "true or false"),
        ({"x..y": {"eq": 1}}, ".x..y", "such as job.name"),
        ({"a." * 16 + "b": {"eq": 1}}, ".a.a", "at most 16 steps"),
    ],
)
def test_a_comparison_of_data_that_is_not_understood_is_refused(
    argument: Any, field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        compile_filters([{"data": argument}])
    assert caught.value.field.startswith(f"filters[0].data{field}")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "expected an expression"),
        (5, "expected an expression"),
        ("event = ", "got the end"),
        ("event == 'X'", "expected an attribute"),
        ("job_id = 'x'", "the job's id is subject"),
        ("LENGHT(subject) > 3", "did you mean LENGTH"),
        ("LEFT(subject) = 'a'", "LEFT does not take 1 arguments"),
        ("subject LIKE owner", "expected a text in quotes"),
    ],
)
def test_an_expression_that_is_not_understood_is_refused(expression: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        compile_filters([{"sql": expression}])
    assert caught.value.field == "filters[0].sql"


def test_a_filter_of_attributes_compares_booleans_in_their_canonical_form() -> None:
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "restarted": True, "step": 7}
    event = make_event(document=msgspec.json.encode(document))
    test = compile_filters([{"exact": {"restarted": "true", "step": "7"}}])
    assert test is not None
    assert test(event)


FILTERS = [
    {"exact": {"owner": "bob"}},
    {"data": {"exit_code": {"gt": 0}}},
    {"data": {"absent": {"exists": True}}},
    {"any": [{"exact": {"owner": "bob"}}, {"prefix": {"type": "x"}}]},
    {"not": {"exact": {"owner": "alice"}}},
    {"not": {"any": [{"exact": {"owner": "bob"}}, {"exact": {"owner": "alice"}}]}},
    {"sql": "owner = 'alice' AND event = 'FAILED' AND sequence > 3"},
]
PROBLEMS = [
    [("filters[0].exact.owner", 'owner is "alice", expected "bob"')],
    [("filters[0].data.exit_code.gt", "exit_code is 0, expected more than 0")],
    [("filters[0].data.absent.exists", "absent is absent, expected something there")],
    [
        ("filters[0].any[0].exact.owner", 'owner is "alice", expected "bob"'),
        ("filters[0].any[1].prefix.type", 'type is "job.FINISHED", expected a text that begins with "x"'),
    ],
    [("filters[0].not", 'expected the opposite: owner is "alice"')],
    [("filters[0].not", 'expected the opposite: owner is "alice"')],
    [
        ("filters[0].sql", "event = 'FAILED' is false"),
        ("filters[0].sql", "sequence > 3: the event has no sequence"),
    ],
]


def _failures(filters: list[Any], event: Event) -> list[tuple[str, str]]:
    condition = parse_filters(filters)
    assert condition is not None
    return [(failure.field, failure.problem) for failure in condition.failures(event)]


@pytest.mark.parametrize(("one", "problems"), list(zip(FILTERS, PROBLEMS, strict=True)))
def test_each_filter_says_what_keeps_an_event_from_passing(
    one: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    assert _failures([one], make_event(data={"exit_code": 0})) == problems


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 10**6, '"' + "x" * 79 + "…"),
        (10**400, "1" + "0" * 79 + "…"),
        ({"a": 1}, "an object"),
        ([1], "an array"),
    ],
)
def test_a_long_value_is_shown_in_part(value: object, shown: str) -> None:
    event = make_event(data={"x": value})
    [(_, problem)] = _failures([{"data": {"x": {"in": list(range(50))}}}], event)
    assert problem == f"x is {shown}, expected one of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …]"
