"""What is built can be installed: the client without the server, and the server, which delivers."""

from __future__ import annotations

import asyncio

import pytest

from tests.docs.code_blocks import ROOT


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_wheel_serves_one_delivery_and_the_client_comes_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts/dist.sh"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert b"One event was delivered and verified" in out
