"""What the HTTP client writes, and how it names what comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dispatcher.http import Headers, Origin, Request, TransportError
from dispatcher.http.messages import UnsendableHeader, common_fields, header_lines


@pytest.mark.parametrize(
    ("text", "origin", "place", "authority"),
    [
        ("https://example.org:443", Origin(True, "example.org", 443), "example.org:443", "example.org"),
        ("https://example.org:80", Origin(True, "example.org", 80), "example.org:80", "example.org:80"),
        ("http://example.org:80", Origin(False, "example.org", 80), "example.org:80", "example.org"),
        ("http://[::1]:8080", Origin(False, "::1", 8080), "[::1]:8080", "[::1]:8080"),
        ("https://[2001:db8::1]:443", Origin(True, "2001:db8::1", 443), "[2001:db8::1]:443", "[2001:db8::1]"),
    ],
)
def test_an_origin_is_shown_with_its_port_and_named_to_a_receiver_without_the_usual_one(
    text: str, origin: Origin, place: str, authority: str
) -> None:
    assert Origin.parse(text) == origin
    assert origin.place == place
    assert common_fields(origin, {}).startswith(f"Host: {authority}\r\n".encode())


@given(st.dictionaries(st.text(), st.text()))
def test_header_lines_hold_one_line_for_each_header_or_are_not_made(headers: dict[str, str]) -> None:
    try:
        lines = header_lines(headers)
    except UnsendableHeader:
        return
    assert lines.count(b"\n") == lines.count(b"\r") == lines.count(b"\r\n") == len(headers)
    assert b"\0" not in lines


def test_headers_are_found_in_any_case_and_the_first_one_counts() -> None:
    headers = Headers([(b"Retry-After", b"5"), (b"X", b"\xc3\xa9\xff"), (b"retry-after", b"7")])

    assert headers["RETRY-AFTER"] == "5"
    assert headers.get("x") == "é\ufffd"
    assert "y" not in headers
    assert list(headers) == ["retry-after", "x"]
    assert len(headers) == 2


@pytest.mark.parametrize(
    ("method", "body", "end"),
    [
        ("POST", b"", b"Content-Length: 0\r\n\r\n"),
        ("POST", b"{}", b"Content-Length: 2\r\n\r\n{}"),
        ("GET", b"", b"X-A: b\r\n\r\n"),
    ],
)
def test_a_request_is_serialized_with_the_length_of_its_body(method: str, body: bytes, end: bytes) -> None:
    sent = Request.build(method, URL("http://example.org/a?b=c"), {"X-A": "b"}, body).serialized()

    assert sent.startswith(method.encode() + b" /a?b=c HTTP/1.1\r\nHost: example.org\r\n")
    assert sent.endswith(end)


def test_the_parts_of_a_request_can_be_read_again() -> None:
    request = Request.build("PUT", URL("https://[::1]:8443/a%2Fb?c=%26"), {"X-A": "é: b"}, b"body")

    assert request.method == "PUT"
    assert request.url == URL("https://[::1]:8443/a%2Fb?c=%26", encoded=True)
    assert request.headers[0] == ("Host", "[::1]:8443")
    assert request.headers[-1] == ("X-A", "é: b")


def test_a_request_that_would_break_out_of_its_line_is_not_built() -> None:
    with pytest.raises(TransportError, match="the request could not be made"):
        Request.build("GET", URL("http://example.org/"), {"X": "a\r\nY: b"})
