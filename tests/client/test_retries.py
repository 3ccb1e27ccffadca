"""What is sent again, how often and after which pauses, and what the errors say."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from dispatcher.client import (
    Client,
    Conflict,
    InvalidRequest,
    InvalidResponse,
    NotFound,
    NotPublished,
    Retries,
    TooManyRequests,
    TransportError,
    Unavailable,
)
from tests.client.conftest import Caller, Script

EVENT = {"event": "FINISHED", "job_id": "job-1"}
TARGET = {"kind": "webhook", "url": "https://example.org/"}


def accepted(number: int = 1) -> web.Response:
    ids = [f"evt_{one}" for one in range(number)]
    return web.json_response({"accepted": number, "duplicates": 0, "ids": ids}, status=202)


def busy(after: str | None = None, status: int = 503) -> web.Response:
    return web.Response(status=status, headers={} if after is None else {"Retry-After": after})


@contextmanager
def silent_port() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def problem(status: int, detail: str, **faults: str) -> web.Response:
    errors = [{"field": field, "problem": text} for field, text in faults.items()]
    document = {"type": "/docs/errors#x", "title": "x", "status": status, "detail": detail, "errors": errors}
    return web.json_response(document, status=status, content_type="application/problem+json")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_that_passes_is_waited_for_as_long_as_the_server_asks(
    call: Caller, slept: list[float], status: int
) -> None:
    async with Script([busy("3", status), busy("1", status), accepted()]) as server:
        answer = await call(server.url, lambda client: client.publish(EVENT))
    assert answer.ids == ["evt_0"]
    assert slept == [3.0, 1.0]


async def test_a_repeated_event_keeps_its_id(call: Caller, slept: list[float]) -> None:
    async with Script([busy(), None, accepted()]) as server:
        await call(server.url, lambda client: client.publish(EVENT))
    ids = {msgspec.json.decode(body)["id"] for _, _, body in server.requests}
    assert len(server.requests) == 3
    assert len(ids) == 1


async def test_a_date_in_retry_after_is_waited_for(call: Caller, slept: list[float]) -> None:
    after = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    async with Script([busy(after), accepted()]) as server:
        await call(server.url, lambda client: client.publish(EVENT))
    assert 15 < slept[0] <= 20


async def test_a_retry_after_beyond_the_longest_pause_is_an_error_that_has_it(
    call: Caller, slept: list[float]
) -> None:
    async with Script([busy("3600", 429)]) as server:
        with pytest.raises(TooManyRequests) as refused:
            await call(server.url, lambda client: client.jobs.get("job-1"))
    assert (refused.value.retry_after, slept) == (3600.0, [])


async def test_pauses_grow_with_jitter_and_attempts_are_bounded(call: Caller, slept: list[float]) -> None:
    retries = Retries(attempts=4, first_delay=1.0, max_delay=3.0)
    async with Script([busy() for _ in range(4)]) as server:
        with pytest.raises(Unavailable):
            await call(server.url, lambda client: client.jobs.get("job-1"), retries=retries)
    assert len(server.requests) == 4
    assert all(most / 2 <= pause <= most for pause, most in zip(slept, (1.0, 2.0, 3.0), strict=True))


async def test_what_may_have_been_done_is_repeated_only_where_that_does_no_harm(
    call: Caller, slept: list[float]
) -> None:
    async with Script([None, web.json_response({"status": "ok", "parts": []}), None]) as server:
        await call(server.url, lambda client: client.request("GET", "/health/live"))
        with pytest.raises(TransportError) as lost:
            await call(server.url, lambda client: client.subscriptions.create(events=["*"], target=TARGET))
    assert [method for method, _, _ in server.requests] == ["GET", "GET", "POST"]
    assert lost.value.sent


async def test_what_was_not_sent_is_sent_again_whatever_it_is(call: Caller, slept: list[float]) -> None:
    with pytest.raises(TransportError, match="does not answer") as failed:
        await call(
            "http://127.0.0.1:1", lambda client: client.subscriptions.create(events=["*"], target=TARGET)
        )
    assert (failed.value.sent, len(slept)) == (False, 3)


async def test_what_is_found_deleted_after_a_lost_response_is_deleted(
    call: Caller, slept: list[float]
) -> None:
    async with Script([None, problem(404, "no subscription"), problem(404, "no subscription")]) as server:
        await call(server.url, lambda client: client.subscriptions.delete("sub_1"))
        with pytest.raises(NotFound):
            await call(server.url, lambda client: client.subscriptions.delete("sub_1"))


async def test_a_response_that_takes_too_long_is_an_error(call: Caller) -> None:
    with silent_port() as url, pytest.raises(TransportError) as late:
        await call(url, lambda client: client.jobs.get("x"), timeout=0.05, retries=Retries(attempts=1))
    assert late.value.sent


async def test_an_error_has_the_problem_document(call: Caller) -> None:
    refused = problem(400, "2 fields are wrong", name="expected a text", events="expected a list")
    async with Script([refused, problem(409, "it is pending")]) as server:
        with pytest.raises(InvalidRequest, match="name: expected a text") as caught:
            await call(server.url, lambda client: client.subscriptions.update("sub_1", name=""))
        with pytest.raises(Conflict, match="refused with 409: it is pending"):
            await call(server.url, lambda client: client.deliveries.retry("dlv_1"))
    found = caught.value.problem
    assert (caught.value.status, found.detail, found.type) == (400, "2 fields are wrong", "/docs/errors#x")
    assert [fault.field for fault in found.errors] == ["name", "events"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "<html>", "expected JSON of Dispatcher, got b'<html>'"),
        (200, '{"id": 5}', "expected JSON of Dispatcher"),
        (302, "", "redirected to https://example.org/login"),
    ],
)
async def test_what_is_no_response_of_dispatcher_is_a_separate_kind_of_error(
    call: Caller, status: int, body: str, expected: str
) -> None:
    response = web.Response(status=status, text=body, headers={"Location": "https://example.org/login"})
    async with Script([response]) as server:
        with pytest.raises(InvalidResponse, match=expected):
            await call(server.url, lambda client: client.jobs.get("job-1"))
    assert len(server.requests) == 1


async def test_readiness_is_asked_once(call: Caller, slept: list[float]) -> None:
    async with Script([problem(503, "database: away", database="away")]) as server:
        with pytest.raises(Unavailable, match="database: away"):
            await call(server.url, lambda client: client.service.ready())
    assert slept == []


async def test_many_events_go_in_batches_and_an_error_says_how_many_were_stored(call: Caller) -> None:
    events = [EVENT | {"message": "x" * 200_000}] * 5
    async with Script([accepted(2), accepted(2), accepted(1), accepted(2), problem(400, "bad")]) as server:
        answer = await call(server.url, lambda client: client.publish_many(events))
        with pytest.raises(NotPublished, match="refused with 400: bad") as caught:
            await call(server.url, lambda client: client.publish_many(events))
    assert (answer.accepted, len(answer.ids), caught.value.confirmed) == (5, 5, 2)


async def test_fields_that_a_newer_server_sends_are_skipped(call: Caller) -> None:
    document: dict[str, Any] = {"job_id": "job-1", "status": "RUNNING", "later": {"a": 1}}
    async with Script([web.json_response(document)]) as server:
        status = await call(server.url, lambda client: client.jobs.status("job-1"))
    assert (status.job_id, status.status, status.reached) == ("job-1", "RUNNING", False)


@pytest.mark.parametrize("url", ["", "dispatcher.example.org", "ftp://example.org"])
def test_a_url_without_a_scheme_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of a server"):
        Client(url)
