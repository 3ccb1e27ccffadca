"""The first admin key is not lost when stderr is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.api.auth import ensure_admin_key
from dispatcher.api.first_key import FirstKey
from tests.targets.email.offices import open_file


@pytest.fixture
def pipe() -> tuple[int, int]:
    """Return both ends of a pipe."""
    return os.pipe()


async def test_a_key_that_was_read_stays(tmp_path: Path, pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    async with open_file(tmp_path / "x.db") as store:
        text = await ensure_admin_key(store, None)
        assert text is not None
        first = FirstKey(text, theirs)
        said = b""
        while not said.endswith(b"\n\n") or text.encode() not in said:
            said += os.read(ours, 100)
        assert first._written.wait(10)
        await first.close(store)
        assert await ensure_admin_key(store, None) is None
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("closed", [False, True])
async def test_a_key_that_could_not_be_read_is_made_again_by_the_next_start(
    tmp_path: Path, pipe: tuple[int, int], closed: bool
) -> None:
    ours, theirs = pipe
    os.set_blocking(theirs, False)
    if closed:
        os.close(ours)
    else:
        while True:
            try:
                os.write(theirs, b"x" * 4096)
            except BlockingIOError:
                break
    async with open_file(tmp_path / "x.db") as store:
        text = await ensure_admin_key(store, None)
        assert text is not None
        await FirstKey(text, theirs).close(store)
        again = await ensure_admin_key(store, None)
        assert again not in (None, text)
    if not closed:
        os.close(ours)
