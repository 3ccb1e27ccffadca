"""Variables in a webhook's URL: where they may stand, and that no value moves the request or adds to it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from dispatcher.domain.templates import RenderError
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import TemplateError


class GivenValues:
    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def get(self, name: str) -> str:
        return self.values.get(name, "")


def render(url: str, **values: str) -> str:
    return UrlTemplate.compile(url).render(GivenValues(values))


# What comes out


def test_the_guides_examples() -> None:
    job = {
        "JOB_ID": "0001414144065563-5056a550b8-0001-007",
        "JOB_NAME": "demo-pyplot-demo-advanced test-1414139896",
        "EVENT": "FINISHED",
        "JOB_START_TIME": "2014-10-24T04:48:08.000-05:00",
        "JOB_ARCHIVE_URL": "https://api.tacc.utexas.edu/jobs/v2/1/outputs",
    }
    assert render("http://example.com/?job_id=${JOB_ID}&amp;job_status=${EVENT}", **job) == (
        "http://example.com/?job_id=0001414144065563-5056a550b8-0001-007&amp;job_status=FINISHED"
    )
    assert render("http://example.com/trigger/job/${JOB_NAME}/${EVENT}", **job) == (
        "http://example.com/trigger/job/demo-pyplot-demo-advanced%20test-1414139896/FINISHED"
    )
    assert render(
        "http://example.com/webhooks/?nonce=sdfkajerouiwe234289fahlkqr&amp;id=${JOB_ID}&amp;status=${EVENT}"
        "&amp;start=${JOB_START_TIME}&amp;end=${JOB_END_TIME}&amp;url=${JOB_ARCHIVE_URL}",
        **job,
    ) == (
        "http://example.com/webhooks/?nonce=sdfkajerouiwe234289fahlkqr"
        "&amp;id=0001414144065563-5056a550b8-0001-007&amp;status=FINISHED&amp;start=2014-10-24T04%3A48%3A08.000-05%3A00&amp;end="
        "&amp;url=https%3A%2F%2Fapi.tacc.utexas.edu%2Fjobs%2Fv2%2F1%2Foutputs"
    )


def test_both_spellings_give_the_same_template() -> None:
    angled = UrlTemplate.compile("https://example.org/$<JOB_ID>?s=$<data.job.status>")
    assert angled.pattern == UrlTemplate.compile("https://example.org/${JOB_ID}?s=${data.job.status}").pattern
    assert angled.names == {"JOB_ID", "data.job.status"}
    assert not angled.is_static


def test_a_url_without_variables_is_rendered_as_the_same_object() -> None:
    url = "https://example.org/a%2Fb//c?x=%41&y[]=1|2#top"
    template = UrlTemplate.compile(url)
    assert template.is_static
    assert template.render(GivenValues({})) is url


def test_a_value_with_every_reserved_character_stays_one_segment_and_one_parameter() -> None:
    value = "a/b?c#d%2F\\e&f=g+h;i@j:k l"
    encoded = "a%2Fb%3Fc%23d%252F%5Ce%26f%3Dg%2Bh%3Bi%40j%3Ak%20l"
    assert render("https://example.org/x/${JOB_NAME}/y?n=${JOB_NAME}&m=1", JOB_NAME=value) == (
        f"https://example.org/x/{encoded}/y?n={encoded}&m=1"
    )


def test_an_empty_value_leaves_an_empty_segment() -> None:
    assert (
        render("https://example.org/jobs/${JOB_ID}/done?id=${JOB_ID}") == "https://example.org/jobs//done?id="
    )


def test_a_variable_may_follow_the_host_in_a_query() -> None:
    assert render("https://example.org?${EVENT}", EVENT="a&b=c") == "https://example.org?a%26b%3Dc"


def test_literal_text_outside_ascii_is_percent_encoded() -> None:
    assert render("https://example.org/Zürich/${JOB_ID}/é?stadt=Zürich", JOB_ID="ü") == (
        "https://example.org/Z%C3%BCrich/%C3%BC/%C3%A9?stadt=Z%C3%BCrich"
    )


def test_a_lone_surrogate_in_a_value_becomes_an_encoded_question_mark() -> None:
    assert (
        render("https://example.org/${JOB_NAME}/x?q=1", JOB_NAME="\ud800") == "https://example.org/%3F/x?q=1"
    )


@given(st.text(st.characters()))
def test_values_are_encoded_like_the_standard_library_does(value: str) -> None:
    assert render("https://example.org/?q=${JOB_NAME}", JOB_NAME=value) == (
        f"https://example.org/?q={quote(value, safe='', errors='replace')}"
    )


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://example.org", "http://example.org:80"),
        ("HTTPS://Example.ORG./x?y#z", "https://example.org:443"),
        ("http://example.org:/", "http://example.org:80"),
        ("http://example.org:08080/", "http://example.org:8080"),
        ("http://my_service:65535?x", "http://my_service:65535"),
        ("http://127.0.0.1:1#x", "http://127.0.0.1:1"),
        ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]:80"),
        ("https://xn--bcher-kva.example/${JOB_ID}", "https://xn--bcher-kva.example:443"),
    ],
)
def test_the_origin_is_normalised(url: str, origin: str) -> None:
    assert UrlTemplate.compile(url).origin == origin


# What is refused when it is compiled

EXPECTED = (
    "expected an http or https URL with scheme and host written out, as in https://example.org/${JOB_ID}"
)
ONLY = "variables may stand in path and query only"
UNSENT = "fragment, which is never sent"
FORBIDDEN = "a URL holds no whitespace, control character or backslash; percent-encode it"
DIGITS = 'is not followed by two hexadecimal digits: write "%25" for the sign itself'
AUTH = 'the URL holds a user or password: put them into the target\'s "auth" instead'
LABELS = "is no host name: expected letters, digits, - and _ with dots between"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", EXPECTED),
        ("${JOB_URL}", EXPECTED),
        ("example.org/x", EXPECTED),
        ("/jobs", EXPECTED),
        ("mailto:me@example.org", EXPECTED),
        ("ftp://example.org/", EXPECTED),
        ("://example.org/", EXPECTED),
        ("javascript://example.org/", EXPECTED),
        ("http${EVENT}://example.org/", f"the variable EVENT at character 5 stands in the scheme: {ONLY}"),
        ("http://${EVENT}@h/", f"the variable EVENT at character 8 stands in the user or password: {ONLY}"),
        (
            "http://u:${EVENT}@h/",
            f"the variable EVENT at character 10 stands in the user or password: {ONLY}",
        ),
        ("http://${JOB_SYSTEM}/", f"the variable JOB_SYSTEM at character 8 stands in the host: {ONLY}"),
        ("http://example.org${EVENT}", f"the variable EVENT at character 19 stands in the host: {ONLY}"),
        ("http://h:80${EVENT}?", f"the variable EVENT at character 12 stands in the port: {ONLY}"),
        ("http://h/#$<EVENT>", f"the variable EVENT at character 11 stands in the {UNSENT}: {ONLY}"),
        ("http://h/${JOB_STATE}", "unknown variable JOB_STATE at character 10; did you mean JOB_STATUS?"),
        (
            "http://h/${JOB_ID",
            'the variable ${JOB_ID at character 10 is not closed: expected "}" after its name',
        ),
        ("http://u:secret@h/", AUTH),
        ("http://u@h/", AUTH),
        ("http://h@/", AUTH),
        ("http:///x", "the URL has no host: expected one after ://"),
        ("http://:80/x", "the URL has no host: expected one after ://"),
        ("http://h/a b", f"' ' at character 11: {FORBIDDEN}"),
        ("http://h/\n", f"'\\n' at character 10: {FORBIDDEN}"),
        ("http://h/?\x00", f"'\\x00' at character 11: {FORBIDDEN}"),
        ("http://h/\u3000", f"'\\u3000' at character 10: {FORBIDDEN}"),
        ("http://h\\@evil/", f"'\\\\' at character 9: {FORBIDDEN}"),
        ("http://h/%zz", f'"%" at character 10 {DIGITS}'),
        ("http://h/%4", f'"%" at character 10 {DIGITS}'),
        ("http://h/%${EVENT}", f'"%" at character 10 {DIGITS}'),
        ("http://h/x?y=%2${EVENT}", f'"%" at character 14 {DIGITS}'),
        ("http://h/a/../b", 'the path holds the segment "..": expected one without "." and ".."'),
        ("http://h/.", 'the path holds the segment ".": expected one without "." and ".."'),
        ("http://h/%2E.;x/${EVENT}", 'the path holds the segment "%2E.": expected one without "." and ".."'),
        ("http://h:x/", "'h:x' is no host and port: expected host:port or [IPv6 address]:port"),
        ("http://::1/", "'::1' is no host and port: expected host:port or [IPv6 address]:port"),
        ("http://[::1/", "'[::1' is no host and port: expected host:port or [IPv6 address]:port"),
        ("http://h:\u0661/", "'h:\\u0661' is no host and port: expected host:port or [IPv6 address]:port"),
        ("http://h:0/", "the port is 0: expected 1 to 65535"),
        ("http://h:65536/", "the port is 65536: expected 1 to 65535"),
        (
            "http://bücher.example/",
            "the host 'bücher.example' is not ASCII: expected its IDNA form, with \"xn--\"",
        ),
        ("http://a..b/", f"'a..b' {LABELS}"),
        ("http://%68/", f"'%68' {LABELS}"),
        (f"http://{'a.' * 127}b/", f"'{'a.' * 127}b' {LABELS}"),
        ("http://[::g]/", "'::g' is no IP address: Only hex digits permitted in 'g' in '::g'"),
        ("http://[fe80::1%25eth0]/", "'fe80::1%25eth0' names a zone: expected an address without one"),
        ("http://127.1/", "'127.1' is no IP address: Expected 4 octets in '127.1'"),
        ("http://0x7f000001./", "'0x7f000001' is no IP address: Expected 4 octets in '0x7f000001'"),
        ("http://256.0.0.1/", "'256.0.0.1' is no IP address: Octet 256 (> 255) not permitted in '256.0.0.1'"),
    ],
)
def test_a_wrong_url_is_refused_with_the_reason(url: str, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        UrlTemplate.compile(url)
    assert str(refused.value) == message


# Segments of dots


@pytest.mark.parametrize(
    ("path", "values", "segment", "shown"),
    [
        ("/a/${JOB_NAME}/b", {"JOB_NAME": ".."}, "${JOB_NAME}", ".."),
        ("/a/$<JOB_NAME>", {"JOB_NAME": "."}, "$<JOB_NAME>", "."),
        ("/a/${JOB_NAME}?x", {"JOB_NAME": ".."}, "${JOB_NAME}", ".."),
        ("/a/${JOB_NAME}#x", {"JOB_NAME": ".."}, "${JOB_NAME}", ".."),
        ("/${JOB_ID}/${JOB_NAME}${EVENT}/b", {"JOB_NAME": ".", "EVENT": "."}, "${JOB_NAME}${EVENT}", ".."),
        ("/a/.${JOB_NAME}/b", {"JOB_NAME": "."}, ".${JOB_NAME}", ".."),
        ("/a/.${JOB_NAME}/b", {"JOB_NAME": ""}, ".${JOB_NAME}", "."),
        ("/a/%2e${JOB_NAME}/b", {"JOB_NAME": "."}, "%2e${JOB_NAME}", "%2e."),
        ("/é/${JOB_NAME}%2E/b", {"JOB_NAME": "."}, "${JOB_NAME}%2E", ".%2E"),
        ("/a/${JOB_NAME};v=1/b", {"JOB_NAME": ".."}, "${JOB_NAME};v=1", ".."),
        ("/a/${JOB_NAME}/b", {"JOB_NAME": "..;x"}, "${JOB_NAME}", ".."),
    ],
)
def test_a_value_may_not_make_a_segment_of_dots(
    path: str, values: dict[str, str], segment: str, shown: str
) -> None:
    with pytest.raises(RenderError) as refused:
        render(f"https://example.org{path}", **values)
    assert str(refused.value) == (
        f'the path segment {segment} becomes "{shown}", which would point to another path: '
        "a value may not make a whole segment of dots"
    )


@pytest.mark.parametrize(
    ("url", "value", "rendered"),
    [
        ("https://example.org/${JOB_NAME}/b", "...", "https://example.org/.../b"),
        ("https://example.org/${JOB_NAME}/b", "..a", "https://example.org/..a/b"),
        ("https://example.org/v1.${JOB_NAME}/b", ".", "https://example.org/v1../b"),
        ("https://example.org/${JOB_NAME}/b", "%2e%2e", "https://example.org/%252e%252e/b"),
        ("https://example.org/${JOB_NAME}/b", "../../etc", "https://example.org/..%2F..%2Fetc/b"),
        ("https://example.org/a?p=/../${JOB_NAME}", "..", "https://example.org/a?p=/../.."),
    ],
)
def test_dots_that_are_no_segment_may_pass(url: str, value: str, rendered: str) -> None:
    assert render(url, JOB_NAME=value) == rendered


# No value, whatever it is, moves the request or adds to it


class Part(NamedTuple):
    """A piece of a template, and the text that it stands for when it is decoded, or the variable's name."""

    template: str
    decoded: str


class Case(NamedTuple):
    base: str
    segments: list[list[Part]]
    query: list[tuple[str, list[Part]]]
    values: dict[str, str]

    def url(self) -> str:
        path = "".join("/" + template_of(parts) for parts in self.segments)
        query = "&".join(f"{key}={template_of(parts)}" for key, parts in self.query)
        return f"{self.base}{path}?{query}"

    def decoded(self, parts: list[Part]) -> str:
        return "".join(utf8(self.values.get(part.decoded, part.decoded)) for part in parts)


def template_of(parts: list[Part]) -> str:
    return "".join(part.template for part in parts)


def utf8(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


NAMES = ["JOB_NAME", "JOB_ERROR", "data.job.x-1"]
VARIABLE_PARTS = [Part(spelling % name, name) for name in NAMES for spelling in ("${%s}", "$<%s>")]
LITERAL_PARTS = [Part(text, unquote(text)) for text in ["a", "é", ".", "%2e", "%2F", "%20", "$", "~:@!,"]]
QUERY_PARTS = [*LITERAL_PARTS, Part("/", "/"), Part("..", ".."), Part("?", "?"), Part("=", "=")]
TRICKY = [
    *["", ".", "..", "..;", "/", "/..", "../x", "\\", "//evil.example", "@h"],
    *["?x=1", "#", "&admin=1", "%2e%2e", "%", "\r\n"],
]
VALUES = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.sampled_from("./\\%2eE;?#&=+@: \r\n\0"), max_size=6),
    st.text(st.characters(), max_size=6),
)
BASES = ["http://example.org", "https://Example.org:8443", "http://[::1]:80", "http://127.0.0.1"]
SEGMENTS = st.lists(st.sampled_from(VARIABLE_PARTS + LITERAL_PARTS), max_size=3)
PARAMETERS = st.tuples(
    st.sampled_from(["a", "b", "é[]"]), st.lists(st.sampled_from(VARIABLE_PARTS + QUERY_PARTS), max_size=3)
)
CASES = st.builds(
    Case,
    st.sampled_from(BASES),
    st.lists(SEGMENTS, min_size=1, max_size=4),
    st.lists(PARAMETERS, min_size=1, max_size=3),
    st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)),
)


def is_dots(segment: str) -> bool:
    return re.fullmatch(r"\.\.?(;.*)?", segment, re.DOTALL) is not None


def is_literal(parts: list[Part]) -> bool:
    return all(part in LITERAL_PARTS for part in parts)


@settings(deadline=None, max_examples=600)
@given(CASES)
def test_no_value_moves_a_request_or_adds_to_it(case: Case) -> None:
    segments = [case.decoded(parts) for parts in case.segments]
    if any(is_dots(text) and is_literal(parts) for text, parts in zip(segments, case.segments, strict=True)):
        with pytest.raises(TemplateError, match="the path holds the segment"):
            UrlTemplate.compile(case.url())
        return
    template = UrlTemplate.compile(case.url())
    assert template.origin == normal_origin(URL(case.base))
    if any(is_dots(text) for text in segments):
        with pytest.raises(RenderError, match="a value may not make a whole segment of dots"):
            template.render(GivenValues(case.values))
        return
    rendered = template.render(GivenValues(case.values))
    assert re.fullmatch(r"[!-~]+", rendered)
    check_with_the_standard_library(rendered, case, segments)
    check_with_yarl(URL(rendered), case, segments)
    check_with_yarl(URL(rendered, encoded=True), case, segments)


def check_with_the_standard_library(rendered: str, case: Case, segments: list[str]) -> None:
    url = urlsplit(rendered)
    assert f"{url.scheme}://{url.netloc}" == case.base
    assert [unquote(segment) for segment in url.path.split("/")] == ["", *segments]
    assert parse_qsl(url.query, keep_blank_values=True) == [
        (k, case.decoded(parts)) for k, parts in case.query
    ]
    assert not url.fragment


def check_with_yarl(url: URL, case: Case, segments: list[str]) -> None:
    assert normal_origin(url) == normal_origin(URL(case.base))
    assert url.user is None
    assert [unquote(segment) for segment in url.raw_path.split("/")] == ["", *segments]
    assert list(url.query.items()) == [(key, case.decoded(parts)) for key, parts in case.query]
    assert not url.fragment


def normal_origin(url: URL) -> str:
    host = f"[{url.host}]" if ":" in (url.host or "") else (url.host or "").lower()
    return f"{url.scheme}://{host}:{url.port}"
