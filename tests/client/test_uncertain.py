"""What a failing server may have done is not sent a second time, unless that does no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from dispatcher.client import ApiError, Conflict, Retries, ServerError, TooManyRequests
from dispatcher.client.exchange import request
from tests.client.conftest import Caller, Script

UNCERTAIN = (502, 503, 504)

REPEATED: dict[str, Callable[[Any], Any]] = {
    "publish": lambda client: client.publish({"event": "FINISHED", "job_id": "job-1"}),
    "read": lambda client: client.jobs.get("job-1"),
    "set": lambda client: client.quotas.set("alice", waiters=3),
    "update": lambda client: client.subscriptions.update("sub_1", name="new"),
    "limit": lambda client: client.destinations.limit("https://example.org:443", None),
    "delete": lambda client: client.keys.delete("key_1"),
    "pause": lambda client: client.subscriptions.pause("sub_1"),
    "count": lambda client: client.deliveries.retry_many(dry_run=True),
}
"""Calls of which two do what one does."""

ONCE: dict[str, Callable[[Any], Any]] = {
    "create": lambda client: client.subscriptions.create(events=["*"], target={"kind": "webhook"}),
    "create a key": lambda client: client.keys.create(name="x", owner="alice", scopes=["publish"]),
    "rotate": lambda client: client.subscriptions.rotate_secret("sub_1"),
    "test": lambda client: client.subscriptions.test("sub_1"),
    "replay": lambda client: client.events.replay("evt_1"),
    "retry": lambda client: client.deliveries.retry("dlv_1"),
    "retry many": lambda client: client.deliveries.retry_many(),
    "any": lambda client: client.request("post", "/v1/newer"),
    "change": lambda client: client.request("PATCH", "/v1/newer"),
}
"""Calls of which two do more than one does."""


def failed(status: int) -> web.Response:
    return web.json_response({"status": status, "detail": "no"}, status=status)


@pytest.mark.parametrize("status", UNCERTAIN)
@pytest.mark.parametrize("use", REPEATED.values(), ids=REPEATED)
async def test_what_may_have_been_done_is_sent_again_when_that_does_no_harm(
    call: Caller, slept: list[float], use: Callable[[Any], Any], status: int
) -> None:
    async with Script([failed(status), failed(409)]) as server:
        with pytest.raises(Conflict):
            await call(server.url, use)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", UNCERTAIN)
@pytest.mark.parametrize("use", ONCE.values(), ids=ONCE)
async def test_what_may_have_been_done_is_not_sent_again_when_it_would_be_done_twice(
    call: Caller, slept: list[float], use: Callable[[Any], Any], status: int
) -> None:
    async with Script([failed(status), failed(409)]) as server:
        with pytest.raises(ServerError):
            await call(server.url, use)
    assert len(server.requests) == 1


@pytest.mark.parametrize("use", ONCE.values(), ids=ONCE)
async def test_what_was_refused_for_now_is_sent_again_whatever_it_is(
    call: Caller, slept: list[float], use: Callable[[Any], Any]
) -> None:
    async with Script([failed(429), failed(409)]) as server:
        with pytest.raises(Conflict):
            await call(server.url, use)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 501])
async def test_no_other_refusal_is_worth_a_second_request(
    call: Caller, slept: list[float], status: int
) -> None:
    async with Script([failed(status)]) as server:
        with pytest.raises(ApiError):
            await call(server.url, REPEATED["read"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("first", [None, *UNCERTAIN])
async def test_what_is_not_there_after_a_delete_that_may_have_been_done_is_deleted(
    call: Caller, slept: list[float], first: int | None
) -> None:
    before = None if first is None else failed(first)
    async with Script([before, failed(404)]) as server:
        await call(server.url, lambda client: client.subscriptions.delete("sub_1"))
    assert [method for method, _, _ in server.requests] == ["DELETE", "DELETE"]


async def test_what_is_not_there_after_a_delete_that_was_refused_was_never_there(
    call: Caller, slept: list[float]
) -> None:
    async with Script([failed(429), failed(404)]) as server:
        with pytest.raises(ApiError, match="refused with 404"):
            await call(server.url, lambda client: client.subscriptions.delete("sub_1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9" * 400, 86_400.0),
        ("9" * 5000, 86_400.0),
        ("1e400", None),
        ("-5", None),
        ("nan", None),
        ("²", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86_400.0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        (f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999", None),
        ("Mon, 99 Jan 2026 00:00:00 GMT", None),
    ],
)
async def test_an_absurd_retry_after_is_bounded_or_passed_over(
    call: Caller, slept: list[float], text: str, expected: float | None
) -> None:
    busy = web.Response(status=429, headers={"Retry-After": text})
    async with Script([busy]) as server:
        with pytest.raises(TooManyRequests) as refused:
            await call(server.url, REPEATED["read"], retries=Retries(attempts=1))
    assert refused.value.retry_after == expected


def test_a_method_is_the_same_in_any_case() -> None:
    assert not request("post", "/").repeatable
    assert request("get", "/").repeatable
