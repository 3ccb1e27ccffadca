"""Text bodies: a parser of the body's type reads back the template's keys and the very values, whatever they are."""

from __future__ import annotations

from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.text_bodies import TextBodyTemplate
from dispatcher.domain.variables import TemplateError

FORM = "application/x-www-form-urlencoded"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = [
    "a&admin=1",
    'x","admin":true,"y":"',
    "</name><admin/>",
    "a=b;c=d",
    "'\"><!--",
    "\\",
    "%26",
    "+",
    "\r\n",
    "]]>",
    "",
]


class Values:
    """The same value for every variable."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get(self, name: str, /) -> str:
        return self._value


def rendered(text: str, content_type: str, value: str) -> str:
    return TextBodyTemplate.compile(text, content_type).render(Values(value))


@given(TEXT | st.sampled_from(HOSTILE))
def test_a_form_has_the_fields_of_its_template(value: str) -> None:
    body = rendered("job=${JOB_NAME}&s=$<EVENT>-x", f"{FORM}; charset=utf-8", value)
    assert parse_qsl(body, keep_blank_values=True, separator="&") == [("job", value), ("s", f"{value}-x")]
    assert ";" not in body


@given(TEXT | st.sampled_from(HOSTILE))
@pytest.mark.parametrize("content_type", ["application/json", "application/vnd.x+json; charset=UTF-8"])
def test_a_json_text_has_the_keys_of_its_template(content_type: str, value: str) -> None:
    body = rendered('{"job": "${JOB_NAME}", "n": [1, "a ${EVENT} \\" b"]}', content_type, value)
    assert msgspec.json.decode(body) == {"job": value, "n": [1, f'a {value} " b']}


@given(TEXT | st.sampled_from([*HOSTILE, '1,"admin":2', "[1]", "nan"]))
def test_a_variable_outside_a_json_string_becomes_one_value(value: str) -> None:
    decoded = msgspec.json.decode(rendered('{"n": ${data.n}, "m": 1}', "application/json", value))
    assert list(decoded) == ["n", "m"]
    assert not isinstance(decoded["n"], dict | list)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("null", None),
        ("", None),
        ("03", "03"),
        ("a", "a"),
        ("NaN", "NaN"),
    ],
)
def test_a_number_outside_a_json_string_stays_a_number(value: str, expected: object) -> None:
    assert msgspec.json.decode(rendered('{"n": ${data.n}}', "application/json", value)) == {"n": expected}


@given(TEXT | st.sampled_from(HOSTILE))
def test_json_lines_stay_one_line_each(value: str) -> None:
    body = rendered('{"a": "${JOB_NAME}"}\n{"b": ${data.b}}\n', "application/x-ndjson", value)
    first, second, rest = body.split("\n")
    assert [list(msgspec.json.decode(line)) for line in (first, second)] == [["a"], ["b"]]
    assert rest == ""


XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r")
)


@given(XML_TEXT | st.sampled_from(HOSTILE))
@pytest.mark.parametrize(
    "content_type", ["application/xml", "text/xml; charset=utf-8", "application/soap+xml"]
)
def test_xml_has_the_elements_of_its_template(content_type: str, value: str) -> None:
    body = rendered('<job name="${JOB_NAME}"><e>${EVENT}</e></job>', content_type, value)
    root = ET.fromstring(body)  # noqa: S314 - it is our own
    assert (root.attrib, root[0].text or "", len(root)) == ({"name": value}, value, 1)


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert rendered("<a>${JOB_NAME}</a>", "text/xml", "a\0\x1b\uffff") == "<a>a\ufffd\ufffd\ufffd</a>"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain; charset=utf-8", "Text/Markdown", "text/plain; version=0.0.4"]
)
def test_plain_text_takes_values_as_they_are(content_type: str) -> None:
    assert rendered("job=${JOB_NAME}", content_type, 'a&b="c"') == 'job=a&b="c"'


@pytest.mark.parametrize(
    ("text", "content_type", "problem"),
    [
        ("${JOB_NAME}=1", FORM, "JOB_NAME stands in the name of a form's field"),
        ("a=1&${EVENT}", FORM, "EVENT stands in the name"),
        ('{"${JOB_NAME}": 1}', "application/json", "JOB_NAME stands in a key"),
        ("{${JOB_NAME}: 1}", "application/json", "JOB_NAME stands in a key"),
        ('{"a": 1${data.n}}', "application/json", "not JSON"),
        ('{"a": "\\${JOB_NAME}"}', "application/json", "not JSON"),
        ('{"a": ${data.a}${data.b}}', "application/json", "not JSON"),
        ("${RAW_JSON} ${RAW_JSON}", "application/json", "not JSON"),
        ('{"a":\n${data.a}}', "application/x-ndjson", "not JSON"),
        ("<${EVENT}/>", "application/xml", "EVENT stands in no text"),
        ("<a><!-- ${EVENT} --></a>", "application/xml", "EVENT stands in no text"),
        ("<a><![CDATA[${EVENT}]]></a>", "application/xml", "EVENT stands in no text"),
        ("<a><?php ${EVENT}?></a>", "application/xml", "EVENT stands in no text"),
        ("<a ${EVENT}='1'/>", "application/xml", "EVENT stands in no text"),
        ("<a b=${EVENT}/>", "application/xml", "not XML"),
        ("<a>&${EVENT};</a>", "application/xml", "not XML"),
        ('<!DOCTYPE a [<!ENTITY b "${EVENT}">]><a/>', "application/xml", "no document type"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a>${EVENT}</a>', "text/xml", "UTF-8"),
        ("a=${EVENT}", f"{FORM}; charset=utf-16", "UTF-8"),
        ("<b>${EVENT}</b>", "text/html", "cannot be encoded"),
        ("a,${EVENT}", "text/csv", "cannot be encoded"),
        ("a: ${EVENT}", "application/yaml", "cannot be encoded"),
        ("${EVENT}", "multipart/form-data; boundary=x", "cannot be encoded"),
        ("${EVENT}", "text/${EVENT}", "cannot be encoded"),
        ("${EVENT}", "", "cannot be encoded"),
    ],
)
def test_a_variable_where_no_encoding_is_right_is_refused(text: str, content_type: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        TextBodyTemplate.compile(text, content_type)


def test_a_text_without_variables_goes_out_as_it_is_in_any_type() -> None:
    assert TextBodyTemplate.compile("<b", "text/html").render(Values("x")) == "<b"
