"""Variables in texts, headers and JSON bodies: how they are written, what is refused, what they cannot do."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.templates import (
    MAX_JSON_DEPTH,
    HeaderTemplate,
    JsonTemplate,
    RenderError,
    TextTemplate,
)
from dispatcher.domain.variables import VARIABLES, TemplateError, lookup

DATA = {"job": {"name": "demo", "nodes": [{"id": 7}, {"id": 8}], "archive": True, "cost": 1.5, "error": None}}


class GivenValues:
    """Variables from keyword arguments, data paths from `data`."""

    def __init__(self, data: object = None, **variables: str) -> None:
        self.data = data
        self.variables = variables

    def get(self, name: str) -> str:
        if name.startswith("data."):
            return lookup(self.data, name.split(".")[1:])
        return self.variables.get(name, "")


def text(template: str, **variables: str) -> str:
    return TextTemplate.compile(template).render(GivenValues(**variables))


# Names and how they are written


def test_every_variable_of_the_guide_is_known() -> None:
    guide = (
        "UUID EVENT JOB_STATUS JOB_URL JOB_ID JOB_SYSTEM JOB_NAME JOB_START_TIME JOB_END_TIME "
        "JOB_SUBMIT_TIME JOB_ARCHIVE_PATH JOB_ARCHIVE_URL JOB_ERROR"
    )
    ours = "JOB_OWNER JOB_APP_ID JOB_MESSAGE TENANT"
    tapis = (
        "OWNER RAW_JSON APP_ID JOB_BATCH_QUEUE JOB_CREATED JOB_EXECUTION_SYSTEM JOB_INPUTS JOB_LOCAL_ID "
        "JOB_MAX_RUNTIME JOB_MEMORY_PER_NODE JOB_NODE_COUNT JOB_OUTPUT_PATH JOB_PARAMETERS "
        "JOB_PROCESSORS_PER_NODE JOB_TENANT JOB_ARCHIVE JOB_ARCHIVE_SYSTEM JOB_JSON "
        "PERMISSION_ID PERMISSION_PERMISSION PERMISSION_USERNAME"
    )
    assert {*guide.split(), *ours.split(), *tapis.split()} == set(VARIABLES)
    assert all(VARIABLES.values())


@pytest.mark.parametrize("name", [*VARIABLES, "data.job.name", "data.nodes.0", "data._links.self-1"])
def test_both_spellings_are_the_same_thing(name: str) -> None:
    angled, braced = TextTemplate.compile(f"a $<{name}> b"), TextTemplate.compile(f"a ${{{name}}} b")
    assert angled == braced
    assert angled.names == {name}


def test_values_stand_where_their_names_stood() -> None:
    sentence = 'The status of job ${JOB_ID}, "$<JOB_NAME>," has changed to ${EVENT}.'
    assert text(sentence, JOB_ID="0001-007", JOB_NAME="demo <b>", EVENT="FINISHED") == (
        'The status of job 0001-007, "demo <b>," has changed to FINISHED.'
    )


def test_a_missing_value_is_empty() -> None:
    template = TextTemplate.compile("[${JOB_ERROR}][${data.job.error}][${data.nothing.here}]")
    assert template.render(GivenValues(DATA)) == "[][][]"


def test_a_variable_in_a_value_is_not_resolved_again() -> None:
    assert text("${JOB_NAME} ${EVENT}", JOB_NAME="${EVENT}", EVENT="FAILED") == "${EVENT} FAILED"


@pytest.mark.parametrize(
    "plain", ["", "$", "$$", "5 $", "$JOB_ID", "$(JOB_ID)", "{JOB_ID}", "$ {JOB_ID}", "a\n$\t>}"]
)
def test_a_dollar_sign_without_a_bracket_is_plain_text(plain: str) -> None:
    template = TextTemplate.compile(plain)
    assert template.names == frozenset()
    assert template.render(GivenValues()) is plain


def test_a_dollar_sign_before_a_variable_stays() -> None:
    assert text("$${JOB_ID}$", JOB_ID="1") == "$1$"


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda plain: not re.search(r"\$[{<]", plain))
)
def test_text_without_variables_comes_out_as_it_went_in(plain: str) -> None:
    assert text(plain) == plain


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_value_can_stand_in_a_text(first: str, second: str) -> None:
    rendered = text("${JOB_NAME}|$<JOB_MESSAGE>", JOB_NAME=first, JOB_MESSAGE=second)
    assert rendered == utf8(f"{first}|{second}")


def test_a_lone_surrogate_in_a_value_becomes_a_question_mark() -> None:
    assert text("é ${JOB_NAME}", JOB_NAME="\ud800é") == "é ?é"


# What is refused

KNOWN = f"{', '.join(VARIABLES)} and data.path.to.field"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("job is ${JOB_STATE}", "unknown variable JOB_STATE at character 8; did you mean JOB_STATUS?"),
        ("$<STATUS>", "unknown variable STATUS at character 1; did you mean JOB_STATUS?"),
        ("${ JOB_IDS }", "unknown variable ' JOB_IDS ' at character 1; did you mean JOB_ID?"),
        (
            "${job_id}",
            "unknown variable job_id at character 1; did you mean JOB_ID? Names are case-sensitive",
        ),
        (
            "${Data.x}",
            "unknown variable Data.x at character 1; did you mean data.x? Names are case-sensitive",
        ),
        ("${zzz}", f"unknown variable zzz at character 1; known are {KNOWN}"),
        ("${}", f"unknown variable '' at character 1; known are {KNOWN}"),
        ("${JOB_ID\n}", "unknown variable 'JOB_ID\\n' at character 1; did you mean JOB_ID?"),
        ("a ${JOB_ID", 'the variable ${JOB_ID at character 3 is not closed: expected "}" after its name'),
        (
            "$<JOB_ID $<",
            "the variable '$<JOB_ID ' at character 1 is not closed: expected \">\" after its name",
        ),
        ("${JOB_ID>", 'the variable ${JOB_ID at character 1 is not closed: expected "}" after its name'),
        ("${", 'the variable ${ at character 1 is not closed: expected "}" after its name'),
        ("$<", 'the variable $< at character 1 is not closed: expected ">" after its name'),
        ("\ud800", "lone surrogate '\\ud800' at character 1: expected Unicode text"),
    ],
)
def test_a_wrong_variable_is_refused_with_its_place_and_the_right_one(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        TextTemplate.compile(template)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["data", "data.", "data..x", "data.a b", "data.x.", "data.é", "data.a/b"])
def test_a_data_path_needs_plain_keys(name: str) -> None:
    with pytest.raises(
        TemplateError, match="is no path into the event's data: expected keys of letters"
    ) as refused:
        TextTemplate.compile(f"x ${{{name}}}")
    assert "at character 3" in str(refused.value)


def test_a_long_wrong_name_is_shortened_in_the_error() -> None:
    with pytest.raises(TemplateError) as refused:
        TextTemplate.compile("${" + "X" * 10_000 + "}")
    assert len(str(refused.value)) < 1000
    assert "X" * 40 + "…" in str(refused.value)


# Looking into the event's data


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("job.name", "demo"),
        ("job.nodes.0.id", "7"),
        ("job.nodes.1.id", "8"),
        ("job.archive", "true"),
        ("job.cost", "1.5"),
        ("job.error", ""),
        ("job.nodes", '[{"id":7},{"id":8}]'),
        ("job.nodes.0", '{"id":7}'),
        ("job.missing", ""),
        ("job.name.deeper", ""),
        ("job.nodes.2", ""),
        ("job.nodes.-1", ""),
        ("job.nodes.id", ""),
        ("job.nodes.²", ""),
        ("job.nodes." + "9" * 5000, ""),
    ],
)
def test_a_path_leads_through_objects_and_lists_to_text(path: str, found: str) -> None:
    assert lookup(DATA, path.split(".")) == found


def test_an_object_with_digits_as_keys_is_no_list() -> None:
    assert lookup({"0": "zero"}, ["0"]) == "zero"


def test_an_object_as_a_value_is_json_in_unicode() -> None:
    assert lookup({"x": {"name": "Zürich", "big": 2**70, "none": None}}, ["x"]) == (
        '{"name":"Zürich","big":1180591620717411303424,"none":null}'
    )


def test_a_lone_surrogate_inside_an_object_does_not_crash_a_template() -> None:
    template = TextTemplate.compile("${data.x}")
    assert template.render(GivenValues({"x": ["\ud800"]})) == '["?"]'


# Headers


def header(template: str, **variables: str) -> str:
    return HeaderTemplate.compile(template).render(GivenValues(**variables))


def test_a_header_holds_tabs_and_unicode() -> None:
    assert header("Job\t$<JOB_NAME>", JOB_NAME="Zürich\t→ \ud800") == "Job\tZürich\t→ ?"
    assert HeaderTemplate.compile("Job\t$<JOB_NAME>").names == {"JOB_NAME"}


@pytest.mark.parametrize("control", ["\r", "\n", "\0", "\r\nX-Admin: 1", "\x1b", "\x7f", "\x85"])
def test_a_value_with_a_control_character_is_refused_in_a_header(control: str) -> None:
    with pytest.raises(RenderError) as refused:
        header("${JOB_ID} ${JOB_NAME}", JOB_ID="1", JOB_NAME=f"ab{control}")
    assert str(refused.value) == (
        f"the value of JOB_NAME holds {control[0]!a} at character 3: "
        "a header's value may hold no line break and no control character but tab"
    )


def test_a_control_character_in_a_header_template_is_refused() -> None:
    with pytest.raises(TemplateError) as refused:
        HeaderTemplate.compile("${JOB_ID}\r\n")
    assert str(refused.value) == (
        "'\\r' at character 10: a header's value may hold no line break and no control character but tab"
    )


def test_a_wrong_variable_in_a_header_is_refused() -> None:
    with pytest.raises(
        TemplateError, match="unknown variable JOB_STATE at character 3; did you mean JOB_STATUS"
    ):
        HeaderTemplate.compile("a ${JOB_STATE}")


@given(st.text(st.characters()), st.text(st.sampled_from("a\t\n\r\0é ")))
def test_a_rendered_header_never_holds_a_control_character(first: str, second: str) -> None:
    expected = utf8(f"x {first}{second}")
    if any(unicodedata.category(char) == "Cc" and char != "\t" for char in first + second):
        with pytest.raises(RenderError, match=r"the value of JOB_(NAME|ERROR) holds"):
            header("x ${JOB_NAME}$<JOB_ERROR>", JOB_NAME=first, JOB_ERROR=second)
    else:
        assert header("x ${JOB_NAME}$<JOB_ERROR>", JOB_NAME=first, JOB_ERROR=second) == expected


# JSON bodies


def body(document: object, values: GivenValues) -> bytes:
    return JsonTemplate.compile(document).render(values)


def test_variables_stand_in_the_strings_of_a_json_document() -> None:
    document = {
        "text": "Job ${JOB_ID}: $<EVENT>",
        "tags": ["${data.job.name}", 1, None, True],
        "a": {"b": 0.5},
    }
    rendered = body(document, GivenValues(DATA, JOB_ID="1", EVENT="FAILED"))
    assert rendered == b'{"text":"Job 1: FAILED","tags":["demo",1,null,true],"a":{"b":0.5}}'
    assert JsonTemplate.compile(document).names == {"JOB_ID", "EVENT", "data.job.name"}


def test_a_value_cannot_leave_its_json_string() -> None:
    rendered = body({"name": "${JOB_NAME}", "admin": False}, GivenValues(JOB_NAME='x","admin":true,"y":"\\'))
    assert json.loads(rendered) == {"name": 'x","admin":true,"y":"\\', "admin": False}


def test_a_string_stays_a_string() -> None:
    assert body(["${data.job.cost}", "${data.job.archive}"], GivenValues(DATA)) == b'["1.5","true"]'


@pytest.mark.parametrize("document", [{"a": [1, {"b": "$"}], "c": None}, [], {}, "text", 7, None])
def test_a_json_document_without_variables_is_kept(document: object) -> None:
    template = JsonTemplate.compile(document)
    assert template.names == frozenset()
    assert json.loads(template.render(GivenValues())) == document


def nested(levels: int) -> object:
    document: object = "${JOB_ID}"
    for _ in range(levels - 1):
        document = [document]
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"a": [0, "${JOB_STATE}"]},
            "/a/1: unknown variable JOB_STATE at character 1; did you mean JOB_STATUS?",
        ),
        ("x ${JOB_ID", 'the variable ${JOB_ID at character 3 is not closed: expected "}" after its name'),
        (
            {"a/b": {"~": "$<"}},
            '/a~1b/~0: the variable $< at character 1 is not closed: expected ">" after its name',
        ),
        ({"a": {"${JOB_ID}": 1}}, "/a/${JOB_ID}: a key may not hold a variable, only a value may"),
        ([{1: 2}], "/0: the key 1 is not a string"),
        ({1: 2}, "the document: the key 1 is not a string"),
        ({"a": {1, 2}}, "/a: set is not a JSON type"),
        (b"x", "the document: bytes is not a JSON type"),
        (
            nested(MAX_JSON_DEPTH + 1),
            f"{'/0' * MAX_JSON_DEPTH}: the document is nested deeper than {MAX_JSON_DEPTH}",
        ),
    ],
)
def test_a_wrong_json_template_is_refused_with_a_pointer_to_the_place(document: object, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        JsonTemplate.compile(document)
    assert str(refused.value) == message


def test_the_deepest_allowed_document_is_rendered() -> None:
    rendered = body(nested(MAX_JSON_DEPTH), GivenValues(JOB_ID="1"))
    assert rendered == b"[" * (MAX_JSON_DEPTH - 1) + b'"1"' + b"]" * (MAX_JSON_DEPTH - 1)


STRINGS = st.lists(st.sampled_from(["$<JOB_NAME>", "${JOB_ERROR}", '"', "\\", "é", "a", "$", "\n"])).map(
    "".join
)
DOCUMENTS: st.SearchStrategy[object] = st.recursive(
    STRINGS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(["a", '"', "é/"]), children)
    ),
    max_leaves=12,
)


def substituted(node: object, name: str, error: str) -> object:
    if isinstance(node, str):
        return re.sub(
            r"\$<JOB_NAME>|\$\{JOB_ERROR\}", lambda m: utf8(name if "NAME" in m[0] else error), node
        )
    if isinstance(node, dict):
        return {key: substituted(child, name, error) for key, child in node.items()}
    return [substituted(child, name, error) for child in node] if isinstance(node, list) else node


@settings(deadline=None)
@given(DOCUMENTS, st.text(st.characters()), st.text(st.sampled_from('"\\,:{}[]a\n\0\u2028')))
def test_values_change_nothing_else_in_a_json_document(document: object, name: str, error: str) -> None:
    rendered = body(document, GivenValues(JOB_NAME=name, JOB_ERROR=error))
    assert json.loads(rendered) == substituted(document, name, error)


def utf8(value: str) -> str:
    """A value as it is after a trip through UTF-8, which has no lone surrogates."""
    return value.encode("utf-8", "replace").decode()
