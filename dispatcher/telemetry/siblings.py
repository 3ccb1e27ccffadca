"""The metrics of several workers on one page: whichever is asked collects those of its siblings.

Each worker hands its own out on a Unix socket in a directory that only they can enter.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dispatcher.telemetry import metrics

PATIENCE = 2.0
"""Seconds that a sibling has to answer; one that does not is left out."""

SHARED = frozenset(
    {
        "dispatcher_backlog",
        "dispatcher_breakers_open",
        "dispatcher_store_up",
        "dispatcher_build",
        "dispatcher_oldest_event_timestamp_seconds",
        "dispatcher_partitions_ahead",
        "dispatcher_partitions_pending_drop",
        "dispatcher_partitions_standing",
    }
)
"""What is the same in all workers, because it tells of what they share."""

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S.*)")


class Siblings:
    """Worker `number` of those that share `directory`."""

    def __init__(self, directory: Path, number: int) -> None:
        self._directory = directory
        self._number = number
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Let the siblings ask."""
        path = self._directory / f"{self._number}.sock"
        path.unlink(missing_ok=True)  # of a worker that died
        self._server = await asyncio.start_unix_server(_answer, path)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def render(self) -> bytes:
        """The metrics of all workers that answer, each with the label `worker`, and once what they share."""
        paths = await asyncio.to_thread(lambda: sorted(self._directory.glob("*.sock")))
        numbers = [path.stem for path in paths if path.stem != str(self._number)]
        pages = await asyncio.gather(*(self._page(number) for number in numbers))
        others = {number: page for number, page in zip(numbers, pages, strict=True) if page is not None}
        return joined({str(self._number): metrics.render().decode()} | others).encode()

    async def _page(self, number: str) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._directory / f"{number}.sock")
                try:
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None


async def _answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(metrics.render())
    await writer.drain()
    writer.close()


def joined(pages: Mapping[str, str]) -> str:
    """One page of several in the text format of Prometheus; of what is shared only that of the first."""
    first = next(iter(pages))
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, page in pages.items():
        for family, head, lines in _families(page):
            heads.setdefault(family, head)
            if family not in SHARED:
                samples.setdefault(family, []).extend(_labelled(line, worker) for line in lines)
            elif worker == first:
                samples[family] = lines
    return "".join(
        f"{line}\n" for family, head in heads.items() for line in (*head, *samples.get(family, ()))
    )


def _families(page: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Name, comments and samples of each family: the comments come first."""
    head: list[str] = []
    lines: list[str] = []
    for line in page.splitlines():
        if line.startswith("#") and lines:
            yield _name(head), head, lines
            head, lines = [], []
        (head if line.startswith("#") else lines).append(line)
    if head:
        yield _name(head), head, lines


def _name(head: list[str]) -> str:
    name = head[0].split(" ")[2]
    return name.removesuffix("_total").removesuffix("_info")


def _labelled(line: str, worker: str) -> str:
    found = _SAMPLE.fullmatch(line)
    if found is None:
        return line
    labels = f'worker="{worker}"' + (f",{found['labels']}" if found["labels"] else "")
    return f"{found['name']}{{{labels}}} {found['value']}"
