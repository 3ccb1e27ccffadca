"""What docs/client.md shows runs, and prints what it should."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import msgspec
import pytest

from dispatcher.targets.signing import Signer, new_secret
from tests.api.conftest import ADMIN_KEY, Api, api, store
from tests.docs.code_blocks import ROOT, code_blocks

__all__ = ["api", "store"]

BLOCKS = code_blocks("docs/client.md")
PRINTED = {
    "Publish and look": [
        "FINISHED 0001-007 no subscription",
        "0001-007 alice FINISHED",
        "0",
    ],
    "Subscribe": ["whsec_", "0 []"],
    "Wait for a job": ["FINISHED", "job 0001-009 did not reach terminal in 0.1 s: it is None"],
    "Errors": ["400 /docs/errors#invalid-request", "events expected", "not found"],
    "Retries": ["ok"],
}
"""The beginnings of the lines that each block prints."""


async def printed(code: str, **environment: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    out, err = await process.communicate()
    assert (err.decode(), process.returncode) == ("", 0)
    return out.decode().splitlines()


@pytest.mark.parametrize("heading", PRINTED)
async def test_a_code_block_prints_what_it_should(api: Api, heading: str) -> None:
    lines = await printed(BLOCKS[heading], DISPATCHER_SERVER=api.url, DISPATCHER_KEY=ADMIN_KEY)
    assert len(lines) == len(PRINTED[heading])
    for line, expected in zip(lines, PRINTED[heading], strict=True):
        assert line.lower().startswith(expected.lower())


async def test_the_receiver_responds_to_what_is_genuine_and_to_what_is_not() -> None:
    secret, body = new_secret(), msgspec.json.encode({"subject": "job-1"})
    headers = Signer([secret]).headers("dlv_1", int(time.time()), body)
    forged = headers | {"webhook-id": "dlv_2"}
    use = f"\nprint(handle({headers!r}, {body!r}))\nprint(handle({forged!r}, {body!r}))\n"
    assert await printed(BLOCKS["Verify a webhook"] + use, WEBHOOK_SECRET=secret) == [
        "dlv_1 job-1",
        "204",
        "401",
    ]


def test_every_python_block_is_run() -> None:
    assert set(BLOCKS) - {""} == {*PRINTED, "Verify a webhook"}
