"""Requests that cannot be fulfilled: each is answered with a problem document that says why."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from dispatcher.api.problem_types import TYPES, markdown
from dispatcher.api.problems import MAX_BODY
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.intake.submission import Busy
from dispatcher.store.store import Store
from tests.api.conftest import ADMIN_KEY, Api, Caller, Reply, serving

JSON = "application/json"


def check(reply: Reply, status: int) -> dict[str, Any]:
    """The problem that was answered, after a look at what every problem has."""
    problem: dict[str, Any] = reply.json
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.status == problem["status"] == status
    assert problem.keys() == {"type", "title", "status", "detail", "instance", "errors"}
    assert problem["type"] in {kind.uri for kind in TYPES if status in kind.statuses or not kind.statuses}
    return problem


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "truncated"),
        (b"nonsense", "invalid character"),
        (b"{} and more", "trailing"),
        (b'{"job_id": "\xff"}', "UTF-8"),
        (b'{"job_id": "\\ud800 \\ud800"}', "surrogate"),
        (b"[]", "expected object, got array"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(alice: Caller, body: bytes, said: str) -> None:
    problem = check(await alice.ask("POST", "/v1/deliveries/retry", body, Content_Type=JSON), 400)
    assert problem["errors"][0]["field"] == ""
    assert said in problem["detail"]


async def test_a_byte_order_mark_before_a_body_is_skipped(alice: Caller) -> None:
    reply = await alice.ask(
        "POST", "/v1/deliveries/retry", b'\xef\xbb\xbf{"dry_run":true}', Content_Type=JSON
    )
    assert (reply.status, reply.json) == (200, {"count": 0})


async def test_an_empty_body_is_read_as_an_empty_object(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/subscriptions")
    assert reply.faults == {"events": "is missing"}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/subscriptions"])
async def test_a_body_over_the_limit_is_too_large_whether_announced_or_not(alice: Caller, path: str) -> None:
    long = b'{"name": "' + b"x" * MAX_BODY + b'"}'
    problem = check(await alice.ask("POST", path, long, Content_Type=JSON), 413)
    assert str(MAX_BODY) in problem["detail"]


async def test_a_body_in_pieces_over_the_limit_is_too_large(api: Api) -> None:
    answer = await raw(
        api,
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + ADMIN_KEY.encode()
        + b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17
        + b"0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_breaks_off_harms_no_other_request(api: Api, admin: Caller) -> None:
    host, port = urlsplit(api.url).hostname, urlsplit(api.url).port
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ADMIN_KEY.encode())
        writer.write(b'\r\nContent-Length: 1000\r\n\r\n{"event":')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await admin.get("/v1/events"))["items"] == []
    assert [line for line in lines if line["log_level"] == "error"] == []


async def raw(api: Api, request: bytes) -> bytes:
    """The beginning of the answer to bytes that no client would send."""
    reader, writer = await asyncio.open_connection(urlsplit(api.url).hostname, urlsplit(api.url).port)
    writer.write(request)
    answer = await reader.readline()
    writer.close()
    return answer


async def test_another_media_type_than_json_is_not_supported(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/subscriptions", b"a=b", Content_Type="text/plain")
    assert "expected application/json" in check(reply, 415)["detail"]


async def test_a_compressed_body_is_inflated(alice: Caller) -> None:
    event = gzip.compress(b'{"event":"FINISHED","job_id":"job-1"}')
    reply = await alice.ask("POST", "/v1/events", event, Content_Type=JSON, Content_Encoding="gzip")
    assert reply.status == 202
    reply = await alice.ask(
        "POST", "/v1/subscriptions", gzip.compress(b"{}"), Content_Type=JSON, Content_Encoding="gzip"
    )
    assert check(reply, 400)["errors"][0]["field"] == "events"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no", "gzip", 400),
        (b"{}", "br", 415),
        (gzip.compress(bytes(MAX_BODY + 1)), "gzip", 413),
    ],
    ids=["no gzip", "another encoding", "too long"],
)
async def test_a_body_that_cannot_be_inflated_is_refused_by_name(
    alice: Caller, body: bytes, encoding: str, status: int
) -> None:
    for path in ("/v1/events", "/v1/subscriptions"):
        reply = await alice.ask("POST", path, body, Content_Type=JSON, Content_Encoding=encoding)
        assert "content-encoding" in check(reply, status)["detail"].lower()


async def test_a_path_that_is_not_there_says_where_to_look(anonymous: Caller) -> None:
    problem = check(await anonymous.ask("GET", "/v1/subscription"), 404)
    assert "/docs" in problem["detail"]
    assert problem["instance"] == "/v1/subscription"


async def test_a_method_that_is_not_possible_says_which_are(anonymous: Caller) -> None:
    reply = await anonymous.ask("PUT", "/v1/subscriptions")
    problem = check(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD, POST"
    assert "GET, HEAD, POST" in problem["detail"]


@pytest.fixture
def anonymous(api: Api) -> Caller:
    """Who has no key."""
    return api.anonymous


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("limt=5", "limt", "did you mean limit?"),
        ("limit=0", "limit", ">= 1"),
        ("limit=501", "limit", "<= 500"),
        ("limit=many", "limit", "expected integer"),
        ("limit=1&limit=2", "limit", "more than once"),
        ("cursor=abc", "cursor", "as `next` of the page before"),
        ("cursor=evt_" + "0" * 32, "cursor", "dlv_"),
        ("state=exhuasted", "state", "exhausted"),
        ("since=yesterday", "since", "2026-05-04T12:00:00Z"),
        ("since=2026-05-04T12:00:00", "since", "offset"),
        ("since=0001-01-01T00:00:00%2B14:00", "since", "years 1 and 9999"),
        ("subscription_id=dlv_1", "subscription_id", "sub_"),
        ("event_id=1", "event_id", "evt_"),
        ("job_id=", "job_id", "1 to 255"),
        ("job_id=a%00b", "job_id", "control character"),
    ],
)
async def test_a_query_parameter_that_is_wrong_is_named(
    alice: Caller, query: str, field: str, said: str
) -> None:
    reply = await alice.ask("GET", f"/v1/deliveries?{query}")
    check(reply, 400)
    assert list(reply.faults) == [field]
    assert said in reply.faults[field]


async def test_where_no_parameters_are_taken_one_is_refused(alice: Caller) -> None:
    made = await alice.subscribe()
    reply = await alice.ask("GET", f"/v1/subscriptions/{made['id']}?secret=1")
    assert reply.faults == {"secret": "unknown field; none is known"}


async def test_an_id_of_another_kind_is_not_found_and_says_what_was_expected(alice: Caller) -> None:
    made = await alice.subscribe()
    problem = check(await alice.ask("GET", f"/v1/deliveries/{made['id']}"), 404)
    assert "expected dlv_" in problem["detail"]


async def failing(store: Store, error: Exception) -> Reply:
    """The answer when the store fails so."""

    async def fail(*_: object) -> NoReturn:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.subscriptions, "page", fail)
        async with serving(store) as api:
            return await api.admin.ask("GET", "/v1/subscriptions")


async def test_an_unreachable_database_is_503_and_says_when_to_ask_again(store: Store) -> None:
    reply = await failing(store, StoreUnavailable("connection to db.internal:5432 refused"))
    assert "db.internal" not in check(reply, 503)["detail"]
    assert int(reply.headers["Retry-After"]) > 0


async def test_an_unexpected_error_is_logged_and_tells_nothing(store: Store) -> None:
    with capture_logs() as lines:
        reply = await failing(store, RuntimeError("the inner workings"))
    check(reply, 500)
    assert b"inner workings" not in reply.body
    [line] = [line for line in lines if line["log_level"] == "error"]
    assert str(line["exc_info"]) == "the inner workings"


async def test_too_many_events_are_refused_for_now(store: Store) -> None:
    class Full:
        async def submit(self, events: object) -> NoReturn:
            raise Busy("too many events wait to be stored")

    async with serving(store, intake=Full()) as api:
        reply = await api.admin.ask("POST", "/v1/events", {"event": "FINISHED", "job_id": "1"})
    assert check(reply, 503)["detail"] == "too many events wait to be stored"
    assert "Retry-After" in reply.headers


async def test_every_answer_carries_the_security_headers(api: Api, alice: Caller) -> None:
    for reply in (await alice.ask("GET", "/v1/events"), await api.anonymous.ask("GET", "/nowhere")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert "aiohttp" not in reply.headers["Server"]
        assert not [name for name in reply.headers if name.startswith("Access-Control")]


async def test_a_request_is_logged_without_its_key(alice: Caller) -> None:
    with capture_logs() as lines:
        await alice.subscribe()
        await alice.get("/v1/subscriptions")
    created, listed = lines
    assert (created["method"], created["path"], created["status"]) == ("POST", "/v1/subscriptions", 201)
    assert (created["log_level"], listed["log_level"]) == ("info", "debug")
    assert alice.headers["Authorization"].removeprefix("Bearer ") not in str(lines)


async def test_the_type_of_a_problem_leads_to_its_cause_and_cure(api: Api) -> None:
    page = await api.anonymous.ask("GET", "/docs/errors")
    assert page.headers["Content-Type"].startswith("text/html")
    assert all(f'id="{kind.name}"' in page.body.decode() for kind in TYPES)


def test_the_page_of_errors_says_what_the_server_says() -> None:
    assert markdown() in Path("docs/errors.md").read_text()
