from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.targets import AttemptResult
from dispatcher.http import Headers, Response
from dispatcher.targets.http.response_check import MAX_KEPT, Success, evaluate_response


def judged(
    status: int = 200,
    body: bytes = b"",
    *,
    complete: bool = True,
    success: Success | None = None,
    secrets: tuple[str, ...] = (),
    **headers: str,
) -> AttemptResult:
    named = Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])
    return evaluate_response(Response(status, named, body, complete), "POST https://…", success, secrets)


# Success


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    answer = judged(status, b"ok")

    assert (answer.error, answer.status, answer.body) == (None, status, "ok")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (101, "answered 101 Switching Protocols"),
        (304, "answered 304 Not Modified"),
        (400, "answered 400 Bad Request"),
        (404, "answered 404 Not Found"),
        (500, "answered 500 Internal Server Error"),
        (599, "answered 599"),
        (999, "answered 999"),
    ],
)
def test_everything_else_is_a_failure(status: int, error: str) -> None:
    answer = judged(status, b"why")

    assert (answer.error, answer.status, answer.body) == (error, status, "why")
    assert (answer.disable_subscription, answer.retry_early, answer.permanent, answer.retry_after) == (
        False,
        False,
        False,
        None,
    )


def test_a_redirect_says_where_it_pointed() -> None:
    assert judged(302, Location="https://example.org/new").error == (
        "answered 302 Found and points to 'https://example.org/new': redirects are not followed"
    )


def test_a_long_or_strange_location_is_cut_and_quoted() -> None:
    error = judged(307, Location="\x1b[31m" + "x" * 9000).error

    assert error is not None
    assert len(error) < 400
    assert "\x1b" not in error


def test_gone_disables_the_subscription() -> None:
    answer = judged(410)

    assert answer.disable_subscription
    assert answer.error == "answered 410 Gone: the receiver wants nothing more from this subscription"


@pytest.mark.parametrize(("status", "delivered"), [(200, False), (302, True), (410, True), (404, False)])
def test_only_the_wanted_statuses_are_a_success(status: int, delivered: bool) -> None:
    answer = judged(status, success=Success(status=(302, 410)))

    assert (answer.error is None) == delivered
    assert not answer.disable_subscription


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"success": True}, b'{"success": true, "more": 1}'),
        ({}, b"{}"),
        ({"a": {"b": [1, None]}}, b'{"a": {"b": [1, null], "c": 2}}'),
        ({"n": 1}, b'{"n": 1.0}'),
    ],
)
def test_an_answer_that_contains_the_wanted_json_is_a_success(wanted: dict[str, object], body: bytes) -> None:
    assert judged(200, body, success=Success(json=wanted)).error is None


@pytest.mark.parametrize(
    ("wanted", "body", "problem"),
    [
        ({"success": True}, b'{"success": false}', "does not have the wanted value in success"),
        ({"success": True}, b'{"success": 1}', "does not have the wanted value in success"),
        ({"n": 1}, b'{"n": true}', "does not have the wanted value in n"),
        ({"success": None}, b"{}", "does not have the wanted value in success"),
        ({"a": {"b": 1, "c": 2}}, b'{"a": {"b": 1}}', "does not have the wanted value in a.c"),
        ({"a": [1]}, b'{"a": [1, 2]}', "does not have the wanted value in a"),
        ({"a": {}}, b'{"a": []}', "does not have the wanted value in a"),
        ({}, b"[]", "does not have the wanted value in the whole"),
        ({"a": 1}, b"<html>", "is not JSON"),
        ({"a": 1}, b"", "is not JSON"),
        ({"a": 1}, b"\xff", "is not JSON"),
        ({"a": 1}, b"[" * 60_000, "is not JSON"),
    ],
)
def test_an_answer_without_the_wanted_json_is_a_failure(
    wanted: dict[str, object], body: bytes, problem: str
) -> None:
    assert judged(200, body, success=Success(json=wanted)).error == f"the answer's body {problem}"


def test_a_body_that_was_cut_cannot_contain_the_wanted_json() -> None:
    error = judged(200, b'{"success": true}', complete=False, success=Success(json={"success": True})).error

    assert error == "the answer's body was too long, too slow or broken off, so it cannot be looked at"


def test_a_body_that_was_cut_is_no_failure_when_it_is_not_checked() -> None:
    assert judged(200, b"beginn", complete=False).error is None


def test_the_wanted_json_does_not_make_a_bad_status_good() -> None:
    error = judged(500, b'{"success": true}', success=Success(json={"success": True})).error

    assert error == "answered 500 Internal Server Error"


@pytest.mark.parametrize(
    "document", [{"status": []}, {"status": [100]}, {"status": ["2xx"]}, {"json": []}, {"x": 1}]
)
def test_a_success_that_cannot_be_is_refused(document: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Success)


# Retry-After

FAR = "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0.25", 0.25),
        ("3.", 3.0),
        (".5", 0.5),
        ("90000", 86_400.0),
        ("9" * 400, 86_400.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)
def test_retry_after_is_obeyed_up_to_a_day(status: int, value: str, seconds: float) -> None:
    assert judged(status, Retry_After=value).retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)

    assert judged(503, Retry_After=at).retry_after == pytest.approx(600, abs=5)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-1", "1.5.2", "1e3", "nan", "inf", "1,5", "٣", "Wed, 99 Oct 2015 07:28:00 GMT", FAR],
)
def test_a_retry_after_that_means_nothing_is_ignored(value: str) -> None:
    assert judged(429, Retry_After=value).retry_after is None


@pytest.mark.parametrize("status", [200, 301, 404, 500])
def test_retry_after_means_nothing_with_other_statuses(status: int) -> None:
    assert judged(status, Retry_After="60").retry_after is None


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
def test_no_retry_after_is_an_error(value: str) -> None:
    wait = judged(429, Retry_After=value).retry_after

    assert wait is None or 0 <= wait <= 86_400


# What is kept


def test_an_empty_body_is_none() -> None:
    assert judged(204).body is None


@pytest.mark.parametrize("secrets", [(), ("hunter22",)])
def test_only_the_beginning_of_a_body_is_kept(secrets: tuple[str, ...]) -> None:
    assert judged(200, b"x" * 60_000, secrets=secrets).body == "x" * MAX_KEPT


def test_a_body_that_is_no_text_is_kept_as_text_that_a_database_takes() -> None:
    assert judged(200, b"a\x00\xff\xc3").body == "a\ufffd\ufffd\ufffd"


def test_a_compressed_body_is_only_described() -> None:
    assert judged(200, b"\x1f\x8b" + bytes(20), Content_Encoding="gzip").body == "<22 bytes, 'gzip'>"


def test_a_secret_that_a_receiver_repeats_is_not_kept() -> None:
    body = b"you sent Bearer hunter22, " + b"x" * (MAX_KEPT - 30) + b"hunter22"
    answer = judged(302, body, secrets=("hunter22",), Location="/?token=hunter22")

    assert "hunt" not in repr(answer)
    assert answer.body is not None
    assert answer.body.startswith("you sent Bearer ***, x")
