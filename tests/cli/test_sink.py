from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from dispatcher.targets.signing import Signer
from tests.cli.conftest import Run
from tests.cli.processes import started
from tests.factories import SECRET

EVENT = b'{"type":"job.FINISHED","subject":"job-1"}'


def signed(body: bytes) -> dict[str, str]:
    return Signer([SECRET]).headers("dlv_1", int(time.time()), body)


async def test_the_sink_prints_what_arrives_and_answers_204(tmp_path: Path) -> None:
    async with started(tmp_path, "sink", "--port", "0", "--json") as sink, aiohttp.ClientSession() as session:
        async with session.post(URL(f"{sink.url}/a%2Fb?c=d%2Fe", encoded=True), data=EVENT) as answer:
            assert answer.status == 204
        line = await sink.line()
        assert (line["method"], line["path"]) == ("POST", "/a%2Fb?c=d%2Fe")
        assert line["body"] == {"type": "job.FINISHED", "subject": "job-1"}
        assert line["signature"] is None


async def test_the_sink_tells_good_signatures_from_bad_ones(tmp_path: Path) -> None:
    command = started(tmp_path, "sink", "--port", "0", "--json", WEBHOOK_SECRET=SECRET)
    async with command as sink, aiohttp.ClientSession() as session:
        await session.post(sink.url, data=EVENT, headers=signed(EVENT))
        assert (await sink.line())["signature"] == "good"
        await session.post(sink.url, data=EVENT + b" ", headers=signed(EVENT))
        assert "a body that was changed" in (await sink.line())["signature"]
        await session.post(sink.url, data=EVENT)
        assert (await sink.line())["signature"] == "the header webhook-id is missing"


async def test_the_sink_misbehaves_when_asked_to(tmp_path: Path) -> None:
    command = started(tmp_path, "sink", "--port", "0", "--status", "503", "--retry-after", "2")
    async with command as sink, aiohttp.ClientSession() as session, session.get(sink.url) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "2"


async def test_the_sink_shows_requests_to_people_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    command = started(tmp_path, "sink", "--port", "0", "--secret", SECRET)
    async with command as sink, aiohttp.ClientSession() as session:
        await session.post(f"{sink.url}/hook", data=EVENT, headers=signed(EVENT))
        await session.post(f"{sink.url}/hook", data=b"\x1b]0;title\x07[red]text")
        shown = await sink.rest()
    assert "POST /hook" in shown
    assert "webhook-id dlv_1" in shown
    assert "signature: good" in shown
    assert '"subject": "job-1"' in shown
    assert "\\x1b]0;title\\x07[red]text" in shown
    assert "\x1b" not in shown


async def test_a_port_that_is_taken_is_named(tmp_path: Path, run: Run) -> None:
    async with started(tmp_path, "sink", "--port", "0") as sink:
        port = sink.url.rpartition(":")[2]
        with pytest.raises(
            AssertionError, match=f"cannot listen on 127.0.0.1:{port}: .*expected a free --port"
        ):
            async with started(tmp_path, "sink", "--port", port):
                pass


def test_a_malformed_secret_is_refused_before_anything_arrives(run: Run) -> None:
    result = run("sink", "--secret", "whsec_hunter22")
    assert result.code == 2
    assert "hunter22" not in result.err
