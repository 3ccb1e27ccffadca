"""The example of docs/tethys.md is run as it stands there: from a new portal to the status in its database."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.docs.code_blocks import ROOT, blocks_under
from tests.e2e.service import ADMIN_KEY, Service
from tests.servers.process import accepts, free_port

INSTALL, MAKE, START, SERVE, KEY, REPORT, LOOK = blocks_under("docs/tethys.md", "A complete example")
ACTIVATE = INSTALL.partition("&& ")[2].partition("\n")[0]
EXPORT = MAKE.partition("\n")[0]


async def run(code: str, directory: Path, **environment: str) -> str:
    """What a shell prints that runs this; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-o", "pipefail", "-c", code),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env={**os.environ, **environment},
    )
    printed, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return printed.decode()


@asynccontextmanager
async def portal(directory: Path, port: int) -> AsyncIterator[None]:
    """The portal of the example on this port. It has processes below it, which end with it."""
    started = START.replace("8123", str(port))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{ACTIVATE}\n{EXPORT}\n{started}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(60):
            while not accepts(port):
                assert process.returncode is None, "the portal has ended"
                await asyncio.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_the_example_reports_the_end_of_a_job_to_a_portal(tmp_path: Path) -> None:
    await run(f"{ROOT}/scripts/client.sh tethys", ROOT)
    (tmp_path / "tethys").symlink_to(ROOT / ".venv-tethys")
    assert (tmp_path / "tethys/bin/activate").samefile(ROOT / ".venv-tethys/bin/activate")
    assert ACTIVATE == ". tethys/bin/activate"
    assert SERVE == "DISPATCHER_NETWORK_ALLOW=127.0.0.0/8 make serve\n"
    assert KEY.startswith("export DISPATCHER_KEY=")
    port = free_port()
    await run(f"{ACTIVATE}\n{MAKE}", tmp_path)
    own = tmp_path / "dispatcher"
    own.mkdir()
    url = f"sqlite:///{own / 'dispatcher.db'}"
    async with portal(tmp_path, port), Service(own, database_url=url, log_level="debug") as service:
        reported = REPORT.replace("http://127.0.0.1:8080", service.url).replace("8123", str(port))
        await run(reported, tmp_path, DISPATCHER_KEY=ADMIN_KEY)
        attempt = await service.says("attempt")
        assert attempt["outcome"] == "delivered"
        assert await run(LOOK, tmp_path) == "Complete\n"


def test_the_example_installs_the_version_that_the_tests_have() -> None:
    tried = (ROOT / "tests/compat/clients/tethys.lock").read_text()
    [version] = [word for word in INSTALL.split() if word.startswith("tethys-platform==")]
    assert f"\n{version} " in tried
