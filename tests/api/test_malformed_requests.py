"""Requests that are no HTTP: a problem document as the answer, no traceback, and no more than a line in the log."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from structlog.testing import capture_logs

from dispatcher.api import http_server
from dispatcher.api.server import runner
from dispatcher.telemetry.log_limit import LogLimit
from tests.api.conftest import ADMIN_KEY, Api
from tests.api.test_slow_callers import listening

AUTH = f"Authorization: Bearer {ADMIN_KEY}\r\n"

MALFORMED = {
    "no request line": b"nonsense\r\n\r\n",
    "TLS on the plain port": bytes.fromhex("16030100c8010000c40303") + b"\0" * 50 + b"\r\n\r\n",
    "a version that does not exist": b"GET / HTTP/9.7\r\nHost: a\r\n\r\n",
    "a method that is none": b"G<T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the path": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header without a colon": b"GET /health/live HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "a NUL in a header": b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "a header that is too long": b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: "
    + b"a" * 100_000
    + b"\r\n\r\n",
    "a path that is too long": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a length that is no number": b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length beside chunks": (
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunks that are none": (
        f"POST /v1/events HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    ).encode(),
}


async def answer_to(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("name", MALFORMED)
async def test_the_answer_is_a_problem_and_nothing_is_an_error_of_ours(
    api: Api, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(runner(api.services, idle=0.5)) as url:
        with capture_logs() as lines:
            answer = await answer_to(url, MALFORMED[name])
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/problem+json" in head
    problem = msgspec.json.decode(body)
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    assert len(problem["detail"]) < 300
    assert problem["detail"].isprintable()
    assert [line for line in lines if line["log_level"] not in ("debug", "info")] == []
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("header", "status", "said"),
    [
        (b"Content-Type: text/\xff", 415, "got text/\ufffd"),
        (b"Expect: soon", 417, "expected 100-continue, got soon"),
        (b"Expect: \xff", 417, "expected 100-continue, got ?"),
        (b"Authorization: Bearer \xff", 401, "not known"),
    ],
)
async def test_an_unreadable_header_is_answered_with_a_problem(
    api: Api, header: bytes, status: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    auth = b"" if header.startswith(b"Auth") else AUTH.encode()
    request = b"POST /v1/subscriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n%b%b\r\n\r\n{}"
    async with listening(runner(api.services, idle=0.5)) as url:
        answer = await answer_to(url, request % (auth, header))
    problem = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert problem["status"] == status
    assert said in problem["detail"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_what_fails_before_a_handler_is_a_problem_and_a_line(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the inner workings")

    monkeypatch.setattr(http_server, "_handle_expected", fail)
    async with listening(runner(api.services, idle=0.5)) as url:
        with capture_logs() as lines:
            answer = await answer_to(url, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert b"inner workings" not in answer
    assert msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["status"] == 500
    assert [(line["event"], str(line["exc_info"])) for line in lines if line["log_level"] == "error"] == [
        ("request failed", "the inner workings")
    ]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_flood_of_them_is_a_line_and_a_number(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = LogLimit(3600)
    monkeypatch.setattr(http_server, "_limit", limit)
    async with listening(runner(api.services, idle=0.5)) as url:
        with capture_logs() as lines:
            for _ in range(20):
                await answer_to(url, b"nonsense\r\n\r\n")
    assert [(line["event"], line["log_level"]) for line in lines] == [("malformed request", "debug")]


async def test_a_caller_that_leaves_is_no_error(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    half = f"POST /v1/events HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Length: 100\r\n\r\n{{".encode()
    async with listening(runner(api.services, idle=0.5)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with capture_logs() as lines:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(half)
            await writer.drain()
            writer.transport.abort()
            assert (await answer_to(url, b"GET /health/live HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200")
    assert [line for line in lines if line["log_level"] not in ("debug", "info")] == []
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
