"""Webhook targets as they are made and shown: what is refused, by which field, and what is hidden."""

from __future__ import annotations

import msgspec
import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget

OAUTH2 = {
    "type": "oauth2",
    "token_url": "https://auth.example.org/token",
    "client_id": "a-client",
    "client_secret": "a secret",
}

HMAC = {"scheme": "hmac", "header": "X-Signature"}


def target(**fields: object) -> WebhookTarget:
    document = {"kind": "webhook", "url": "https://example.org/hook"} | fields
    return msgspec.convert(document, WebhookTarget)


def problem_with(**fields: object) -> tuple[str, str]:
    """The field and the problem of a target that must be refused."""
    with pytest.raises(InvalidInput) as caught:
        WebhookKind(Egress(Guard())).check(target(**fields))
    return caught.value.field, caught.value.problem


def test_a_redacted_target_shows_no_credentials() -> None:
    secret = target(
        url="https://example.org/?a=1&access_token=hunter22&sig=hunter22",
        headers={"Cookie": "hunter22", "X-API-Key": "hunter22", "X-Other": "seen"},
        auth={"type": "basic", "user": "ann", "password": "hunter22"},
        body={"text": "${EVENT}"},
        success={"status": [200], "json": {"ok": True}},
    )

    assert WebhookKind(Egress(Guard())).redact(secret) == {
        "kind": "webhook",
        "url": "https://example.org/?a=1&access_token=***&sig=***",
        "method": "POST",
        "headers": {"Cookie": "***", "X-API-Key": "***", "X-Other": "seen"},
        "body": {"text": "${EVENT}"},
        "format": "cloudevents",
        "signature": "v1",
        "auth": {"type": "basic", "user": "ann", "password": "***"},
        "success": {"status": (200,), "json": {"ok": True}},
        "timeout": None,
        "tls": None,
    }
    assert "hunter" not in repr(secret)
    assert "hunter" not in repr(secret.auth)


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "token": "hunter22"},
        {"type": "header", "name": "X-A", "value": "hunter22"},
        OAUTH2 | {"client_secret": "hunter22", "token_url": "https://auth.example.org/token?key=hunter22"},
    ],
)
def test_each_kind_of_credential_is_redacted(auth: dict[str, str]) -> None:
    shown = WebhookKind(Egress(Guard())).redact(target(auth=auth))

    assert "hunter" not in repr(shown)
    assert msgspec.convert(shown, WebhookTarget).url == "https://example.org/hook"


# The check of a new target


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://example.org/hook", "https://example.org:443"),
        ("HTTP://Example.ORG:8080/${JOB_ID}?x=${EVENT}", "http://example.org:8080"),
        ("http://8.8.8.8/", "http://8.8.8.8:80"),
    ],
)
def test_a_good_target_has_a_destination(url: str, destination: str) -> None:
    assert WebhookKind(Egress(Guard())).check(target(url=url)) == destination


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "http://10.0.0.1/${JOB_ID}",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/",
        "http://localhost./",
        "http://a.localhost/",
    ],
)
def test_a_blocked_url_is_refused_with_the_setting_that_would_allow_it(url: str) -> None:
    field, problem = problem_with(url=url)

    assert field == "target.url"
    assert problem.startswith("blocked: ")
    assert "network.allow" in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://user:password@example.org/",
        "ftp://example.org/",
        "https://${JOB_ID}.example.org/",
        "https://example.org/${NOTHING}",
        "https://example.org/a b",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert problem_with(url=url)[0] == "target.url"


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"headers": {"X A": "b"}}, "target.headers.X A", "no header name"),
        ({"headers": {"X:A": "b"}}, "target.headers.X:A", "no header name"),
        ({"headers": {"Ä": "b"}}, "target.headers.Ä", "no header name"),
        ({"headers": {"X-A": "a\r\nB: c"}}, "target.headers.X-A", "line break"),
        ({"headers": {"X-A": "${NOTHING}"}}, "target.headers.X-A", "unknown variable NOTHING"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "target.headers.x-a", "twice"),
        ({"headers": {"X-Token": "***"}}, "target.headers.X-Token", "expected"),
        ({"body": {"a": ["${NOTHING}"]}}, "target.body", "/a/0: unknown variable NOTHING"),
        ({"body": "${EVENT"}, "target.body", "not closed"),
        ({"body": "x", "method": "GET"}, "target.body", "GET carries no body"),
        ({"body": {}, "method": "DELETE"}, "target.body", "DELETE carries no body"),
        ({"url": "https://example.org/?token=***"}, "target.url", "expected"),
        ({"auth": {"type": "bearer", "token": "a b"}}, "target.auth.token", "without spaces"),
        ({"auth": {"type": "bearer", "token": "***"}}, "target.auth.token", "expected"),
        ({"auth": {"type": "basic", "user": "a:b", "password": "c"}}, "target.auth.user", '":"'),
        ({"auth": {"type": "basic", "user": "a", "password": "***"}}, "target.auth.password", "expected"),
        ({"auth": {"type": "header", "name": "X A", "value": "c"}}, "target.auth.name", "no header name"),
        (
            {"auth": {"type": "header", "name": "Host", "value": "c"}},
            "target.auth.name",
            "set by the service",
        ),
        ({"auth": {"type": "header", "name": "X-A", "value": "a\nb"}}, "target.auth.value", "printable"),
        ({"auth": {"type": "header", "name": "X-A", "value": "***"}}, "target.auth.value", "expected"),
        ({"auth": OAUTH2 | {"client_secret": "***"}}, "target.auth.client_secret", "expected"),
        ({"auth": OAUTH2 | {"scope": "a  b"}}, "target.auth.scope", "one space"),
        ({"auth": OAUTH2 | {"scope": 'a"b'}}, "target.auth.scope", "one space"),
        ({"auth": OAUTH2 | {"token_url": "https://a.example/#b"}}, "target.auth.token_url", "no fragment"),
        ({"auth": OAUTH2 | {"token_url": "https://a.example/${EVENT}"}}, "target.auth.token_url", "without"),
        ({"auth": OAUTH2 | {"token_url": "https://a:b@c.example/"}}, "target.auth.token_url", "password"),
        ({"auth": OAUTH2 | {"token_url": "ftp://a.example/"}}, "target.auth.token_url", "http or https"),
        ({"auth": OAUTH2 | {"token_url": "https://a.example/?key=***"}}, "target.auth.token_url", "expected"),
        ({"auth": OAUTH2 | {"token_url": "http://127.1/token"}}, "target.auth.token_url", ""),
        ({"auth": OAUTH2 | {"token_url": "http://[::1]/token"}}, "target.auth.token_url", "network.allow"),
        ({"auth": OAUTH2 | {"token_url": "http://localhost/"}}, "target.auth.token_url", "network.allow"),
        ({"auth": OAUTH2, "headers": {"Authorization": "x"}}, "target.headers.Authorization", "twice"),
        ({"signature": HMAC | {"header": "X A"}}, "target.signature.header", "no header name"),
        ({"signature": HMAC | {"header": "X-A\r\nB"}}, "target.signature.header", "no header name"),
        ({"signature": HMAC | {"header": "Host"}}, "target.signature.header", "set by the service"),
        ({"signature": HMAC | {"header": "Webhook-Signature"}}, "target.signature.header", "set by the"),
        ({"signature": HMAC | {"header": "webhook-id"}}, "target.signature.header", "set by the service"),
        ({"signature": HMAC | {"header": "content-Type"}}, "target.signature.header", "another one"),
        ({"signature": HMAC, "headers": {"x-signature": "x"}}, "target.headers.x-signature", "twice"),
        (
            {"signature": {"scheme": "github"}, "headers": {"x-hub-signature-256": "x"}},
            "target.headers.x-hub-signature-256",
            "twice",
        ),
        (
            {"signature": HMAC | {"header": "authorization"}, "auth": {"type": "bearer", "token": "t"}},
            "target.signature.header",
            "twice",
        ),
        (
            {"signature": HMAC | {"header": "ce-id"}, "format": "binary"},
            "target.signature.header",
            "sets ce-id",
        ),
        (
            {"auth": {"type": "bearer", "token": "t"}, "headers": {"authorization": "x"}},
            "target.headers.authorization",
            "twice",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_by_field(fields: dict[str, object], field: str, problem: str) -> None:
    found_field, found_problem = problem_with(**fields)

    assert found_field == field
    assert problem in found_problem


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "User-Agent",
        "Accept-Encoding",
        "webhook-id",
        "webhook-timestamp",
        "Webhook-Signature",
    ],
)
def test_headers_that_frame_a_message_or_are_ours_are_refused(name: str) -> None:
    field, problem = problem_with(headers={name: "x"})

    assert field == f"target.headers.{name}"
    assert "set by the service" in problem


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "post"},
        {"method": "CONNECT"},
        {"url": ""},
        {"url": "https://example.org/" + "x" * 4096},
        {"headers": {f"X-{number}": "" for number in range(51)}},
        {"headers": {"X": 1}},
        {"body": 3},
        {"auth": {"type": "oauth2"}},
        {"auth": OAUTH2 | {"client_secret": ""}},
        {"auth": OAUTH2 | {"grant_type": "password"}},
        {"auth": {"type": "bearer"}},
        {"auth": {"type": "bearer", "token": ""}},
        {"auth": {"type": "bearer", "token": "x", "more": "y"}},
        {"time_limit": 3},
        {"signature": "v2"},
        {"signature": {}},
        {"signature": {"scheme": "hmac"}},
        {"signature": {"scheme": "gitlab", "header": "X"}},
        {"signature": {"scheme": "github", "header": "X"}},
        {"signature": HMAC | {"algorithm": "md5"}},
        {"signature": HMAC | {"encoding": "base32"}},
        {"signature": HMAC | {"prefix": "a\nb"}},
        {"signature": HMAC | {"prefix": " a"}},
        {"signature": HMAC | {"secret": "hunter22"}},
    ],
)
def test_a_target_of_another_shape_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        target(**fields)
