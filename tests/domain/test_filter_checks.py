"""Filters as they are checked when a subscription is made: names, values, and what no event can pass."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.filter_checks import check_attributes, check_selection, doubtful_names
from dispatcher.domain.filters import compile_filters, parse_filters
from dispatcher.domain.selections import Selection
from tests.factories import make_event, make_subscription


def test_a_subscription_has_ten_expressions_at_most_however_they_are_nested() -> None:
    ten = [{"any": [{"sql": "hop = 1"}] * 5}, {"not": {"all": [{"sql": "hop = 1"}] * 5}}]
    check_attributes(ten)
    with pytest.raises(InvalidInput, match="at most 10 expressions of CESQL, got 11"):
        check_attributes([*ten, {"sql": "hop = 1"}])


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ([{"exact": {"jobid": "1"}}], "did you mean job_id"),
        ([{"exact": {"jobId": "1"}}], "did you mean job_id"),
        ([{"exact": {"sorce": "/a"}}], "did you mean source"),
        ([{"any": [{"not": {"prefix": {"Type": "/a"}}}]}], "did you mean type"),
        ([{"exact": {"data.exit_code": "1"}}], 'a filter {"data": …}'),
        ([{"exact": {"exit_code": "1"}}], 'a filter {"data": …}'),
        ([{"exact": {"data": "1"}}], 'a filter {"data": …}'),
        ([{"exact": {"my-label": "1"}}], "small letters and digits"),
        ([{"sql": "EXISTS subjct"}], "did you mean subject"),
        ([{"sql": "data = 1"}], 'a filter {"data": …}'),
    ],
)
def test_a_name_that_no_event_has_is_refused_with_the_nearest_known_one(
    filters: list[Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        check_attributes(filters)


@pytest.mark.parametrize(
    "name", ["lab", "sequence", "rackunit", "ownergroup", "sourceid", "tenantid", "x", "timeout"]
)
def test_a_sites_own_extension_attributes_stay_allowed(name: str) -> None:
    check_attributes([{"exact": {name: "1"}}])
    check_attributes([{"sql": f"{name} = '1'"}])


def test_a_name_that_looks_like_a_slip_is_allowed_once_events_have_it() -> None:
    filters = [{"exact": {"types": "a"}}, {"exact": {"lab": "a"}}]
    assert doubtful_names(filters) == {"types"}
    with pytest.raises(InvalidInput, match="did you mean type"):
        check_attributes(filters)
    check_attributes(filters, seen={"types"})


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ([{"exact": {"event": "finished"}}], "did you mean FINISHED"),
        ([{"exact": {"time": "yesterday"}}], "expected a time"),
        ([{"exact": {"specversion": "0.3"}}], 'always "1.0"'),
        ([{"sql": "LENGTH(subject)"}], "its value is an integer"),
        ([{"sql": "'true'"}], "its value is a string"),
        ([{"sql": "1 = 2"}], "1 = 2 is false"),
        ([{"sql": "EXISTS lab AND 1 / 0 = 1"}], "1 / 0"),
        ([{"sql": "NOT event = 'FAILED'"}], "did you mean NOT (event = 'FAILED')"),
        ([{"sql": "EXISTS lab AND NOT subject LIKE 'a%'"}], "did you mean NOT (subject LIKE 'a%')"),
    ],
)
def test_a_value_that_no_event_has_is_refused(filters: list[Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        check_attributes(filters)


def _selection(filters: list[Any], **fields: Any) -> None:
    check_selection(Selection.of(make_subscription(filters=tuple(filters), **fields)))


@pytest.mark.parametrize(
    ("filters", "field", "problem"),
    [
        (
            [{"exact": {"lab": "a"}}, {"exact": {"lab": "b"}}],
            "[1].exact.lab",
            'cannot be "a" and "b" at once',
        ),
        ([{"exact": {"lab": "b"}}, {"prefix": {"lab": "a"}}], "[1].prefix.lab", "begins with"),
        ([{"suffix": {"lab": "a"}}, {"exact": {"lab": "b"}}], "[1].exact.lab", "ends with"),
        ([{"prefix": {"lab": "ab"}}, {"prefix": {"lab": "b"}}], "[1].prefix.lab", "begins with"),
        ([{"suffix": {"lab": "ab"}}, {"suffix": {"lab": "a"}}], "[1].suffix.lab", "ends with"),
        ([{"prefix": {"lab": "ab"}}, {"not": {"prefix": {"lab": "a"}}}], "[1].not.prefix.lab", "not a text"),
        ([{"exact": {"lab": "a"}}, {"not": {"exact": {"lab": "a"}}}], "[1].not.exact.lab", 'not "a"'),
        (
            [{"exact": {"lab": "a"}}, {"any": [{"exact": {"lab": "b"}}, {"exact": {"lab": "c"}}]}],
            "[1].any",
            "none of its filters",
        ),
        ([{"all": [{"exact": {"lab": "a"}}, {"all": [{"exact": {"lab": "b"}}]}]}], "[0].all[1]", "at once"),
        (
            [
                {"not": {"any": [{"exact": {"lab": "a"}}, {"data": {"x": {"exists": True}}}]}},
                {"data": {"x": {"eq": 1}}},
            ],
            "[1].data.x.eq",
            "x cannot be",
        ),
        ([{"data": {"x": {"gt": 5, "lt": 3}}}], "[0].data.x.lt", "more than 5 and less than 3"),
        ([{"data": {"x": {"gt": 5, "le": 5}}}], "[0].data.x", "at once"),
        ([{"data": {"x": {"gt": 5}}}, {"not": {"data": {"x": {"gt": 4}}}}], "[1].not", "at once"),
        ([{"data": {"x": {"gt": 5, "prefix": "a"}}}], "[0].data.x", "at once"),
        ([{"data": {"x": {"exists": False, "ne": 5}}}], "[0].data.x", "nothing there"),
        ([{"data": {"x": {"in": [1, 2], "gt": 2}}}], "[0].data.x", "one of [1, 2]"),
        ([{"data": {"x": {"eq": "1", "ge": 1}}}], "[0].data.x", "at least 1"),
        ([{"sql": "lab = 'a' AND lab = 'b'"}], "[0].sql", "at once"),
        ([{"sql": "lab LIKE 'a%'"}, {"sql": "lab LIKE 'b%'"}], "[1].sql", "at once"),
        ([{"sql": "lab IN ('a', 'b') AND lab NOT IN ('a', 'b', 'c')"}], "[0].sql", "at once"),
        ([{"sql": "NOT EXISTS lab AND 'x' = lab"}], "[0].sql", "at once"),
    ],
)
def test_filters_that_contradict_each_other_are_refused_with_the_reason(
    filters: list[Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)) as caught:
        _selection(filters)
    assert caught.value.field.startswith(f"filters{field}")


@pytest.mark.parametrize(
    ("fields", "one", "problem"),
    [
        ({"events": ("FINISHED",)}, {"exact": {"event": "FAILED"}}, "events of the subscription allows"),
        ({"events": ("@terminal",)}, {"exact": {"event": "RUNNING"}}, "events of the subscription allows"),
        ({"events": ("ARCHIVING*",)}, {"exact": {"event": "FAILED"}}, "events of the subscription allows"),
        ({"events": ("FINISHED", "ARCHIVING*")}, {"prefix": {"event": "FAIL"}}, "none of its filters"),
        (
            {"events": ("FINISHED",)},
            {"sql": "event IN ('FAILED', 'KILLED')"},
            "events of the subscription allows",
        ),
        ({"job_id": "job-1"}, {"exact": {"job_id": "job-2"}}, "job_id of the subscription allows"),
        ({"owner": "alice"}, {"exact": {"owner": "bob"}}, "owner of the subscription allows"),
        ({}, {"exact": {"tenant": "other"}}, "tenant of the subscription allows"),
    ],
)
def test_a_filter_that_contradicts_its_subscription_is_refused(
    fields: dict[str, Any], one: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        _selection([one], **fields)


@pytest.mark.parametrize(
    ("fields", "one"),
    [
        ({"events": ("FINISHED", "FAILED")}, {"exact": {"event": "FAILED"}}),
        ({"events": ("ARCHIVING*",)}, {"suffix": {"event": "_FAILED"}}),
        ({"events": ("*",)}, {"exact": {"event": "SITE_EVENT"}}),
        ({"job_id": "job-1", "owner": "alice"}, {"exact": {"owner": "bob"}}),
        ({}, {"any": [{"exact": {"tenant": "other"}}, {"exact": {"lab": "a"}}]}),
        ({}, {"not": {"all": [{"exact": {"lab": "a"}}, {"exact": {"lab": "b"}}]}}),
        ({}, {"data": {"x": {"ge": 5, "le": 5}}}),
        ({}, {"data": {"x": {"gt": 5}, "y": {"lt": 3}}}),
        ({}, {"not": {"data": {"x": {"gt": 5, "lt": 3}}}}),
        ({}, {"sql": "lab = 'a' OR lab = 'b'"}),
        ({}, {"all": [{"not": {"data": {"x": {"gt": 5}}}}, {"data": {"x": {"prefix": "a"}}}]}),
    ],
)
def test_a_filter_that_some_event_passes_is_not_refused(fields: dict[str, Any], one: dict[str, Any]) -> None:
    _selection([one], **fields)


VALUE = st.sampled_from([0, 1, 2.5, "a", "ab", "b", True])
NUMBER = st.sampled_from([0, 1, 2.5])
TEXT = st.sampled_from(["a", "ab", "b", "ba"])
COMPARISON = st.one_of(
    st.fixed_dictionaries({}, optional={"eq": VALUE, "ne": VALUE}),
    st.dictionaries(st.sampled_from(["lt", "le", "gt", "ge"]), NUMBER, min_size=1),
    st.dictionaries(st.sampled_from(["prefix", "suffix"]), TEXT, min_size=1),
    st.fixed_dictionaries({"in": st.lists(VALUE, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"exists": st.booleans()}),
).filter(bool)
SQL = st.sampled_from(
    [
        "lab = 'a'",
        "lab LIKE 'a%'",
        "lab NOT IN ('a', 'b')",
        "EXISTS lab",
        "NOT EXISTS lab AND true",
        "'b' = lab",
    ]
)
LEAF = st.one_of(
    st.builds(lambda path, comparison: {"data": {path: comparison}}, st.sampled_from("xy"), COMPARISON),
    st.builds(
        lambda dialect, text: {dialect: {"lab": text}}, st.sampled_from(["exact", "prefix", "suffix"]), TEXT
    ),
    st.builds(lambda text: {"sql": text}, SQL),
)
FILTER = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(
            lambda which, some: {which: some},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)
DOCUMENTS = [
    {"data": {"x": x, "y": y}} | ({} if lab is None else {"lab": lab})
    for x in (None, 0, 1, 2.5, "a", "ab", "ba", True)
    for y in (None, 0, 2, "b")
    for lab in (None, "a", "ab", "b", "ba")
]
EVENTS = [
    make_event(
        document=msgspec.json.encode({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **one})
    )
    for one in DOCUMENTS
]


@given(st.lists(FILTER, min_size=1, max_size=3))
def test_whatever_some_event_passes_is_possible(filters: list[Any]) -> None:
    test = compile_filters(filters)
    assert test is not None
    if any(test(event) for event in EVENTS):
        _selection(filters)


@given(st.lists(FILTER, min_size=1, max_size=3), st.sampled_from(EVENTS))
def test_an_event_passes_exactly_when_no_condition_is_said_to_fail(filters: list[Any], event: Event) -> None:
    test, condition = compile_filters(filters), parse_filters(filters)
    assert test is not None
    assert condition is not None
    assert test(event) is (condition.failures(event) == [])


def test_the_check_of_the_longest_filters_takes_milliseconds() -> None:
    choice = {"any": [{"data": {"x": {"gt": 1, "in": [1, 2, 3]}}}, {"data": {"x": {"lt": 9}}}]}
    filters: list[Any] = [{"all": [choice] * 5}] * 60
    assert len(msgspec.json.encode(filters)) > 16 * 1024
    began = time.process_time()
    _selection(filters)
    assert time.process_time() - began < 0.5
