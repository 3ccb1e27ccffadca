"""Each receiver of docs/receiving.md accepts what is genuine, once, and rejects the rest."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dispatcher.client import Webhook
from dispatcher.targets.signing import Signer, new_secret
from tests.docs.code_blocks import ROOT, code_blocks
from tests.receiver import Receiver
from tests.servers.process import free_port

BLOCKS = code_blocks("docs/receiving.md")
BODY = '{"subject": "job-1", "note": "é"}'.encode()
SECRET = new_secret()


def command(language: str, directory: Path) -> list[str]:
    """How the receiver of this language is started; Go's is compiled first."""
    name = {"Python": "receiver.py", "Node": "receiver.js", "Go": "receiver.go"}[language]
    source = directory / name
    source.write_text(BLOCKS[language])
    if language == "Python":
        return [sys.executable, str(source)]
    if language == "Node":
        return ["node", str(source)]
    built = directory / "receiver"
    subprocess.run(["go", "build", "-o", str(built), str(source)], cwd=directory, check=True)  # noqa: S607
    return [str(built)]


@asynccontextmanager
async def running(language: str, directory: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    arguments = await asyncio.to_thread(command, language, directory)
    port = free_port()
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    )
    try:
        await listening(port, process)
        yield f"http://127.0.0.1:{port}/jobs", process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    """Return when the port takes connections: nothing tells when another program begins to listen."""
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, "the receiver has ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return await writer.wait_closed()


@pytest.mark.parametrize("language", ["Python", "Node", pytest.param("Go", marks=pytest.mark.long)])
async def test_a_receiver_of_the_guide_accepts_only_what_is_genuine_and_handles_it_once(
    language: str, tmp_path: Path
) -> None:
    now = int(time.time())
    genuine = Signer([SECRET]).headers("dlv_1", now, BODY)
    rotated = Signer([new_secret(), SECRET]).headers("dlv_2", now, BODY)
    refused = {
        "another secret": Signer([new_secret()]).headers("dlv_3", now, BODY),
        "another id": {**genuine, "webhook-id": "dlv_4"},
        "an hour old": Signer([SECRET]).headers("dlv_5", now - 3600, BODY),
        "no time": {**genuine, "webhook-timestamp": "soon"},
        "no signature": {"webhook-id": "dlv_6", "webhook-timestamp": str(now)},
    }
    async with running(language, tmp_path) as (url, process), aiohttp.ClientSession() as session:

        async def status(headers: dict[str, str], body: bytes = BODY) -> int:
            async with session.post(url, data=body, headers=headers) as response:
                return response.status

        assert [await status(headers) for headers in refused.values()] == [401] * len(refused)
        assert await status(genuine, BODY + b" ") == 401
        assert [await status(genuine), await status(genuine), await status(rotated)] == [204] * 3
        assert process.stdout is not None
        async with asyncio.timeout(10):
            printed = [await process.stdout.readline() for _ in range(2)]
        process.terminate()
        assert printed == [BODY + b"\n"] * 2
        assert await process.stdout.read() == b""


async def test_what_is_signed_by_hand_is_signed_as_the_service_signs(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(BODY)
    async with Receiver() as receiver:
        environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": receiver.url.rpartition(":")[2]}
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-e",
            "-c",
            BLOCKS["curl and openssl"],
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env=environment,
        )
        printed, _ = await process.communicate()
        [request] = receiver.arrived
    assert printed == b"204\n"
    Webhook(SECRET).verify(request.body, request.headers)
