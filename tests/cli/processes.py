"""Commands that run until they are stopped, each in a separate process."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.environment import environment


class Command:
    """A command that runs; `url` is where it says that it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.url = ""

    async def listening(self) -> None:
        """Return when it says where it listens."""
        assert self._process.stderr is not None
        said = (await asyncio.wait_for(self._process.stderr.readline(), 30)).decode()
        found = re.match(r"Listening on (http://127\.0\.0\.1:\d+)", said)
        assert found, said + (await self._process.stderr.read()).decode()
        self.url = found[1]

    async def text(self) -> str:
        """Return the next line of its output."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 30)).decode()

    async def line(self) -> Any:
        """Return the next line of its output, as JSON."""
        return msgspec.json.decode(await self.text())

    async def rest(self) -> str:
        """End it with Ctrl-C, and return what is left of its output."""
        self._process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(self._process.communicate(), 30)
        assert self._process.returncode == 0, err.decode()
        return out.decode()


@asynccontextmanager
async def started(directory: Path, *arguments: str, **settings: str) -> AsyncIterator[Command]:
    """Run a command while entered, with these settings only."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dispatcher", *arguments),
        cwd=directory,
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    command = Command(process)
    try:
        await command.listening()
        yield command
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
