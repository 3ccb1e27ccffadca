"""`dispatcher wait`: its exit codes, and that it outlives a server that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cli.conftest import Result, Run
from tests.client.test_retries import silent_port

Answer = dict[str, Any] | int | str


def status(name: str | None, *, reached: bool = False, message: str | None = None) -> dict[str, Any]:
    return {
        "job_id": "j 1",
        "status": name,
        "terminal": name in ("FINISHED", "FAILED", "KILLED", "STOPPED"),
        "reached": reached,
        "event_id": None if name is None else "evt_1",
        "time": None,
        "message": message,
    }


class Server:
    """Answers one request after the other as it is given; the last answer again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/v1/jobs/j 1/status"
        self.asked.append(dict(request.query))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            return web.Response(text=answer)
        if isinstance(answer, int):
            return web.json_response({"detail": "no"}, status=answer)
        return web.json_response(answer)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def waits(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """Yield a function that runs `dispatcher wait` against the server and its answers."""
    # The package has the command under the name of its module.
    monkeypatch.setattr(import_module("dispatcher.cli.wait"), "FIRST_DELAY", 0.01)
    app = web.Application()
    app.router.add_get("/{rest:.*}", server.handle)
    async with TestServer(app) as running:

        async def waits(*arguments: str, answers: list[Answer]) -> Result:
            server.answers = answers
            where = {"DISPATCHER_SERVER": str(running.make_url("")), "DISPATCHER_KEY": "k"}
            return await asyncio.to_thread(run, "wait", "j 1", *arguments, **where)

        yield waits


@pytest.mark.parametrize(("name", "code"), [("FINISHED", 0), ("FAILED", 1), ("KILLED", 1), ("STOPPED", 1)])
async def test_the_exit_code_says_how_the_job_ended(waits: Any, name: str, code: int) -> None:
    result = await waits(answers=[status("RUNNING"), status(name, reached=True, message="at\nlast")])
    assert (result.code, result.out) == (code, f"j 1 {name}: at\\nlast\n")


async def test_it_asks_again_until_something_is_reached(waits: Any, server: Server) -> None:
    await waits("--until", "RUNNING,site.own", answers=[status(None), status("RUNNING", reached=True)])
    assert server.asked == [{"wait": "30.0", "until": "RUNNING,site.own"}] * 2


async def test_a_server_that_is_away_or_full_is_asked_again(waits: Any) -> None:
    result = await waits(answers=[503, 500, 429, status("FINISHED", reached=True)])
    assert result.code == 0
    assert result.err.count("asking again") == 1


async def test_a_refusal_is_code_2(waits: Any) -> None:
    for refusal in (400, 401, 403):
        result = await waits(answers=[refusal])
        assert (result.code, result.out) == (2, "")
        assert f"refused with {refusal}" in result.err


@pytest.mark.parametrize("page", ["<html>", '{"status": 5}', ""])
async def test_what_is_no_response_of_dispatcher_is_code_2_and_said(waits: Any, page: str) -> None:
    result = await waits(answers=[page])
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("dispatcher: expected JSON of Dispatcher, got ")
    assert "is the URL right?" in result.err


async def test_a_server_that_does_not_respond_is_not_waited_for_longer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("dispatcher.cli.wait"), "ANSWER_SECONDS", 0.1)
    with silent_port() as url:
        began = time.monotonic()
        result = await asyncio.to_thread(
            run, "wait", "j 1", "--timeout", "0s", DISPATCHER_SERVER=url, DISPATCHER_KEY="k"
        )
    assert (result.code, result.out) == (3, "")
    assert time.monotonic() - began < 5


async def test_it_gives_up_after_the_timeout(waits: Any, server: Server) -> None:
    result = await waits("--timeout", "0s", "--json", answers=[status("RUNNING")])
    assert (result.code, result.json["status"]) == (3, "RUNNING")
    assert server.asked == [{"wait": "0.0", "until": "terminal"}]
    result = await waits("--timeout", "0s", answers=[503])
    assert (result.code, result.out) == (3, "")


async def test_a_job_that_fails_ends_the_waiting_for_something_else(waits: Any) -> None:
    assert (await waits("--until", "RUNNING", answers=[status("FAILED")])).code == 1
    result = await waits("--until", "STAGED", "--timeout", "0s", answers=[status("FINISHED")])
    assert result.code == 3


async def test_a_change_is_one_after_the_call(waits: Any, server: Server) -> None:
    result = await waits("--until", "change", answers=[status("RUNNING"), status("RUNNING", reached=True)])
    assert result.code == 0
    assert server.asked[1] == {"wait": "30.0", "until": "change", "after": "evt_1"}


async def test_a_time_that_is_none_is_refused(waits: Any) -> None:
    result = await waits("--timeout", "soon", answers=[status(None)])
    assert result.code == 2
    assert "expected a time such as 90s, 30m or 2h" in result.err
